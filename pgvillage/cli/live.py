"""Targets as a plan made now finds them: what `get` and `describe` show where nothing is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgvillage.core.plan import TargetPlan
    from pgvillage.core.status import TargetStatus
    from pgvillage.usecases.estate import Scope
    from pgvillage.usecases.plan import Planned
    from pgvillage.wiring import RealWorld

Row = dict[str, Any]
_FRESH_MINUTES = 15


def plan_now(world: RealWorld, scope: Scope) -> Planned:
    """Raises SourceError, ManifestError, UsageError."""
    import asyncio

    from pgvillage.usecases.plan import make_plan

    return asyncio.run(make_plan(world, scope))


def live_cluster(world: RealWorld, name: str) -> Row:
    """As the API gives a cluster's nodes, asked now. Raises UsageError for a cluster that is not in the estate."""
    import asyncio

    from pgvillage.report.cluster_answer import cluster_answer
    from pgvillage.usecases.nodes import ask_cluster

    return cluster_answer(asyncio.run(ask_cluster(world, name))).model_dump(mode="json")


def live_targets(world: RealWorld, planned: Planned) -> list[Row]:
    """As the API gives targets."""
    from pgvillage.report.state_models import TargetAnswer

    clusters = planned.estate.manifests.clusters
    found = []
    for each in planned.plan.targets:
        labels = dict(clusters[each.target.cluster].document.metadata.labels)
        status = _status(each, labels, planned.plan.revision)
        found.append(TargetAnswer.of(status, world.now()).model_dump(mode="json"))
    return found


def live_drifts(planned: Planned) -> list[Row]:
    """As the API gives drifts; since when is not known."""
    from pgvillage.core.change import Origin

    return [
        {"target": str(each.target), "address": str(change.address), "risk": str(change.risk), "first_seen": None,
         "last_seen": None, "ended_at": None, "ended": "", "owner": ""}
        for each in planned.plan.targets for change in each.changes if change.origin is Origin.DRIFT
    ]  # fmt: skip


def live_plan(planned: Planned, name: str) -> Row:
    """As the API gives a plan."""
    from pgvillage.report.json import plan_document

    (digest,) = [each.digest for each in planned.plan.targets if str(each.target) == name]
    return {"target": name, "digest": digest, "current": True, "document": plan_document(planned.plan)}


def _status(plan: TargetPlan, labels: dict[str, str], revision: str) -> TargetStatus:
    from datetime import timedelta

    from pgvillage.core.change import Origin
    from pgvillage.core.plan import Status
    from pgvillage.core.status import Health, Ready, Sync, TargetStatus

    read = plan.status is Status.PLANNED
    held = sum(bool(change.held) for change in plan.changes)
    return TargetStatus(
        target=str(plan.target),
        labels=labels,
        ready=Ready.STALLED if plan.blocked or not read else Ready.READY,
        sync=Sync.UNKNOWN if not plan.complete else Sync.DRIFTED if plan.changes else Sync.SYNCED,
        health=Health.HEALTHY if read else Health.UNKNOWN,
        observed_at=plan.observed_at if read else None,
        fresh_until=plan.observed_at + timedelta(minutes=_FRESH_MINUTES) if read and plan.observed_at else None,
        revision=revision,
        digest=plan.digest if read else "",
        changes=len(plan.changes),
        drift=sum(change.origin is Origin.DRIFT for change in plan.changes),
        held=held,
        pending=sum(change.origin is not Origin.DRIFT and not change.held for change in plan.changes),
        blocked=tuple(gate.rule for gate in plan.gates if not gate.open),
        error=plan.error,
    )
