"""The scheduler: sleeps until a job is due, notes its runs, and has them done within the limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from pgvillage.core.job_run import ClaimLost, OpenRun, RunRecord, RunStatus, RunTaken
from pgvillage.daemon.faults import words
from pgvillage.daemon.jobs.applied import AppliedJob, Cluster
from pgvillage.daemon.jobs.lanes import Lanes, kin
from pgvillage.daemon.jobs.take_up import Taken, take_up
from pgvillage.daemon.jobs.timetable import Timetable
from pgvillage.running.contract import RunStore

log = structlog.get_logger("pgvillage.jobs")

_SWEEP = 15.0  # seconds between looks for runs whose owner is gone, and for tries that are due again
_AT_A_TIME = 16  # jobs whose due runs are noted at the same time
_JUMP = 2.0  # seconds that the wall clock may part from the steady one in one sleep
RunOne = Callable[[AppliedJob, RunRecord], Awaitable[RunRecord]]


class Time(Protocol):
    def now(self) -> datetime:
        """Wall clock, aware."""

    def steady(self) -> float:
        """Seconds by a clock that nobody sets."""

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event is set or the time is over."""


class Watcher(Protocol):
    """Told of what happens; may not raise."""

    def began(self, record: RunRecord, late: timedelta) -> None: ...
    def ended(self, record: RunRecord) -> None: ...
    def skipped(self, job: str, cluster: str, count: int) -> None: ...


@dataclass
class _Going:
    record: RunRecord
    task: asyncio.Task[None]


class Scheduler:
    """`run_one` makes one try of a run and notes all of it; the record as noted last. It may raise RunTaken, ClaimLost.

    All calls are made in the event loop that runs `run`.
    """

    def __init__(self, store: RunStore, run_one: RunOne, time: Time, lanes: Lanes, watcher: Watcher) -> None:
        self._store, self._run_one, self._time, self.lanes = store, run_one, time, lanes
        self._watcher = watcher
        self._table, self._clusters = Timetable(), dict[str, Cluster]()
        self._going: dict[str, _Going] = {}
        self._woken, self._revision = asyncio.Event(), ""
        self._to_look: set[tuple[str, str]] = set()  # (cluster, job) whose cursor has to be asked though nothing is due
        self._sweep_at, self._stopping = time.steady(), False
        self._before = (time.now(), time.steady())

    # --- what there is to do

    def use(self, cluster: str, found: Cluster, revision: str) -> None:
        """What the cluster's last look says. Runs that go on are left alone, also of a job that went."""
        before, now = self._clusters.get(cluster, Cluster()), self._time.now()
        for name, job in before.jobs.items():
            if found.jobs.get(name) != job:
                self._table.remove(cluster, job)
        for name, job in found.jobs.items():
            if before.jobs.get(name) != job:
                self._table.put(cluster, job, now)
                self._to_look.add((cluster, name))
        if before.still != found.still:
            log.info("runs begin again" if not found.still else "no run begins", cluster=cluster, why=found.still)
            self._sweep_at = self._time.steady()
        if cluster not in self._clusters:
            self._sweep_at = self._time.steady()
        self._clusters[cluster], self._revision = found, revision
        self._woken.set()

    def keep(self, clusters: Collection[str]) -> None:
        """Every other cluster is another replica's: what runs there is stopped, and is that one's to judge."""
        for cluster in set(self._clusters) - set(clusters):
            for job in self._clusters.pop(cluster).jobs.values():
                self._table.remove(cluster, job)
            self.lanes.forget(cluster)
            for going in self._going.values():
                if going.record.key.cluster == cluster:
                    log.warning("run stopped: the cluster is another replica's now", run=going.record.key.id)
                    going.task.cancel()

    def limits(self, parallel: int, per_cluster: int) -> None:
        self.lanes.parallel, self.lanes.per_cluster = parallel, per_cluster
        self._woken.set()

    # --- its life

    async def run(self) -> None:
        """Until cancelled; no error ends it."""
        while True:
            self._woken.clear()
            await self.turn()
            await self._time.wait(self._woken, self._pause())

    async def stop(self, grace: float) -> None:
        """Begin nothing more; runs that go on have `grace` seconds, and are then cancelled."""
        self._stopping = True
        tasks = [going.task for going in self._going.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def turn(self) -> None:
        """Note what is due, find what was left, begin what may begin."""
        now = self._time.now()
        self._notice_jump(now)
        due = {(cluster, job.name) for cluster, job in self._table.due(now)} | self._to_look
        self._to_look = set()
        places = asyncio.Semaphore(_AT_A_TIME)
        await asyncio.gather(*(self._take_up(cluster, name, now, places) for cluster, name in sorted(due)))
        if self._time.steady() >= self._sweep_at:
            self._sweep_at = self._time.steady() + _SWEEP
            await self._sweep(now)
        self._begin()

    def _pause(self) -> float:
        pause = max(0.0, self._sweep_at - self._time.steady())
        following = self._table.next()
        if self._to_look:
            return min(pause, 1.0)  # the store did not answer
        return min(pause, max(0.0, (following - self._time.now()).total_seconds())) if following else pause

    def _notice_jump(self, now: datetime) -> None:
        """A clock that is set makes no run twice (the cursor never goes back), and none is waited for in vain."""
        wall, steady = self._before
        self._before = (now, self._time.steady())
        jump = (now - wall).total_seconds() - (self._before[1] - steady)
        if abs(jump) <= _JUMP:
            return
        log.warning("the clock was set", seconds=round(jump, 1))
        self._table.again(now)
        self._to_look |= {(cluster, name) for cluster, found in self._clusters.items() for name in found.jobs}

    async def _take_up(self, cluster: str, name: str, now: datetime, places: asyncio.Semaphore) -> None:
        job = self._clusters.get(cluster, Cluster()).jobs.get(name)
        if job is None:
            return
        try:
            async with places:
                taken = await take_up(self._store, job, cluster, now, self.lanes.kinds, self._revision)
                await self._replace(taken)
        except Exception as error:  # noqa: BLE001 - what was not noted is found again
            log.error("due runs not noted", job=name, cluster=cluster, **words(error))
            self._to_look.add((cluster, name))
            return
        if taken.skipped:
            log.warning("runs missed and skipped", job=name, cluster=cluster, count=taken.skipped, more=taken.more)
            self._watcher.skipped(name, cluster, taken.skipped)
        for record in taken.records:
            if record.status is RunStatus.DUE:
                self.lanes.offer(record)
            else:
                self._watcher.ended(record)

    async def _replace(self, taken: Taken) -> None:
        if not taken.overlapped:
            return
        fresh = {record.key.id for record in taken.records}
        for record in [*(going.record for going in self._going.values()), *self.lanes.of_kinds(taken.overlapped)]:
            if kin(record.key) in taken.overlapped and record.key.id not in fresh:
                await self._store.ask_cancel(record.key.id, "the next run, which replaces it")

    async def _sweep(self, now: datetime) -> None:
        """Runs that nobody holds: noted and never begun, to be tried again, or left by one that is gone."""
        try:
            found = await self._store.open(list(self._clusters))
        except Exception as error:  # noqa: BLE001 - the next sweep finds the same
            log.error("open runs not read", **words(error))
            return
        for each in found:
            key = each.record.key
            ours = key.job in self._clusters.get(key.cluster, Cluster()).jobs
            left = ours and _is_free(each, now) and self.lanes.offer(each.record)
            if left and each.record.status is RunStatus.RUNNING:
                log.warning("a run was left by its owner", run=key.id, owner=each.record.owner)

    # --- runs

    def _begin(self) -> None:
        still = frozenset(name for name, found in self._clusters.items() if found.still)
        while not self._stopping and (record := self.lanes.take(still)) is not None:
            task = asyncio.create_task(self._one(record), name=f"run {record.key.id}")
            self._going[record.key.id] = _Going(record, task)
            task.add_done_callback(lambda done, record=record: self._done(done, record))  # type: ignore[misc]

    async def _one(self, record: RunRecord) -> None:
        job = self._clusters.get(record.key.cluster, Cluster()).jobs.get(record.key.job)
        if job is None:
            return  # it went meanwhile: whoever applies it again finds the run still noted
        now = self._time.now()
        late = now - record.key.scheduled
        if record.status is RunStatus.DUE and record.attempt == 0:
            self._watcher.began(record, late)
        self._noted(await self._run_one(job, record))

    def _noted(self, record: RunRecord) -> None:
        if record.status.ended:
            self._watcher.ended(record)
        elif record.not_before is not None:  # its next try
            wait = (record.not_before - self._time.now()).total_seconds()
            self._sweep_at = min(self._sweep_at, self._time.steady() + max(0.0, wait))

    def _done(self, task: asyncio.Task[None], record: RunRecord) -> None:
        self._going.pop(record.key.id, None)
        self.lanes.done(record)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, RunTaken | ClaimLost):
            log.info("run is another's", run=record.key.id, why=str(error))
        elif error is not None:
            log.error("run failed to be done", run=record.key.id, **words(error))
        self._woken.set()


def _is_free(found: OpenRun, now: datetime) -> bool:
    return not found.held and (found.record.not_before is None or found.record.not_before <= now)
