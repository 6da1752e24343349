"""Exit codes: one number for everything a run found. Where several hold: 64, 3, 1, 7, 5, 4, 6, 2, 0."""

from __future__ import annotations

from collections.abc import Iterable

from pgvillage.core.change import Origin
from pgvillage.core.plan import Plan, Status, TargetPlan
from pgvillage.core.run import Outcome, Run

_ORDER = (64, 3, 1, 7, 5, 4, 6, 2, 0)
_OF_OUTCOME = {
    Outcome.DONE: 0,
    Outcome.NOTHING: 0,
    Outcome.BLOCKED: 4,
    Outcome.STALE: 5,
    Outcome.LOCKED: 7,
    Outcome.FAILED: 6,
    Outcome.UNREACHABLE: 6,
}


def weightiest(codes: Iterable[int]) -> int:
    return min(codes, key=_ORDER.index, default=0)


def exit_of_plan(plan: Plan, *, detailed: bool) -> int:
    """`detailed` makes changes count as 2."""
    codes = [_of_target(target) for target in plan.targets]
    if plan.targets and all(t.status is Status.UNREACHABLE for t in plan.targets):
        codes.append(1)
    if any(finding.severity == "error" for finding in plan.findings):
        codes.append(6)
    if detailed and plan.changes:
        codes.append(2)
    return weightiest(codes)


def _of_target(target: TargetPlan) -> int:
    """A suspension stops an apply; no merge request is to wait for its end."""
    if target.status is not Status.PLANNED:
        return 6
    if any(gate.blocking and not gate.open and gate.rule != "suspended" for gate in target.gates):
        return 4
    return 6 if target.unread or any(f.severity == "error" and not f.health for f in target.findings) else 0


def exit_of_drift(plan: Plan) -> int:
    drifted = any(change.origin is Origin.DRIFT for change in plan.changes)
    return weightiest([exit_of_plan(plan, detailed=False), 2 if drifted else 0])


def exit_of_run(run: Run) -> int:
    """A failure everywhere is 1, somewhere is 6; findings that say something was not known are 6 too."""
    codes = [_OF_OUTCOME[t.outcome] for t in run.targets]
    codes += [_of_target(t.plan) for t in run.targets if t.plan.status is Status.PLANNED and not t.plan.blocked]
    if run.targets and all(t.outcome in (Outcome.FAILED, Outcome.UNREACHABLE) for t in run.targets):
        codes.append(1)
    return weightiest(codes)
