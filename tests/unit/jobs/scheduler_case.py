"""The scheduler in fake time, on a RunStore in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pgvillage.core.job_run import OpenRun, RunRecord, RunStatus, RunTaken
from pgvillage.core.run_key import RunKey
from pgvillage.daemon.jobs.applied import AppliedJob, Cluster
from pgvillage.daemon.jobs.lanes import Lanes
from pgvillage.daemon.jobs.scheduler import Scheduler
from pgvillage.estate.manifest.job import Job

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def job(name: str, databases: Sequence[str] = ("",), **spec: Any) -> AppliedJob:
    body = {"clusters": {"names": ["c"]}, "steps": [{"name": "s", "sql": "select 1"}], **spec}
    document = {"apiVersion": "pgvillage/v1", "kind": "Job", "metadata": {"name": name}, "spec": body}
    return AppliedJob(Job.model_validate(document), json.dumps(spec), tuple(databases))


class MemoryClaim:
    def __init__(self, store: MemoryStore, record: RunRecord) -> None:
        self.record, self.found = record, record.status
        self.lost, self.cancelled = asyncio.Event(), asyncio.Event()
        self._store = store

    async def note(self, record: RunRecord) -> None:
        self._store.records[record.key.id] = record

    end = note


class MemoryStore:
    """RunStore's contract for one process; `down` makes it raise."""

    def __init__(self) -> None:
        self.records: dict[str, RunRecord] = {}
        self.cursors: dict[tuple[str, str], datetime] = {}
        self.held: set[str] = set()
        self.cancels: list[str] = []
        self.down = False

    async def cursor(self, job: str, cluster: str, now: datetime) -> datetime:
        if self.down:
            raise OSError("the store is down")
        return self.cursors.setdefault((job, cluster), now)

    async def take_up(self, job: str, cluster: str, until: datetime, records: Sequence[RunRecord]) -> list[RunRecord]:
        fresh = [each for each in records if each.key.id not in self.records]
        self.records |= {each.key.id: each for each in fresh}
        self.cursors[job, cluster] = max(self.cursors[job, cluster], until)
        return fresh

    async def open(self, clusters: Collection[str] | None = None) -> list[OpenRun]:
        found = [r for r in self.records.values() if not r.status.ended]
        return [OpenRun(r, r.key.id in self.held) for r in found if clusters is None or r.key.cluster in clusters]

    async def find(self, run: str) -> OpenRun | None:
        record = self.records.get(run)
        return OpenRun(record, run in self.held) if record else None

    @asynccontextmanager
    async def claim(self, key: RunKey, owner: str, *, again: bool = False) -> AsyncIterator[MemoryClaim]:
        record = self.records[key.id]
        if key.id in self.held or (record.status.ended and not again):
            raise RunTaken("taken", record)
        self.held.add(key.id)
        try:
            yield MemoryClaim(self, replace(record, owner=owner, token=record.token + 1))
        finally:
            self.held.discard(key.id)

    async def ask_cancel(self, run: str, by: str) -> bool:
        record = self.records[run]
        self.cancels.append(f"{record.key.scheduled:%H:%M}")
        status = RunStatus.CANCELLED if record.status is RunStatus.DUE else record.status
        self.records[run] = replace(record, status=status, cancel=by)
        return True

    async def forget(self, before: datetime) -> int:
        del before
        return 0


class FakeTime:
    """Time passes while the scheduler waits, and at no other moment, up to `until`; then `over` is set for good."""

    def __init__(self, start: datetime) -> None:
        self.wall, self.passed, self.until = start, 0.0, start
        self.over = asyncio.Event()
        self.after_wait: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return self.wall

    def steady(self) -> float:
        return self.passed

    def step(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.passed += seconds

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        for _ in range(5):  # tasks that are ready go first
            await asyncio.sleep(0)
        if event.is_set():
            return
        if self.wall + timedelta(seconds=seconds) > self.until:
            self.step((self.until - self.wall).total_seconds())
            self.over.set()
            await event.wait()
            return
        self.step(seconds)
        self.after_wait()


@dataclass
class Seen:
    began: list[tuple[RunRecord, timedelta]] = field(default_factory=list)
    over: list[RunRecord] = field(default_factory=list)
    missed: int = 0

    def reset(self) -> None:
        self.began, self.over, self.missed = [], [], 0


class Case:
    """A scheduler on cluster c; each run is done at once unless `hold` keeps it going."""

    def __init__(self, start: datetime, *, store: MemoryStore | None = None, parallel: int = 8, each: int = 2) -> None:
        self.store, self.time, self.seen = store or MemoryStore(), FakeTime(start), Seen()
        self.hold = asyncio.Event()
        self.hold.set()
        self.stopped: list[str] = []
        self.scheduler = Scheduler(self.store, self.run_one, self.time, Lanes(parallel, each), self)

    async def run_one(self, job: AppliedJob, record: RunRecord) -> RunRecord:
        del job
        async with self.store.claim(record.key, "me") as claim:
            await claim.note(replace(claim.record, status=RunStatus.RUNNING, attempt=record.attempt + 1))
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.stopped.append(record.key.id)
                raise
            await claim.end(replace(claim.record, status=RunStatus.SUCCEEDED, ended=self.time.now()))
        return self.store.records[record.key.id]

    def began(self, record: RunRecord, late: timedelta) -> None:
        self.seen.began.append((record, late))

    def ended(self, record: RunRecord) -> None:
        self.seen.over.append(record)

    def skipped(self, job: str, cluster: str, count: int) -> None:
        del job, cluster
        self.seen.missed += count

    def jobs(self, *jobs: AppliedJob, cluster: str = "c", still: str = "") -> None:
        self.scheduler.use(cluster, Cluster({each.name: each for each in jobs}, still), "r1")

    async def until(self, end: datetime) -> None:
        """Let the daemon live until this instant of the fake wall clock."""
        self.time.until = end
        self.time.over.clear()
        task = asyncio.create_task(self.scheduler.run())
        try:
            async with asyncio.timeout(60):
                over = asyncio.create_task(self.time.over.wait())
                await asyncio.wait([over, task], return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def times(self) -> list[str]:
        return [f"{record.key.scheduled:%m-%dT%H:%M}" for record, _ in self.seen.began]
