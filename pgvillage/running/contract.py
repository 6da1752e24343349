"""What running a Job needs from outside: where claims are kept, where SQL, programs and calls go, and who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from pgvillage.core.job_run import OpenRun, RunRecord, RunStatus, StepRecord
from pgvillage.core.job_work import HttpWork, ShellWork, Sink, SqlWork, WorkResult
from pgvillage.core.run_key import RunKey


class Claim(Protocol):
    """A run that is ours. `record` is as it was found (RUNNING: whoever had it is gone) with our token and owner.

    `lost` is set when we may not count on it any more, by our own clock too; `cancelled` when somebody asked that the
    run be ended. `note` and `end` raise ClaimLost when a greater token is there: nothing was written then.
    """

    record: RunRecord
    found: RunStatus
    lost: asyncio.Event
    cancelled: asyncio.Event

    async def note(self, record: RunRecord) -> None: ...
    async def end(self, record: RunRecord) -> None: ...


class RunStore(Protocol):
    """Which runs are due and whose they are; shared by all who run jobs of one estate. Raises StateError, ReadError."""

    async def cursor(self, job: str, cluster: str, now: datetime) -> datetime:
        """The job's runs there are taken up until this instant; `now`, noted, for a job that was never seen."""

    async def take_up(self, job: str, cluster: str, until: datetime, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Note these runs, but for those that are known, and then that all until `until` are; those that were new.

        Idempotent; the cursor never goes back.
        """

    async def open(self, clusters: Collection[str] | None = None) -> list[OpenRun]: ...
    async def find(self, run: str) -> OpenRun | None:
        """By RunKey.id; also one that has ended, as long as it is kept."""

    def claim(self, key: RunKey, owner: str, *, again: bool = False) -> AbstractAsyncContextManager[Claim]:
        """Kept alive inside the context; leaving it without `end` gives it up, and the run stays as noted last.

        Raises RunTaken while another claim lives, or when the run has ended (unless `again`).
        """

    async def ask_cancel(self, run: str, by: str) -> bool:
        """False when there is no such run that has not ended. One that nobody has begun ends at once."""

    async def forget(self, before: datetime) -> int:
        """Ended runs that ended before; how many."""


class SqlSession(Protocol):
    """One connection of one run; broken off when its task is cancelled: the server's statement is cancelled too."""

    async def run(self, work: SqlWork, sink: Sink) -> WorkResult: ...


class Ways(Protocol):
    """The world as steps see it. What a step met is in its WorkResult; nothing is raised for it."""

    def sql(self, cluster: str, database: str, node: str, target: str) -> AbstractAsyncContextManager[SqlSession]:
        """To the node that the job asks for. Raises ReadError: no such node, or it refuses us."""

    async def shell(self, work: ShellWork, sink: Sink) -> WorkResult: ...
    async def http(self, work: HttpWork, sink: Sink) -> WorkResult: ...


class RunListener(Protocol):
    """Hears of a run; calls are short and never fail it."""

    def begun(self, record: RunRecord) -> None: ...
    def output(self, record: RunRecord, step: str, number: int, text: str) -> None: ...
    def step(self, record: RunRecord, step: StepRecord) -> None: ...
    def ended(self, record: RunRecord) -> None: ...
