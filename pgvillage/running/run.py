"""One run of a Job, from its claim to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

from pgvillage.core.job_run import ClaimLost, RunRecord, RunStatus
from pgvillage.estate.manifest.duration import duration_of
from pgvillage.running.checks import check_all
from pgvillage.running.contract import Claim
from pgvillage.running.means import Means, Order, Stop
from pgvillage.running.overlap import Turned, take_turn
from pgvillage.running.sessions import Sessions
from pgvillage.running.steps import Try, wait_of
from pgvillage.running.telling import Telling
from pgvillage.running.work import is_transaction

_FOLLOWED = 5  # times that a run goes after its node
_NODE = 120.0  # seconds for a new primary
_CRASHES = 10  # tries of a run that ends whoever runs it
_WHY = 2_000  # characters


@dataclass(frozen=True, slots=True)
class _End:
    """How a try ended. `repeat`: it may be made again at once, as nothing of it can be done twice."""

    status: RunStatus
    why: str = ""
    repeat: bool = False


async def run_once(means: Means, order: Order, *, again: bool = False, stop: Stop | None = None) -> RunRecord:
    """Claims the run, which has been noted (`RunStore.take_up`), and makes one try of it; the record as noted last.

    Its status is DUE where another try is to be made not before `not_before`: call it again then. Cancelling the task
    stops the run at once; it is left DUE where it may be repeated, and ends CANCELLED where not. `again` begins one
    that has ended. Raises RunTaken (somebody else's, or ended), ClaimLost (stopped, nothing was written after),
    StateError and ReadError where the store can't be had.
    """
    async with means.store.claim(order.key, means.owner, again=again) as claim:
        return await _Run(means, order, claim, stop or Stop()).go()


class _Run:
    def __init__(self, means: Means, order: Order, claim: Claim, stop: Stop) -> None:
        self._means, self._order, self._claim, self._stop = means, order, claim, stop
        self._spec = order.job.spec
        record = replace(claim.record, revision=order.revision or claim.record.revision)
        if claim.found.ended:
            record = replace(record, attempt=0, why="", ended=None, cancel="")
        self._telling = Telling(means.listener, replace(record, status=RunStatus.DUE))
        self._try: Try | None = None

    @property
    def _record(self) -> RunRecord:
        return self._telling.record

    async def go(self) -> RunRecord:
        crashed = self._crashed()
        if crashed is not None:
            return await self._ended(crashed)
        try:
            return await self._ended(await self._watched())
        except ClaimLost:
            self._telling.silent = True
            raise
        except asyncio.CancelledError:
            # Whoever cancels us waits: what is told now is what others know of the run.
            if not self._telling.silent:
                await self._ended(self._interrupted())
            raise

    def _crashed(self) -> _End | None:
        """Whoever was at it is gone; None where it can be tried again."""
        record = self._claim.record
        if self._claim.found is not RunStatus.RUNNING:
            return None
        who = f"{record.owner or 'whoever ran it'} has not ended it"
        if not self._may_repeat([step.name for step in self._spec.steps]):
            steps = ", ".join(step.name for step in self._spec.steps if not is_transaction(step))
            why = f"the process that ran it is gone: its steps {steps} may have been done, in part or not at all; "
            return _End(RunStatus.UNKNOWN, f"{why}at-most-once forbids another try")
        most = _CRASHES + (self._spec.retries.count if self._spec.retries else 0)
        if record.attempt >= most:
            return _End(RunStatus.UNKNOWN, f"{who}, and {record.attempt} tries ended so: it is not tried any more")
        return None

    def _may_repeat(self, begun: list[str]) -> bool:
        """Whether these steps can be begun again without being done twice, or the Job wants them at least once."""
        loose = {step.name for step in self._spec.steps if not is_transaction(step)}
        return self._spec.delivery == "at-least-once" or loose.isdisjoint(begun)

    async def _watched(self) -> _End:
        """The run, unless it is lost, cancelled, or its time is over."""
        work = asyncio.create_task(self._whole())
        signs = {
            name: asyncio.create_task(event.wait())
            for name, event in (
                ("lost", self._claim.lost),
                ("cancelled", self._claim.cancelled),
                ("stopped", self._stop.asked),
            )
        }
        try:
            await asyncio.wait({work, *signs.values()}, return_when=asyncio.FIRST_COMPLETED)
            # A claim that is lost counts for more than a result of that same moment.
            self._telling.silent = self._claim.lost.is_set()
            if work.done() and not self._telling.silent:
                return work.result()
        finally:
            await _end(work, *signs.values())
        if self._telling.silent or self._claim.lost.is_set():
            self._telling.silent = True
            raise ClaimLost(f"run {self._order.key.id} of job {self._order.key.job} is no longer ours: it was stopped")
        by = self._stop.by if self._stop.asked.is_set() else await self._who_cancelled()
        return _End(RunStatus.CANCELLED, f"cancelled by {by or 'somebody'}{self._what_may_be()}")

    async def _who_cancelled(self) -> str:
        found = await self._means.store.find(self._order.key.id)
        return found.record.cancel if found is not None else ""

    async def _whole(self) -> _End:
        if self._claim.cancelled.is_set():
            return _End(RunStatus.CANCELLED, f"cancelled by {await self._who_cancelled()} before it began")
        turn = await take_turn(self._means, self._order, self._claim, self._record)
        if isinstance(turn, Turned):
            return _End(turn.status, turn.why)
        self._telling.record = turn
        self._telling.begun()
        try:
            async with asyncio.timeout(duration_of(self._spec.max_runtime).total_seconds()):
                return await self._followed()
        except TimeoutError:
            limit = f"it took longer than maxRuntime, {self._spec.max_runtime}, and was stopped"
            return self._failed(limit + self._what_may_be())

    async def _followed(self) -> _End:
        """Tries, each on the node that is the right one by then."""
        async with Sessions(self._means, self._order) as sessions:
            for _ in range(_FOLLOWED):
                end = await self._one_try(sessions)
                if not end.repeat:
                    return end
                again = replace(self._record, attempt=self._record.attempt + 1, why=end.why[:_WHY])
                await self._claim.note(again)
                self._telling.record = again
                self._telling.begun()
                missing = await sessions.await_node(_NODE)
                if missing:
                    return self._failed(f"{end.why}; no other node within {_NODE:.0f} s: {missing}")
            return self._failed(f"{end.why}; it was tried {_FOLLOWED} times")

    async def _one_try(self, sessions: Sessions) -> _End:
        self._try = now = Try(self._means, self._order, self._telling, sessions)
        await now.steps()
        failed = now.failed
        bad = [] if failed else await check_all(now)
        if not failed and not bad:
            return _End(RunStatus.SUCCEEDED)
        lost = now.moved or now.lost_answer
        if lost:
            return self._moved(now, lost)
        if failed:
            errors = [record.error for record in now.records[failed[0]] if record.error]
            return self._failed(f"step {failed[0]}: {errors[0] if errors else 'it failed'}{self._unsure(now)}")
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        return self._failed(f"check {bad[0].step}: {bad[0].error}{more}")

    def _moved(self, now: Try, lost: str) -> _End:
        words = f"stopped, as the node is no longer the one that the job asks for: {lost}" if now.moved else lost
        words = self._telling.without_secrets(words)
        if self._may_repeat(now.loose):
            return _End(RunStatus.RUNNING, f"{words}; tried again", repeat=True)
        done = ", ".join(dict.fromkeys(now.loose))
        return self._failed(f"{words}; steps {done} had begun, and at-most-once forbids another try{self._unsure(now)}")

    def _unsure(self, now: Try) -> str:
        names = ", ".join(dict.fromkeys(now.unsure))
        return f"; whether {names} was done is not known" if names else ""

    def _what_may_be(self) -> str:
        return self._unsure(self._try) if self._try is not None else ""

    def _failed(self, why: str) -> _End:
        """Failed; UNKNOWN where a step may have been done that must not be done twice; DUE where tries are left."""
        once = self._spec.delivery == "at-most-once"
        if once and self._try is not None and self._try.unsure:
            return _End(RunStatus.UNKNOWN, why)
        retries = self._spec.retries
        if retries is None or self._record.attempt > retries.count:
            return _End(RunStatus.FAILED, why)
        if (
            self._try is not None
            and (self._try.moved or self._try.lost_answer)
            and not self._may_repeat(self._try.loose)
        ):
            return _End(RunStatus.FAILED, why)
        return _End(RunStatus.DUE, why)

    def _interrupted(self) -> _End:
        begun = self._try.loose if self._try is not None else []
        if self._may_repeat(begun):
            return _End(RunStatus.DUE, "the process that ran it was stopped; it will be run again", repeat=True)
        words = f"the process that ran it was stopped, and steps {', '.join(begun)} had begun{self._what_may_be()}"
        return _End(RunStatus.UNKNOWN if self._try and self._try.unsure else RunStatus.CANCELLED, words)

    async def _ended(self, end: _End) -> RunRecord:
        now, why = self._means.now(), self._telling.without_secrets(end.why)[:_WHY]
        record = replace(self._record, status=end.status, why=why)
        if end.status is RunStatus.DUE:
            retries = self._spec.retries
            wait = wait_of(retries, record.attempt) if retries is not None and not end.repeat else 0
            record = replace(record, not_before=now + timedelta(seconds=wait) if record.attempt else None)
            await self._claim.note(record)
        else:
            record = replace(record, ended=now, not_before=None)
            await self._claim.end(record)
        self._telling.record = record
        self._telling.ended()
        return record


async def _end(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
