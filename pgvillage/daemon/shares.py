"""Which targets are this daemon's: all of them when it is alone, a share of them among replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from pgvillage.core.fence import Fence


class Shares(Protocol):
    """What the loops ask before they look at a target, and again before they write to it."""

    async def of(self, targets: Collection[str]) -> frozenset[str]:
        """Those of `targets` (all in the estate) that are ours now; asking also tells what the estate has."""
        ...

    def fence(self, target: str) -> Fence | None:
        """Our right to write to this target; None when it is another's by now."""
        ...

    def duty(self, name: str) -> Fence | None:
        """Work that one replica does for all (retention, a schedule, grouped messages): our right to it, or None."""
        ...

    @property
    def changed(self) -> asyncio.Event:
        """Set when shares moved; who waited for it clears it."""
        ...


class Alone:
    """The only daemon: everything is ours for good."""

    def __init__(self, holder: str) -> None:
        self._fence = Fence(0, holder)
        self._changed = asyncio.Event()

    async def of(self, targets: Collection[str]) -> frozenset[str]:
        return frozenset(targets)

    def fence(self, target: str) -> Fence | None:
        del target
        return self._fence

    def duty(self, name: str) -> Fence | None:
        del name
        return self._fence

    @property
    def changed(self) -> asyncio.Event:
        return self._changed
