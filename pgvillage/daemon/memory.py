"""The state database as the loops use it: what it can't answer costs history and a warning, never a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

import structlog

from pgvillage.clients.state.state import State
from pgvillage.core.history import Approval, Request
from pgvillage.core.status import Suspension, TargetStatus
from pgvillage.daemon.faults import words

log = structlog.get_logger("pgvillage.state")

T = TypeVar("T")
_THREADS = 4


class Memory:
    """`state` is for those who must know that a call failed; what goes through here fails quietly to its default."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.failures: Callable[[], None] = lambda: None
        self.bad = False
        # Of its own: a secret store or a git server that hangs holds threads of the common ones.
        self._threads = ThreadPoolExecutor(_THREADS, "state")
        self._suspensions: dict[str, Suspension] = {}

    async def do(self, what: str, call: Callable[[], T], default: T) -> T:
        """The answer of one short call, or `default` when the database does not do it."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except Exception as error:  # noqa: BLE001 - whatever it is, the loops go on
            self.failures()
            if not self.bad:
                log.warning("the state database does not answer: history is lost until it does", what=what,
                            **words(error))  # fmt: skip
            self.bad = True
            return default
        if self.bad:
            log.info("the state database answers again")
        self.bad = False
        return found

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        self.state.close()

    async def status(self, target: str) -> TargetStatus:
        """The last one, or one of a target that nobody looked at yet."""
        found = await self.do("read a status", lambda: self.state.statuses.get(target), None)
        return found or TargetStatus(target)

    async def approvals(self, target: str, now: datetime) -> dict[str, str]:
        """Digests that somebody consented to, with who; none when it can't be known."""
        none: list[Approval] = []
        found = await self.do("read approvals", lambda: self.state.decisions.approvals(target, now), none)
        return {approval.digest: approval.by for approval in found}

    async def suspension(self, target: str) -> Suspension | None:
        """What was last known holds while the database does not answer: nothing is applied by its silence."""
        self._suspensions = await self.do(
            "read suspensions", self.state.decisions.suspensions, self._suspensions
        )  # fmt: skip
        return self._suspensions.get(target)

    async def sync_suspension(self, target: str, found: Suspension | None) -> None:
        """Make the state say what the target's ledger says."""
        if self._suspensions.get(target) == found:
            return
        decisions = self.state.decisions
        if found is None:
            await self.do("note a resumption", lambda: decisions.resume(target), False)
            self._suspensions = {name: each for name, each in self._suspensions.items() if name != target}
        else:
            await self.do("note a suspension", lambda: decisions.suspend(target, found), None)
            self._suspensions = {**self._suspensions, target: found}

    async def requests(self, targets: Collection[str]) -> list[Request]:
        return await self.do("read requests", lambda: self.state.decisions.take_requests(targets), [])
