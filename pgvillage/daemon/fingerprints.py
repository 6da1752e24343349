"""Cheap looks between the full ones: what moved brings the next full look forward."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

import structlog

from pgvillage.core.errors import PgVillageError
from pgvillage.core.plan import TargetId
from pgvillage.daemon.estate_feed import JITTER
from pgvillage.daemon.faults import text
from pgvillage.daemon.shared import Shared
from pgvillage.estate.view import ClusterView
from pgvillage.usecases.world import Watch, World

log = structlog.get_logger("pgvillage.fingerprints")

_FREE = 2  # alarms in a row that found nothing and cost no patience yet
_ASLEEP = 60.0  # seconds between looks at the settings while fingerprints are off
_SHOWN = 3


class Fingerprints:
    """Of one target. A full look covers what was seen before it began: `begin` it, then tell what it `found`.

    Where alarms find nothing (temporary tables move pg_class), cheap looks become rarer, doubling up to the full
    interval; one that finds something, or a quiet spell, makes them as often as before.
    """

    def __init__(self, target: TargetId, shared: Shared, alarm: Callable[[str], None]) -> None:
        self._target, self._shared, self._alarm = target, shared, alarm
        self._lock = asyncio.Lock()
        self._watch: Watch | None = None
        self._world: World | None = None
        self._made_for: object = None
        self._known: Mapping[str, str] | None = None
        self._alarmed = False
        self._blind = ""
        self.idle = 0  # alarms in a row that found nothing

    @property
    def pause(self) -> float:
        """Seconds to the next cheap look."""
        serve = self._shared.serve
        if not serve.fingerprint:
            return _ASLEEP
        return min(serve.observe, serve.fingerprint * 2.0 ** min(20, max(0, self.idle - _FREE)))

    async def run(self) -> None:
        """Until cancelled; cheap looks are made while full ones succeed."""
        while True:
            await asyncio.sleep(self.pause * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - jitter
            if self._known is None or self._alarmed or not self._shared.serve.fingerprint:
                continue
            async with self._shared.cheap.turn(failing=False), self._lock:
                if self._known is not None:
                    await self._compare(self._known)

    async def _compare(self, known: Mapping[str, str]) -> None:
        found = await self._look()
        if found is None:
            self._sound("the kept connection was lost")
            return
        moved = sorted(name for name in known.keys() | found.keys() if known.get(name) != found.get(name))
        if moved:
            more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
            self._sound(f"{', '.join(moved[:_SHOWN])}{more} changed")
        elif self.idle:
            self.idle -= 1

    def _sound(self, why: str) -> None:
        self._alarmed = True
        self._shared.metrics.fingerprint(str(self._target), alarm=True)
        self._alarm(why)

    async def begin(self, view: ClusterView) -> None:
        """Remember how things are before a full look begins."""
        if not self._shared.serve.fingerprint:
            await self.close()
            return
        async with self._lock:
            await self._made(view)
            self._known = await self._look()

    async def found(self, *, reached: bool, changed: bool) -> None:
        """What the full look came to."""
        if changed:
            self.idle = 0
        elif self._alarmed and self.pause < self._shared.serve.observe:
            self.idle += 1
        self._alarmed = False
        if not reached:
            await self.close()

    async def close(self) -> None:
        async with self._lock:
            await self._closed()

    async def _closed(self) -> None:
        self._known = None
        if self._watch is not None:
            await self._watch.close()
        self._watch = None
        self._shared.metrics.connected(str(self._target), 0)

    async def _made(self, view: ClusterView) -> None:
        world = self._shared.world
        databases = sorted(d.name for d in view.databases if d.spec.ensure == "present")
        made_for = (view.cluster.spec.connection, view.cluster.spec.ha, databases)
        if self._watch is None or self._world is not world or self._made_for != made_for:
            await self._closed()
            self._world, self._made_for = world, made_for
            try:
                self._watch = world.watch(self._target, view)
            except PgVillageError as error:
                log.info("no cheap looks", error=str(error))  # the full look says it with its weight

    async def _look(self) -> Mapping[str, str] | None:
        if self._watch is None:
            return None
        self._shared.metrics.fingerprint(str(self._target), alarm=False)
        try:
            found = await self._watch.look()
        except Exception as error:  # noqa: BLE001 - the full look finds out, and says it
            log.info("cheap look failed", error=text(error))
            found = None
        self._shared.metrics.connected(str(self._target), self._watch.connections)
        if self._watch.blind != self._blind:
            self._blind = self._watch.blind
            log.warning("cheap looks see nothing", why=self._blind) if self._blind else None
        return found
