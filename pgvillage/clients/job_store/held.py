"""A run that is ours: what the stores' claims have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from pgvillage.core.job_run import ClaimLost, RunRecord, RunStatus

Write = Callable[[RunRecord], Awaitable[bool]]


@dataclass(eq=False)
class HeldRun:
    """`write` answers whether the run was still ours; see running.contract.Claim."""

    record: RunRecord
    found: RunStatus
    write: Write
    close: Write
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def note(self, record: RunRecord) -> None:
        await self._do(self.write, record)

    async def end(self, record: RunRecord) -> None:
        await self._do(self.close, record)

    async def _do(self, write: Write, record: RunRecord) -> None:
        ours = replace(record, token=self.record.token, owner=self.record.owner)
        if self.lost.is_set() or not await write(ours):
            self.lost.set()
            raise ClaimLost(f"run {record.key.id} of job {record.key.job} is no longer ours")
        self.record = ours
