"""Planning: every target in parallel, one dead target delays and fails no other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace

from pgvillage.core.errors import PgVillageError
from pgvillage.core.plan import Finding, Gate, Plan, Status, TargetId, TargetPlan
from pgvillage.engine.planner import ledger_update, plan_target
from pgvillage.engine.policy import open_gates, rules_in_force
from pgvillage.settings import CorrectMode
from pgvillage.usecases.estate import LoadedEstate, Scope, load_estate
from pgvillage.usecases.nodes import nodes_all_the_same
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.reach import reached
from pgvillage.usecases.world import World


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person adds to policy on the command line: approvals are digests, `correct` asks for a mode once."""

    approvals: Collection[str] = ()
    correct: CorrectMode | None = None
    acknowledged: Collection[str] = ()


NO_CONSENT = Consent()


@dataclass(frozen=True, slots=True, repr=False)
class Planned:
    """A plan with what it was made from. It has no repr: asyncio.run() makes one of its task's result, for nobody."""

    plan: Plan
    estate: LoadedEstate
    observations: dict[TargetId, Observation]


async def make_plan(world: World, scope: Scope, consent: Consent = NO_CONSENT) -> Planned:
    """Raises what makes a plan impossible as a whole: SourceError, ManifestError, UsageError."""
    return await plan_estate(world, await load_estate(world, scope), consent, scope.words())


async def plan_estate(
    world: World, estate: LoadedEstate, consent: Consent = NO_CONSENT, scope: tuple[str, ...] = ()
) -> Planned:
    """The same for an estate that is loaded; nothing makes this impossible as a whole."""
    limit = asyncio.Semaphore(world.settings.parallel)
    observations: dict[TargetId, Observation] = {}

    async def one(target: TargetId) -> TargetPlan:
        async with limit:
            seen = await reached(world, target, observe(world, target, estate.views[target.cluster]))
            if isinstance(seen, PgVillageError):
                nodes = await nodes_all_the_same(world, target, estate.views[target.cluster])
                return TargetPlan(target, Status.UNREACHABLE, error=str(seen), observed_at=world.now(), topology=nodes)
            observations[target] = seen
            return plan_observed(world, seen, estate, consent)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(target)) for target in estate.targets]
    plan = Plan(
        revision=estate.checkout.revision,
        targets=tuple(task.result() for task in tasks),
        scope=scope,
        subject=estate.checkout.subject,
        dirty=estate.checkout.dirty,
        findings=(*estate.findings, *_undeployed(estate)),
    )
    return Planned(plan, estate, observations)


def plan_observed(world: World, seen: Observation, estate: LoadedEstate, consent: Consent) -> TargetPlan:
    """The plan of one target from an observation."""
    view = seen.context.view
    rules = rules_in_force(view.policy, consent.correct or view.correct, world.settings.ceilings)
    plan = plan_target(seen.target, seen.kinds, seen.desired, seen.context, rules, consent.approvals)
    gates = [*plan.gates, *_revision_gate(world, seen, estate)]
    opened = open_gates(gates, plan.digest, consent.approvals)
    opened = tuple(replace(g, open=g.open or (g.rule == "revision" and _known(seen, consent))) for g in opened)
    rest = ledger_update(seen.desired, seen.context, plan.changes, estate.checkout.revision)
    return replace(plan, topology=seen.reading.live.topology).with_gates(opened, bookkeeping=bool(rest.rows))


def _known(seen: Observation, consent: Consent) -> bool:
    return any(len(a) >= 7 and seen.context.snapshot.ledger.revision.startswith(a) for a in consent.acknowledged)


def _revision_gate(world: World, seen: Observation, estate: LoadedEstate) -> list[Gate]:
    """Going back in history, or to another branch's, is refused until somebody says that it is meant."""
    old, new = seen.context.snapshot.ledger.revision.partition("+")[0], estate.checkout.revision.partition("+")[0]
    if not old or old == new or not old.strip("0") or world.descends(old, new):
        return []
    text = (
        f"revision {new[:12]} does not descend from {old[:12]}, which was applied here last: a force push, an older "
        f"commit, or another branch? If it is meant: --acknowledge {old[:12]}"
    )
    return [Gate("revision", text, approvable=False)]


def _undeployed(estate: LoadedEstate) -> list[Finding]:
    names = [n for n, c in sorted(estate.manifests.clusters.items()) if c.document.spec.connection is None]
    later = [f"clusters with nodes ({', '.join(names)})"] if names else []
    return [Finding("info", f"validated, not acted on yet: {text}") for text in later]
