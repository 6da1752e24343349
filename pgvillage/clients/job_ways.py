"""Where the steps of one Job go: SQL by the doors of its clusters, programs and calls by whoever does these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pgvillage.clients.job_sql.place import JobDoor, Place
from pgvillage.clients.job_sql.session import JobSession, open_session
from pgvillage.core.job_work import HttpWork, ShellWork, Sink, WorkResult


@dataclass(frozen=True, slots=True)
class JobWays:
    """`door` by the cluster's name."""

    door: Callable[[str], JobDoor]
    programs: Callable[[ShellWork, Sink], Awaitable[WorkResult]]
    calls: Callable[[HttpWork, Sink], Awaitable[WorkResult]]

    @asynccontextmanager
    async def sql(self, cluster: str, database: str, node: str, target: str) -> AsyncIterator[JobSession]:
        """Raises ReadError, SecretError, CredentialRefused, SettingsError."""
        async with open_session(self.door(cluster), Place(database, target, node)) as session:
            yield session

    async def shell(self, work: ShellWork, sink: Sink) -> WorkResult:
        return await self.programs(work, sink)

    async def http(self, work: HttpWork, sink: Sink) -> WorkResult:
        return await self.calls(work, sink)
