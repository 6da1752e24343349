"""The loop: look at the repository and the targets on their intervals, apply by policy, tell chat."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import structlog

from pgvillage.core.errors import ManifestError, PgVillageError
from pgvillage.core.run import Run, TargetRun
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.notices import Notices
from pgvillage.settings import Serve
from pgvillage.usecases.apply import apply_plan
from pgvillage.usecases.estate import Scope
from pgvillage.usecases.plan import NO_CONSENT, Planned, make_plan
from pgvillage.usecases.world import World

log = structlog.get_logger("pgvillage.reconciler")

_JITTER = 0.2
_FIRST_RETRY = 15.0
_LAST_RETRY = 900.0
_LATE = 60.0  # seconds that waiting may overrun
_LONG = 3600.0  # seconds that a round, or a look at the repository, may take: all it waits for has a time limit


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
        self._due = {"round": time.monotonic() + _LONG, "poll": time.monotonic() + _LONG}
        self.ready = False

    @property
    def alive(self) -> bool:
        """Do both loops move? Each says when it will be back, and is."""
        return time.monotonic() < min(self._due.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; a round that is under way then has the settings' grace to end."""
        polling = asyncio.create_task(self._poll())
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._unless_stopped(stopping)
                await self._wait(stop, self._pause())
        finally:
            for task in (polling, stopping):
                task.cancel()
            await asyncio.gather(polling, stopping, return_exceptions=True)

    async def _unless_stopped(self, stopping: asyncio.Task[bool]) -> None:
        """One round. Cancelled it rolls its transaction back, and the next start goes on from what is there."""
        self._due["round"] = time.monotonic() + _LONG
        round_ = asyncio.create_task(self._round())
        await asyncio.wait((round_, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not round_.done():
            log.info("stopping", grace=self._settings.grace)
            await asyncio.wait((round_,), timeout=self._settings.grace)
        if not round_.done():
            log.warning("the round did not end in time and is rolled back")
            round_.cancel()
        await asyncio.gather(round_, return_exceptions=True)

    def _pause(self) -> float:
        """Seconds to the next round: the interval with jitter, or full jitter up to a growing back-off."""
        if self._failures:
            most = min(_LAST_RETRY, _FIRST_RETRY * 2.0 ** (self._failures - 1), self._settings.observe)
            return random.uniform(0.1, most)  # noqa: S311 - jitter
        return self._settings.observe * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter

    async def _wait(self, stop: asyncio.Event, seconds: float) -> None:
        due = time.monotonic() + seconds
        self._due["round"] = due + _LATE
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(self._wake.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        self._wake.clear()
        await asyncio.gather(*waits, return_exceptions=True)
        self._metrics.lag.set(max(0.0, time.monotonic() - due))

    async def _poll(self) -> None:
        """A new commit begins a round at once and forgets earlier failures."""
        while True:
            pause = self._settings.poll * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter
            self._due["poll"] = time.monotonic() + pause + _LONG
            await asyncio.sleep(pause)
            try:
                head = await asyncio.to_thread(self._head)
            except Exception as error:  # noqa: BLE001 - the loop goes on, whatever it was
                log.warning("repository not read", **_words(error))
                continue
            if head != self._seen_head:
                log.info("new commit", revision=head)
                self._seen_head, self._failures = head, 0
                self._wake.set()

    async def _round(self) -> None:
        try:
            good = await self._reconcile()
        except Exception as error:  # noqa: BLE001 - a bug in one round must not end the daemon, and must be seen
            for each in error.exceptions if isinstance(error, ExceptionGroup) else (error,):
                log.error("round failed", **_words(each))
                if isinstance(each, ManifestError):
                    await self._notices.broken(self._seen_head, str(each))
            good = False
        self._failures = 0 if good else self._failures + 1
        self._metrics.cycled("ok" if good else "failed")

    async def _reconcile(self) -> bool:
        planned = await make_plan(self._world, Scope())
        plan = planned.plan
        self._seen_head = plan.revision.partition("+")[0]
        self.ready = True
        await self._report(planned)
        if not self._settings.apply:
            return plan.complete
        run = await apply_plan(self._world, planned, NO_CONSENT)
        self._metrics.ran(run)
        for target in run.targets:
            _log_run(target)
        if any(target.done for target in run.targets):
            await self._report(await make_plan(self._world, Scope()), run)
        elif any(target.error for target in run.targets):
            await self._notices.tell(planned, run)
        return plan.complete and not any(target.error for target in run.targets)

    async def _report(self, planned: Planned, run: Run | None = None) -> None:
        plan = planned.plan
        self._metrics.planned(plan)
        log.info(
            "planned",
            revision=plan.revision,
            changes=len(plan.changes),
            held=sum(bool(change.held) for change in plan.changes),
            complete=plan.complete,
        )
        for target in plan.targets:
            if target.error:
                log.warning("not read", target=str(target.target), error=target.error)
        await self._notices.tell(planned, run)


def _log_run(run: TargetRun) -> None:
    for note in run.notes:
        log.info("note", target=str(run.target), note=note)
    if not run.done and not run.error:
        return
    write = log.error if run.error else log.info
    write("apply failed" if run.error else "applied", target=str(run.target), outcome=str(run.outcome),
          done=len(run.done), error=run.error)  # fmt: skip


def _words(error: BaseException) -> dict[str, str]:
    """Our own errors speak for themselves; of a bug its type and place are told, as its text may hold anything."""
    if isinstance(error, PgVillageError):
        return {"error": str(error)}
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return {"error": "this is a bug, please report it", "type": type(error).__name__, "where": where}
