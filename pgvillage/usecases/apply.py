"""Applying: under the target's lock, read again, refuse what changed, do the steps, read once more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pgvillage.core.address import Address
from pgvillage.core.change import Change
from pgvillage.core.errors import LockNotAcquired, PgVillageError, PrimaryMoved, ReadError, StalePlan
from pgvillage.core.fence import NO_FENCE, Fence
from pgvillage.core.plan import Status, TargetId, TargetPlan
from pgvillage.core.rotation import LoginsSeen
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.step import RestartStep, Step, SwitchoverStep
from pgvillage.engine.planner import ledger_update
from pgvillage.engine.policy import is_approved
from pgvillage.engine.standing_still import closed_since
from pgvillage.estate.view import ClusterView
from pgvillage.usecases.follow import MOST_TIMES, compared, may_move, new_primary, unknown
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.plan import Consent, Planned, plan_observed
from pgvillage.usecases.rotation import logins_seen, promote_logins
from pgvillage.usecases.world import World, Writer

Progress = Callable[[TargetId, int, int], None]
FenceOf = Callable[[str], Fence | None]
_NOT_AGAIN = "a saved plan was made for what was there and is not planned again: make a new one"


def _at_a_terminal(target: str) -> Fence:
    del target
    return NO_FENCE


@dataclass(frozen=True, slots=True)
class _Terms:
    """What all targets of a run have in common. `saved` maps targets to the digests of a saved plan."""

    consent: Consent
    saved: Mapping[str, str] | None
    progress: Progress | None
    fence_of: FenceOf


async def apply_plan(
    world: World,
    planned: Planned,
    consent: Consent,
    saved: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    fence_of: FenceOf | None = None,
) -> Run:
    """Apply what was planned. `saved` maps targets to the digests of a saved plan, which then bind.

    `fence_of` is asked just before each transaction: None means that the target is another replica's by now.
    """
    run = await apply_targets(world, planned, consent, saved, progress, fence_of)
    return await promote_logins(world, planned.estate.manifests, run)


async def apply_targets(
    world: World,
    planned: Planned,
    consent: Consent,
    saved: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    fence_of: FenceOf | None = None,
) -> Run:
    """The same without promoting logins: for who applies target by target, and promotes by what all of them showed."""
    terms = _Terms(consent, saved, progress, fence_of or _at_a_terminal)
    limit = asyncio.Semaphore(world.settings.parallel)

    async def one(plan: TargetPlan) -> TargetRun:
        async with limit:
            return await _apply_target(world, planned, plan, terms)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(plan)) for plan in planned.plan.targets]
    return Run(planned.plan.revision, tuple(task.result() for task in tasks))


async def _apply_target(world: World, planned: Planned, plan: TargetPlan, terms: _Terms) -> TargetRun:
    settled = _without_work(plan, terms.saved)
    if settled is not None:
        return replace(settled, logins=logins_seen(planned.observations.get(plan.target)))
    work = _Work(world, planned, plan, terms)
    try:
        return await work.to_the_end()
    except LockNotAcquired as error:
        return work.ended(Outcome.LOCKED, str(error))
    except StalePlan as error:
        return work.ended(Outcome.STALE, str(error))
    except PgVillageError as error:
        return work.ended(Outcome.FAILED, str(error))
    except TimeoutError:
        return work.ended(Outcome.FAILED, f"{plan.target}: reading took longer than timeouts.read allows")


def _without_work(plan: TargetPlan, saved: Mapping[str, str] | None) -> TargetRun | None:
    """The runs that end before they begin."""
    if plan.status is not Status.PLANNED:
        return TargetRun(plan.target, Outcome.UNREACHABLE, plan, error=plan.error)
    if saved is not None and saved.get(str(plan.target)) != plan.digest:
        return TargetRun(plan.target, Outcome.STALE, plan, left=plan.applied_changes, error=_stale_text(plan.target))
    if plan.blocked:
        return TargetRun(plan.target, Outcome.BLOCKED, plan, left=plan.applied_changes)
    if not plan.steps and not plan.bookkeeping:
        return TargetRun(plan.target, Outcome.NOTHING, plan)
    return None


def _stale_text(target: TargetId) -> str:
    return f"{target} is no longer what was planned on (live, directory or manifests changed): plan again"


class _Work:
    """One target's apply: what it knows grows as it goes, so that a failure can be told exactly."""

    def __init__(self, world: World, planned: Planned, plan: TargetPlan, terms: _Terms) -> None:
        self._world, self._planned, self._plan, self._terms = world, planned, plan, terms
        self._consent, self._progress = terms.consent, terms.progress
        self._left_steps: Counter[Address] = Counter()
        self._done: list[Change] = []
        self._statements = 0
        self._notes: list[str] = []
        self._stopped = ""
        self._logins = LoginsSeen()
        self._under_way: list[Change] = []  # what the batch that runs now would finish
        self._moves = 0

    async def to_the_end(self) -> TargetRun:
        """Follows a primary that moves; a saved plan ends there instead, as it was made for what was."""
        view = self._planned.observations[self._plan.target].context.view
        while True:
            try:
                return await self.run()
            except (PrimaryMoved, ReadError) as error:
                if not may_move(self._plan.target, view):
                    again = "; run again, it goes on from what is there" if isinstance(error, PrimaryMoved) else ""
                    return self.ended(Outcome.FAILED, f"{error}{again}")
                ended = await self._follow(view, error)
                if ended is not None:
                    return ended

    async def _follow(self, view: ClusterView, error: PrimaryMoved | ReadError) -> TargetRun | None:
        """How it ends, or None with a new plan for the rest."""
        uncertain = self._under_way if isinstance(error, PrimaryMoved) and error.uncertain else []
        saved = self._terms.saved is not None
        if saved and not uncertain:
            return self._ended_by_move(f"{error}; {_NOT_AGAIN}")
        try:
            seen = await new_primary(self._world, self._plan.target, view)
        except ReadError as nobody:
            self._notes += unknown(uncertain)
            return self._ended_by_move(f"{error}; {nobody}")
        self._logins = logins_seen(seen)
        fresh = plan_observed(self._world, seen, self._planned.estate, self._consent)
        self._done, notes = compared(self._done, uncertain, fresh)
        self._notes += notes
        self._moves += 1
        if saved or self._moves > MOST_TIMES:
            why = _NOT_AGAIN if saved else f"planned again {MOST_TIMES} times already: run again"
            return self._ended_by_move(f"{error}; {why}")
        again = f"planned again on the primary that is there now ({self._moves} of at most {MOST_TIMES} times)"
        self._notes.append(f"{error}; {len(self._done)} changes were done until then; {again}")
        self._plan, self._planned.observations[self._plan.target] = fresh, seen
        return None

    def _ended_by_move(self, error: str) -> TargetRun:
        return replace(self.ended(Outcome.FAILED, error), moved=True)

    async def run(self) -> TargetRun:
        # Taken and not kept: of a large target one observation is in memory at a time, and there are three.
        planned_on = self._planned.observations.pop(self._plan.target)
        view = planned_on.context.view
        writing = self._world.writer(self._plan.target, view, planned_on.reading, self._fence())
        del planned_on
        self._under_way = []
        async with writing as writer:
            # what the writer has to say on the way is part of the report
            writer.notes[:] = [*self._notes, *(note for note in writer.notes if note not in self._notes)]
            self._notes = writer.notes
            if writer.ledger_problem and not self._is_known(writer.ledger_problem):
                self._notes.append(writer.ledger_problem)
            if not await self._replan_and_execute(writer, view):
                return self.ended(Outcome.BLOCKED, self._stopped)
            return await self._verify(view)

    def _fence(self) -> Fence:
        """Raises LockNotAcquired when our share of the estate has this target no more."""
        fence = self._terms.fence_of(str(self._plan.target))
        if fence is None:
            raise LockNotAcquired(
                f"{self._plan.target} is another replica's by now: that one goes on from what is there"
            )
        return fence

    def _is_known(self, problem: str) -> bool:
        """The plan says already that an account without CREATE can keep no ledger."""
        return problem.startswith("no ledger") and any(f.message.startswith("no ledger") for f in self._plan.findings)

    async def _replan_and_execute(self, writer: Writer, view: ClusterView) -> bool:
        seen = await self._again(view)
        if self._plan.blocked:
            return False
        if not await self._execute(writer, seen):
            return False
        rest = ledger_update(seen.desired, seen.context, self._plan.changes, self._revision)
        if rest.rows:
            await writer.run([], rest)
        return True

    @property
    def _revision(self) -> str:
        return self._planned.estate.checkout.revision

    async def _again(self, view: ClusterView) -> Observation:
        """Now that nobody else writes, is the target still what the plan was made on?"""
        seen = await observe(self._world, self._plan.target, view)
        self._logins = logins_seen(seen)
        fresh = plan_observed(self._world, seen, self._planned.estate, self._consent)
        if fresh.digest != self._plan.digest:
            if self._terms.saved is not None:
                raise StalePlan(_stale_text(self._plan.target))
            self._notes.append("the target changed since the plan was shown; planned again under the lock")
        self._plan = fresh
        return seen

    async def _execute(self, writer: Writer, seen: Observation) -> bool:
        """False when the window closed in the middle: what is done is recorded, and the rest is left for the next."""
        steps = self._plan.steps
        self._left_steps = Counter(address for step in steps for address in step.addresses)
        changes = {change.address: change for change in self._plan.applied_changes}
        # A plan that reaches into several databases begins only when every one of them lets us in.
        present = seen.context.capabilities.databases if seen.context.capabilities else {}
        await writer.reach(sorted({s.database for s in steps if s.database is not None} & set(present)))
        for batch in batches(steps):
            if self._stop_before(batch, steps[self._statements :], seen):
                return False
            finished = self._finish(batch)
            update = ledger_update(seen.desired, seen.context, self._plan.changes, self._revision, finished)
            self._fence()
            self._under_way = [changes[address] for address in sorted(finished) if address in changes]
            await writer.run(batch, update)
            self._statements += len(batch)
            self._done += self._under_way
            self._under_way = []
            if self._progress:
                self._progress(self._plan.target, self._statements, len(steps))
        return True

    def _stop_before(self, batch: Sequence[Step], left: Sequence[Step], seen: Observation) -> bool:
        """A restart may take minutes, and a plan has several: each begins inside of a window, or with an approval."""
        if not any(isinstance(step, RestartStep | SwitchoverStep) for step in batch):
            return False
        when = closed_since(seen.context, self._world.now())
        if not when or is_approved(self._plan.digest, self._consent.approvals):
            return False
        later = "; ".join(str(step) for step in left)
        self._stopped = f"{self._plan.target}: its window has closed; the next one begins {when}. Left: {later}"
        return True

    def _finish(self, batch: Sequence[Step]) -> set[Address]:
        """The addresses that need nothing more once this batch is done."""
        touched: set[Address] = set()
        for step in batch:
            self._left_steps.subtract(step.addresses)
            touched.update(step.addresses)
        return {address for address in touched if self._left_steps[address] <= 0}

    async def _verify(self, view: ClusterView) -> TargetRun:
        """Done is what a fresh look confirms, and nothing else."""
        if not self._done:
            return self.ended(Outcome.NOTHING)
        after = await observe(self._world, self._plan.target, view)
        self._logins = logins_seen(after)
        still = plan_observed(self._world, after, self._planned.estate, self._consent)
        did = {change.address for change in self._done}
        unsettled = tuple(change.address for change in still.changes if change.address in did)
        if unsettled:
            names = ", ".join(map(str, unsettled[:3]))
            return self.ended(Outcome.FAILED, f"done, but still different on a fresh look: {names}", unsettled)
        return self.ended(Outcome.DONE)

    def ended(self, outcome: Outcome, error: str = "", unsettled: tuple[Address, ...] = ()) -> TargetRun:
        did = {change.address for change in self._done}
        left = tuple(change for change in self._plan.applied_changes if change.address not in did)
        return TargetRun(
            target=self._plan.target,
            outcome=outcome,
            plan=self._plan,
            done=tuple(self._done),
            left=left,
            unsettled=unsettled,
            error=error,
            notes=tuple(self._notes),
            statements=self._statements,
            logins=self._logins,
        )


def batches(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps that share a transaction; one that can't be in a transaction is alone."""
    batch: list[Step] = []
    for step in steps:
        if batch and (not step.transactional or not batch[-1].transactional or step.database != batch[-1].database):
            yield batch
            batch = []
        batch.append(step)
    if batch:
        yield batch
