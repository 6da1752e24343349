"""A store of runs in memory, and steps that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from pgvillage.core.errors import ReadError
from pgvillage.core.job_run import ClaimLost, OpenRun, RunRecord, RunStatus, RunTaken, StepRecord
from pgvillage.core.job_work import HttpWork, ShellWork, Sink, SqlWork, WorkResult
from pgvillage.core.run_key import RunKey
from pgvillage.core.secret import Absent, Secret, SecretsFound
from pgvillage.daemon.jobs.applied import AppliedJob
from pgvillage.estate.manifest import Job
from pgvillage.running.means import Means, Order
from pgvillage.running.run import run_once

SCHEDULED = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


@dataclass(eq=False)
class MemoryClaim:
    store: MemoryStore
    record: RunRecord
    found: RunStatus
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    noted: list[RunRecord] = field(default_factory=list)

    async def note(self, record: RunRecord) -> None:
        key = record.key.id
        if self.store.records[key].token > self.record.token:
            raise ClaimLost("a greater token is there")
        self.noted.append(record)
        self.store.records[key] = replace(record, cancel=self.store.records[key].cancel)

    async def end(self, record: RunRecord) -> None:
        await self.note(record)


@dataclass(eq=False)
class MemoryStore:
    """Claims live until their context is left; `steal` makes one that doesn't know it yet a zombie's."""

    records: dict[str, RunRecord] = field(default_factory=dict)
    held: dict[str, MemoryClaim] = field(default_factory=dict)
    cursors: dict[tuple[str, str], datetime] = field(default_factory=dict)

    async def cursor(self, job: str, cluster: str, now: datetime) -> datetime:
        return self.cursors.setdefault((job, cluster), now)

    async def take_up(self, job: str, cluster: str, until: datetime, records: Sequence[RunRecord]) -> list[RunRecord]:
        new = [record for record in records if record.key.id not in self.records]
        self.records |= {record.key.id: record for record in new}
        self.cursors[job, cluster] = max(until, self.cursors.get((job, cluster), until))
        return new

    async def open(self, clusters: Collection[str] | None = None) -> list[OpenRun]:
        return [
            OpenRun(record, key in self.held)
            for key, record in self.records.items()
            if not record.status.ended and (clusters is None or record.key.cluster in clusters)
        ]

    async def find(self, run: str) -> OpenRun | None:
        return OpenRun(self.records[run], run in self.held) if run in self.records else None

    @asynccontextmanager
    async def claim(self, key: RunKey, owner: str, *, again: bool = False) -> AsyncIterator[MemoryClaim]:
        record = self.records[key.id]
        if key.id in self.held or (record.status.ended and not again):
            raise RunTaken("taken", record)
        mine = replace(record, token=record.token + 1, owner=owner)
        self.records[key.id] = replace(record, token=mine.token, owner=owner)
        claim = self.held[key.id] = MemoryClaim(self, mine, record.status)
        try:
            yield claim
        finally:
            if self.held.get(key.id) is claim:
                del self.held[key.id]

    async def ask_cancel(self, run: str, by: str) -> bool:
        record = self.records.get(run)
        if record is None or record.status.ended:
            return False
        self.records[run] = replace(record, cancel=by)
        if run in self.held:
            self.held[run].cancelled.set()
        return True

    async def forget(self, before: datetime) -> int:
        return 0

    def steal(self, key: RunKey) -> None:
        """Somebody else has it now."""
        claim, record = self.held.pop(key.id), self.records[key.id]
        self.records[key.id] = replace(record, token=record.token + 1, owner="thief")
        claim.lost.set()


Does = Callable[[Any], Awaitable[WorkResult]] | WorkResult | list[WorkResult]


@dataclass(eq=False)
class FakeWays:
    """`does` by the text of SQL, the program or the URL; a list is one result after the other. All else succeeds.

    `ledger` makes transactions happen once, as a target's ledger does.
    """

    does: dict[str, Does] = field(default_factory=dict)
    sent: list[Any] = field(default_factory=list)
    ledger: dict[str, WorkResult] = field(default_factory=dict)
    opened: int = 0
    unreachable: int = 0
    at_once: int = 0
    most: int = 0
    output: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def sql(self, cluster: str, database: str, node: str, target: str) -> AsyncIterator[FakeWays]:
        if self.unreachable:
            self.unreachable -= 1
            raise ReadError(cluster, "no node is primary")
        self.opened += 1
        yield self

    async def run(self, work: SqlWork, sink: Sink) -> WorkResult:
        if work.transaction and work.key in self.ledger:
            return replace(self.ledger[work.key], already=True)
        result = await self._do(work, "; ".join(each.text for each in work.statements), sink)
        if work.transaction and not result.error:
            self.ledger[work.key] = result
        return result

    async def shell(self, work: ShellWork, sink: Sink) -> WorkResult:
        return await self._do(work, work.script or " ".join(work.command or ()), sink)

    async def http(self, work: HttpWork, sink: Sink) -> WorkResult:
        return await self._do(work, work.url, sink)

    async def _do(self, work: Any, text: str, sink: Sink) -> WorkResult:
        self.sent.append(work)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0)
            if text in self.output:
                sink(self.output[text])
            does = self.does.get(text, WorkResult())
            if isinstance(does, list):
                return does.pop(0) if does else WorkResult()
            return does if isinstance(does, WorkResult) else await does(work)
        finally:
            self.at_once -= 1


@dataclass(eq=False)
class Heard:
    """A listener that remembers, or one that always fails."""

    steps: list[StepRecord] = field(default_factory=list)
    runs: list[RunRecord] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    fails: Exception | None = None

    def begun(self, record: RunRecord) -> None:
        self._hear(self.runs, record)

    def output(self, record: RunRecord, step: str, number: int, text: str) -> None:
        self._hear(self.texts, text)

    def step(self, record: RunRecord, step: StepRecord) -> None:
        self._hear(self.steps, step)

    def ended(self, record: RunRecord) -> None:
        self._hear(self.runs, record)

    def _hear(self, heard: list[Any], what: object) -> None:
        if self.fails is not None:
            raise self.fails
        heard.append(what)

    def outcomes(self) -> dict[str, str]:
        return {each.step: each.outcome.value for each in self.steps}


def job_of(text: str, **spec: Any) -> Job:
    """A Job on every cluster, database shop, with these steps and more (YAML)."""
    found = {"clusters": {"all": True}, "databases": ["shop"], "role": "clerk", **yaml.safe_load(text), **spec}
    return Job.model_validate(
        {"apiVersion": "pgvillage/v1", "kind": "Job", "metadata": {"name": "nightly"}, "spec": found}
    )


@dataclass(eq=False)
class Stage:
    """All that a run needs, in memory."""

    root: Path
    ways: FakeWays = field(default_factory=FakeWays)
    store: MemoryStore = field(default_factory=MemoryStore)
    heard: Heard = field(default_factory=Heard)
    secrets: dict[str, Secret] = field(default_factory=dict)
    time: datetime = SCHEDULED

    def means(self) -> Means:
        async def host_of(cluster: str, target: str, node: str) -> str:
            return node or f"{target}.{cluster}"

        return Means(self.store, self.ways, self.heard, self.find, host_of, lambda: self.time, "here:1")

    def find(self, names: Iterable[str]) -> SecretsFound:
        names = list(names)
        missing = {name: Absent("its file is not there") for name in names if name not in self.secrets}
        return SecretsFound({name: self.secrets[name] for name in names if name in self.secrets}, missing)

    async def order(self, job: Job, scheduled: datetime = SCHEDULED, status: RunStatus = RunStatus.DUE) -> Order:
        """Noted; `status` RUNNING is what a process that is gone has left."""
        key = RunKey(job.metadata.name, scheduled, "c1", "shop")
        attempt = 1 if status is RunStatus.RUNNING else 0
        record = RunRecord(key, status, scheduled, attempt, owner="gone:9" if attempt else "")
        await self.store.take_up(key.job, key.cluster, scheduled, [record])
        return Order(job, key, self.root, "abc")


def runner(means: Means) -> Callable[[AppliedJob, RunRecord], Awaitable[RunRecord]]:
    """What a scheduler has one run done by."""

    async def run_one(job: AppliedJob, record: RunRecord) -> RunRecord:
        return await run_once(means, Order(job.job, record.key, job.root, job.revision))

    return run_one
