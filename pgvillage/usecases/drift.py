"""Drift: the part of a plan that somebody made by hand on the target."""

from __future__ import annotations

from dataclasses import replace

from pgvillage.core.change import Origin
from pgvillage.core.plan import Plan, TargetPlan


def only_drift(plan: Plan) -> Plan:
    """The same plan with changes of origin drift alone; steps and gates belong to the whole plan and are left out."""
    return replace(plan, targets=tuple(_drift_of(target) for target in plan.targets))


def _drift_of(target: TargetPlan) -> TargetPlan:
    changes = tuple(change for change in target.changes if change.origin is Origin.DRIFT)
    return replace(target, changes=changes, steps=(), gates=())
