"""Runs as history: noted before the first statement, ended after the last; what a killed daemon left is ended too."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pgvillage.core.history import RunRecord
from pgvillage.core.plan import TargetPlan
from pgvillage.core.run import Run, TargetRun
from pgvillage.daemon.memory import Memory
from pgvillage.report.json import run_document

INTERRUPTED = "interrupted"
_MANY = 10_000


class Runs:
    def __init__(self, memory: Memory, replica: str, now: Callable[[], datetime]) -> None:
        self._memory, self._replica, self._now = memory, replica, now

    async def began(self, plan: TargetPlan, revision: str, approved_by: str) -> RunRecord:
        record = RunRecord(
            id=uuid.uuid4().hex,
            target=str(plan.target),
            digest=plan.digest,
            revision=revision,
            started_at=self._now(),
            replica=self._replica,
            left=len(plan.applied_changes),
            approved_by=approved_by,
        )
        await self._memory.do("note a run", lambda: self._memory.state.history.begin_run(record), None)
        return record

    async def ended(self, record: RunRecord, run: TargetRun) -> None:
        whole = replace(
            record,
            ended_at=self._now(),
            outcome=str(run.outcome),
            done=len(run.done),
            left=len(run.left),
            error=run.error,
            document=run_document(Run(record.revision, (run,))),
        )
        await self._memory.do("end a run", lambda: self._memory.state.history.end_run(whole), None)

    async def broken_off(self, record: RunRecord, why: str) -> None:
        """It was rolled back, or nobody knows how far it came: the next look tells what is there."""
        found = replace(record, ended_at=self._now(), outcome=INTERRUPTED, error=why)
        await self._memory.do("end a run", lambda: self._memory.state.history.end_run(found), None)

    async def end_those_of_the_killed(self) -> None:
        """Runs of this very replica that are still open at its start."""
        history, none = self._memory.state.history, list[RunRecord]()
        found = await self._memory.do("read runs", lambda: history.runs(None, _MANY), none)
        for record in found:
            if not record.outcome and record.replica == self._replica:
                await self.broken_off(record, "the daemon was killed during it")
