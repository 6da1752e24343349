"""What the loops tell the rest of the daemon: looks at targets, and applies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from pgvillage.core.plan import Plan
from pgvillage.core.run import TargetRun
from pgvillage.core.status import TargetStatus
from pgvillage.estate.manifest.estate import Notification


@dataclass(frozen=True, slots=True, repr=False)
class Look:
    """One full look at one target. `plan` is of it alone; where it could not be read, the plan's status says so.

    `routes` are the estate's rules for notifications, `labels` the cluster's. `applied` is the run that this look came
    after; the look before it showed what there was to do.
    """

    target: str
    plan: Plan
    status: TargetStatus
    labels: Mapping[str, str]
    routes: tuple[Notification, ...] = ()
    applied: TargetRun | None = None


@dataclass(frozen=True, slots=True)
class EstateNews:
    """The estate as it is in force: all its targets, whoever's they are. `fault` says why no newer commit is.

    `revision` is empty while none is in force yet; `broken` is the one that can't be.
    """

    at: datetime
    targets: frozenset[str]
    revision: str
    subject: str = ""
    fault: str = field(default="")
    broken: str = ""


class Listener(Protocol):
    """Told after every full look, in the order of looks; it may not raise, and must not take long."""

    async def looked(self, look: Look) -> None: ...

    async def keep(self, targets: Collection[str]) -> None:
        """Every other target has left the estate, or is another replica's now."""
        ...


@runtime_checkable
class EstateListener(Protocol):
    """A listener that wants to know of the estate too; told when something about it is new."""

    async def estate(self, news: EstateNews) -> None: ...
