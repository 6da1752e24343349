"""The loop of one target: look, apply by policy, look again, wait."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from functools import partial

import structlog

from pgvillage.core.change import Change
from pgvillage.core.errors import PgVillageError
from pgvillage.core.history import Request
from pgvillage.core.plan import Plan, Status, TargetId, TargetPlan
from pgvillage.core.run import Outcome, TargetRun
from pgvillage.core.status import Suspension, TargetStatus
from pgvillage.daemon.conditions import Facts, status_of
from pgvillage.daemon.estate_feed import JITTER, Commit
from pgvillage.daemon.faults import text, words
from pgvillage.daemon.fingerprints import Fingerprints
from pgvillage.daemon.look import Look
from pgvillage.daemon.shared import Shared
from pgvillage.daemon.suspensions import Suspensions
from pgvillage.usecases.apply import apply_targets
from pgvillage.usecases.estate import estate_of
from pgvillage.usecases.plan import Consent, Planned, plan_estate

log = structlog.get_logger("pgvillage.target")

FIRST_RETRY = 15.0
LAST_RETRY = 900.0
_LATE = 60.0  # seconds that waiting may overrun
_LONG = 3600.0  # seconds that a turn may take: all it waits for has a time limit
_BESIDES = 120.0  # seconds for what a look asks besides the target: directories, secret stores, git
_FAILED = frozenset({Outcome.FAILED, Outcome.STALE, Outcome.LOCKED})


class TargetLoop:
    """Runs until it is ended; `due` is when it will have moved by (the event loop's clock)."""

    def __init__(self, target: TargetId, shared: Shared, first: float) -> None:
        self.target, self.name, self._shared, self._first = target, str(target), shared, first
        self._clock = asyncio.get_running_loop().time
        self._woken, self._ended = asyncio.Event(), False
        self._why = "start"
        self._requests: list[Request] = []
        self._setbacks = 0  # looks and applies in a row that did not come to a good end
        self._unreached = 0
        self._status: TargetStatus | None = None
        self._said: tuple[object, ...] = ()
        self._differences: tuple[Change, ...] = ()
        self._next = self._clock() + first
        self._suspensions = Suspensions(target, shared)
        self.fingerprints = Fingerprints(target, shared, lambda why: self.wake(why, reset=False))
        self.due = self._clock() + first + _LATE
        self.busy = False
        self.writing = False

    def wake(self, why: str, *, reset: bool = True) -> None:
        """Look now, or right after the look that is under way. `reset` forgets earlier failures."""
        self._why = why
        self._setbacks = 0 if reset else self._setbacks
        self._woken.set()

    def asked(self, request: Request) -> None:
        self._requests.append(request)
        self.wake(f"{request.verb} asked by {request.by}")

    @property
    def late(self) -> float:
        """Seconds that the next look is behind its time; a look that is under way is not late."""
        return 0.0 if self.busy else max(0.0, self._clock() - self._next)

    def end(self) -> None:
        """No further look; one that is under way goes on to its end."""
        self._ended = True
        self._woken.set()

    async def run(self) -> None:
        structlog.contextvars.bind_contextvars(target=self.name)
        cheap = asyncio.create_task(self.fingerprints.run())
        try:
            await self._wait(self._first, "start")
            while not self._ended:
                await self._turn()
                if not self._ended:
                    await self._wait(self._pause())
        finally:
            cheap.cancel()
            await asyncio.gather(cheap, return_exceptions=True)
            await self.fingerprints.close()

    def _pause(self) -> float:
        """Seconds to the next look: the interval with jitter, or full jitter up to a growing back-off."""
        observe = self._shared.serve.observe
        if self._setbacks:
            return random.uniform(0.1, self._back_off(self._setbacks))  # noqa: S311 - jitter
        return observe * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter

    def _back_off(self, setbacks: int) -> float:
        """The longest that a retry waits, in seconds: never longer than the interval."""
        return min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(20, setbacks - 1), self._shared.serve.observe)

    async def _wait(self, seconds: float, why: str = "interval") -> None:
        self._next = self._clock() + seconds
        self.due = self._next + _LATE
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
            self._next = min(self._next, self._clock())
        except TimeoutError:
            self._why = why
        self._woken.clear()

    async def _turn(self) -> None:
        self.due = self._clock() + _LONG
        good, began = False, 0.0
        async with self._shared.turns.turn(failing=self._unreached > 0):
            self.busy = True
            began = self._shared.metrics.began(self._clock() - self._next)
            try:
                good = await self._reconcile()
            except Exception as error:  # noqa: BLE001 - a bug in one look ends no loop, and must be seen
                for each in error.exceptions if isinstance(error, ExceptionGroup) else (error,):
                    log.error("look failed", **words(each))
            finally:
                self.busy = self.writing = False
        self._setbacks = 0 if good else self._setbacks + 1
        self._shared.metrics.ended(began, good=good)

    async def _reconcile(self) -> bool:
        """One look, and what follows from it; False where it should be tried again soon."""
        commit = self._shared.feed.good
        if commit is None or self.target not in commit.targets:
            return True
        if self._status is None:
            self._status = await self._shared.memory.status(self.name)
        requests, self._requests = self._requests, []
        approvals = await self._shared.memory.approvals(self.name, self._shared.world.now())
        consent = Consent(approvals=list(approvals))
        planned = await self._planned(commit, consent, fresh=bool(requests))
        suspension = await self._suspensions.found(planned, requests)
        plan = planned.plan.targets[0]
        await self._seen(plan)
        await self._tell(commit, planned.plan, suspension)
        if not self._may_apply(plan, suspension):
            return plan.complete
        run = await self._applied(planned, consent, approvals.get(plan.digest, ""))
        if run.done:
            planned = await self._planned(commit, consent, fresh=False)
        if run.done or run.outcome in _FAILED:
            await self._tell(commit, planned.plan, suspension, run)
        if run.moved:
            self.wake("the primary moved")
            return True
        return planned.plan.complete and not run.error

    async def _seen(self, plan: TargetPlan) -> None:
        """An alarm found something when the differences are others than at the look before."""
        if plan.status is not Status.PLANNED:
            await self.fingerprints.found(reached=False, changed=False)
            return
        await self.fingerprints.found(reached=True, changed=plan.changes != self._differences)
        self._differences = plan.changes

    def _may_apply(self, plan: TargetPlan, suspension: Suspension | None) -> bool:
        suspended = suspension is not None and suspension.holds(self._shared.world.now())
        if not self._shared.serve.apply or suspended or plan.status is not Status.PLANNED:
            return False
        return self._shared.shares.fence(self.name) is not None

    async def _planned(self, commit: Commit, consent: Consent, *, fresh: bool) -> Planned:
        """The plan of this target alone. What goes wrong on the way is the target's status, as if it were unread."""
        world, shared = self._shared.world, self._shared
        limit = 2 * world.settings.timeouts.read + _BESIDES
        scope = (f"-t {self.name}",)
        try:
            async with asyncio.timeout(limit):
                estate = await estate_of(
                    partial(shared.lookups.ask, fresh=fresh), commit.checkout, commit.manifests, (self.target,)
                )
                view, lost = estate.views[self.target.cluster], self._unreached > 0
                if not lost:  # a dead host costs one time limit, not two
                    await self.fingerprints.begin(view)
                planned = await plan_estate(world, estate, consent, scope)
                if lost and planned.observations:
                    await self.fingerprints.begin(view)
        except TimeoutError:
            return self._unplanned(commit, f"{self.name}: no look within {limit:g} s", scope)
        except PgVillageError as error:
            return self._unplanned(commit, str(error), scope)
        return planned

    def _unplanned(self, commit: Commit, why: str, scope: tuple[str, ...]) -> Planned:
        found = TargetPlan(self.target, Status.UNREACHABLE, error=why, observed_at=self._shared.world.now())
        plan = Plan(commit.revision, (found,), scope, commit.checkout.subject, commit.checkout.dirty)
        return Planned(plan, None, {})  # type: ignore[arg-type]

    async def _applied(self, planned: Planned, consent: Consent, approved_by: str) -> TargetRun:
        plan, shared = planned.plan.targets[0], self._shared
        writes = bool(plan.steps) and not plan.blocked
        record = await shared.runs.began(plan, planned.plan.revision, approved_by) if writes else None
        self.writing = True
        with structlog.contextvars.bound_contextvars(**({"run": record.id} if record else {})):
            try:
                done = await apply_targets(shared.world, planned, consent, fence_of=shared.shares.fence)
                run = await shared.promoted(done.targets[0])
            except BaseException as error:
                if record is not None:
                    await asyncio.shield(shared.runs.broken_off(record, text(error) or "the daemon stopped"))
                raise
            finally:
                self.writing = False
            _log_run(run)
        if record is not None:
            await shared.runs.ended(record, run)
        return run

    async def _tell(
        self, commit: Commit, plan: Plan, suspension: Suspension | None, run: TargetRun | None = None
    ) -> None:
        found = plan.targets[0]
        shared, now = self._shared, self._shared.world.now()
        reached = found.status is Status.PLANNED
        self._unreached = 0 if reached else self._unreached + 1
        located = commit.manifests.clusters[self.target.cluster].document
        estate = commit.manifests.estate
        facts = Facts(
            plan=found,
            now=now,
            interval=shared.serve.observe,
            before=self._status or TargetStatus(self.name),
            labels=located.metadata.labels,
            revision=commit.revision,
            failures=self._unreached,
            run=run,
            suspension=suspension,
            estate_fault=shared.feed.fault if not shared.feed.valid else "",
            applies=shared.serve.apply,
            next_look=now + timedelta(seconds=shared.serve.observe if reached else self._back_off(self._setbacks + 1)),
            replica=shared.replica,
        )
        self._status = status_of(facts)
        self._log(found, plan)
        routes = tuple(estate.document.spec.notifications) if estate else ()
        await shared.tell(Look(self.name, plan, self._status, located.metadata.labels, routes, run))

    def _log(self, plan: TargetPlan, whole: Plan) -> None:
        """Only what is new: of hundreds of targets that stay as they are nobody reads a line each."""
        said = (plan.status, plan.error, plan.changes, whole.revision, plan.complete)
        if said == self._said:
            return
        self._said = said
        if plan.error:
            log.warning("not read", error=plan.error)
            return
        held = sum(bool(change.held) for change in plan.changes)
        log.info(
            "planned",
            revision=whole.revision,
            why=self._why,
            changes=len(plan.changes),
            held=held,
            complete=plan.complete,
        )


def _log_run(run: TargetRun) -> None:
    for note in run.notes:
        log.info("note", note=note)
    if not run.done and not run.error:
        return
    write = log.error if run.error else log.info
    write("apply failed" if run.error else "applied", outcome=str(run.outcome), done=len(run.done), error=run.error)
