"""The loop: look at the repository and the targets on their intervals, apply by policy, tell chat."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import structlog

from pgvillage.core.errors import PgVillageError
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.notices import Notices
from pgvillage.settings import Serve
from pgvillage.usecases.apply import apply_plan
from pgvillage.usecases.estate import Scope
from pgvillage.usecases.plan import NO_CONSENT, make_plan
from pgvillage.usecases.world import World

log = structlog.get_logger("pgvillage.reconciler")

_JITTER = 0.2
_FIRST_RETRY = 15.0
_LAST_RETRY = 900.0
_STALLED_AFTER = 3  # intervals without a finished round


class Reconciler:
    """One round at a time; stopping waits for a round that is writing and begins no other."""

    def __init__(
        self, world: World, settings: Serve, head: Callable[[], str], notices: Notices, metrics: Metrics
    ) -> None:
        self._world, self._settings, self._head = world, settings, head
        self._notices, self._metrics = notices, metrics
        self._wake = asyncio.Event()
        self._seen_head = ""
        self._failures = 0
        self._last_round: float | None = None
        self._moved = time.monotonic()
        self.ready = False

    @property
    def alive(self) -> bool:
        """Do the loops move? A round may take long, waiting may not."""
        allowed = _STALLED_AFTER * max(self._settings.observe, self._settings.poll, _LAST_RETRY)
        return time.monotonic() - self._moved < allowed

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        polling = asyncio.create_task(self._poll(stop))
        try:
            while not stop.is_set():
                await self._round()
                await self._wait(stop, self._pause())
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)

    def _pause(self) -> float:
        """Seconds to the next round: the interval with jitter, or full jitter up to a growing back-off."""
        if self._failures:
            most = min(_LAST_RETRY, _FIRST_RETRY * 2.0 ** (self._failures - 1), self._settings.observe)
            return random.uniform(0.1, most)  # noqa: S311 - jitter
        return self._settings.observe * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter

    async def _wait(self, stop: asyncio.Event, seconds: float) -> None:
        due = time.monotonic() + seconds
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(self._wake.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        self._wake.clear()
        self._moved = time.monotonic()
        self._metrics.lag.set(max(0.0, time.monotonic() - due))

    async def _poll(self, stop: asyncio.Event) -> None:
        """A new commit begins a round at once and forgets earlier failures."""
        while not stop.is_set():
            await asyncio.sleep(self._settings.poll * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - jitter
            try:
                head = await asyncio.to_thread(self._head)
            except PgVillageError as error:
                log.warning("repository not read", error=str(error))
                continue
            if head != self._seen_head:
                log.info("new commit", revision=head)
                self._seen_head, self._failures = head, 0
                self._wake.set()

    async def _round(self) -> None:
        try:
            good = await self._reconcile()
        except PgVillageError as error:
            log.error("round failed", error=str(error))
            good = False
        except ExceptionGroup as group:
            log.error("round failed", errors=[str(error) for error in group.exceptions])
            good = False
        self._failures = 0 if good else self._failures + 1
        self._moved = time.monotonic()
        self._metrics.cycled("ok" if good else "failed")

    async def _reconcile(self) -> bool:
        planned = await make_plan(self._world, Scope())
        plan = planned.plan
        self._seen_head = plan.revision.partition("+")[0]
        self._metrics.planned(plan)
        self.ready = True
        log.info(
            "planned",
            revision=plan.revision,
            changes=len(plan.changes),
            held=sum(bool(change.held) for change in plan.changes),
            complete=plan.complete,
        )
        await self._notices.tell(plan)
        if not self._settings.apply:
            return plan.complete
        run = await apply_plan(self._world, planned, NO_CONSENT)
        self._metrics.ran(run)
        for target in run.targets:
            if target.done or target.error:
                log.info("applied", target=str(target.target), outcome=str(target.outcome), done=len(target.done),
                         error=target.error)  # fmt: skip
        if any(target.done for target in run.targets):
            after = await make_plan(self._world, Scope())
            self._metrics.planned(after.plan)
            await self._notices.tell(after.plan)
        return plan.complete and not any(target.error for target in run.targets)
