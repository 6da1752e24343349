"""Plans and runs as JSON documents (schemas/plan.json, schemas/run.json), and saved plans read back."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Source
from pgvillage.core.plan import Finding, Gate, Plan, Status, TargetId, TargetPlan, Unread, count_actions
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.core.state import UNMANAGED, State
from pgvillage.core.step import PatchStep, SqlStep, Step
from pgvillage.report.saved import FORMAT_VERSION, SavedPlan, plan_id, read_saved_plan

__all__ = ["SavedPlan", "plan_document", "read_saved_plan", "run_document", "saved_plan"]

Document = dict[str, Any]
_SEVERITIES = ("error", "warning", "info")


def plan_document(plan: Plan) -> Document:
    """The plan for programs. The same plan gives the same document, whatever the order of sets and mappings."""
    targets = sorted(plan.targets, key=lambda t: str(t.target))
    found = [(None, f) for f in plan.findings] + [(t.target, f) for t in targets for f in t.findings]
    return {
        "format_version": FORMAT_VERSION,
        "plan_id": plan_id(plan.revision, {str(t.target): t.digest for t in targets if _planned(t)}),
        "revision": plan.revision,
        "dirty": plan.dirty,
        "scope": list(plan.scope),
        "applyable": any(_planned(t) and t.applied_changes and not t.blocked for t in targets),
        "complete": plan.complete,
        "summary": _summary(plan),
        "gates": [_gate(t.target, gate) for t in targets for gate in t.gates],
        "targets": [_target(t) for t in targets],
        "diagnostics": _diagnostics(found),
    }


saved_plan = plan_document  # `apply FILE` plans again and compares digests: it needs no more than the document has


def run_document(run: Run) -> Document:
    """What an apply did, for programs."""
    targets = sorted(run.targets, key=lambda t: str(t.target))
    outcomes = [t.outcome for t in targets]
    return {
        "format_version": FORMAT_VERSION,
        "revision": run.revision,
        "summary": {
            "done": sum(len(t.done) for t in targets),
            "left": sum(len(t.left) for t in targets),
            "unsettled": sum(len(t.unsettled) for t in targets),
            "statements": sum(t.statements for t in targets),
            "outcomes": {outcome.value: outcomes.count(outcome) for outcome in Outcome},
        },
        "gates": [_gate(t.target, gate) for t in targets for gate in t.plan.gates],
        "targets": [_target_run(t) for t in targets],
        "diagnostics": _diagnostics([(t.target, f) for t in targets for f in t.plan.findings]),
    }


def _diagnostics(found: Sequence[tuple[TargetId | None, Finding]]) -> list[Document]:
    return [_diagnostic(target, finding) for target, finding in sorted(found, key=_severity)]


def _planned(target: TargetPlan) -> bool:
    return target.status is Status.PLANNED


def _severity(found: tuple[TargetId | None, Finding]) -> tuple[int, str, str]:
    target, finding = found
    rank = _SEVERITIES.index(finding.severity) if finding.severity in _SEVERITIES else len(_SEVERITIES)
    return rank, str(target or ""), finding.message


def _summary(plan: Plan) -> Document:
    applied = [change for target in plan.targets for change in target.applied_changes]
    return {
        **{action.value: count for action, count in count_actions(applied).items()},
        "held": len(plan.changes) - len(applied),
        "clusters": len({t.target.cluster for t in plan.targets}),
        "unreachable": len({t.target.cluster for t in plan.targets if t.status is Status.UNREACHABLE}),
    }


def _gate(target: TargetId, gate: Gate) -> Document:
    facts = {"rule": gate.rule, "message": gate.message, "approvable": gate.approvable, "open": gate.open}
    facts["blocking"] = gate.blocking
    return {"target": str(target), **facts}


def _diagnostic(target: TargetId | None, finding: Finding) -> Document:
    return {
        "severity": finding.severity,
        "message": finding.message,
        "target": str(target) if target else None,
        "address": str(finding.address) if finding.address else None,
    }


def _target(plan: TargetPlan) -> Document:
    return {
        "address": str(plan.target),
        "status": plan.status.value,
        "observed_at": plan.observed_at.isoformat() if plan.observed_at else None,
        "digest": plan.digest if _planned(plan) else None,
        "complete": plan.complete,
        "changes": _changes(plan.changes, plan),
        "steps": [_step(step) for step in plan.steps],
        "unread": [_unread(unread) for unread in plan.unread],
        "error": plan.error or None,
    }


def _target_run(run: TargetRun) -> Document:
    return {
        "address": str(run.target),
        "outcome": run.outcome.value,
        "digest": run.plan.digest if _planned(run.plan) else None,
        "done": _changes(run.done, run.plan),
        "left": _changes(run.left, run.plan),
        "unsettled": sorted(map(str, run.unsettled)),
        "error": run.error or None,
        "notes": list(run.notes),
        "statements": run.statements,
    }


def _changes(changes: Iterable[Change], plan: TargetPlan) -> list[Document]:
    return [_change(c, plan.depends.get(c.address, ())) for c in sorted(changes, key=lambda c: c.address)]


def _change(change: Change, depends: Iterable[Address]) -> Document:
    sensitive = {f.name for f in change.fields if f.sensitive}
    for state in (change.before, change.after):
        sensitive |= state.SENSITIVE if state is not None else set()
    return {
        "address": str(change.address),
        "actions": ["delete", "create"] if change.action is Action.REPLACE else [change.action.value],
        "origin": change.origin.value,
        "reason": change.reason or None,
        "source": _source(change.source),
        "before": _state(change.before, sensitive),
        "after": _state(change.after, sensitive),
        "sensitive_changed": sorted({f.name for f in change.fields} & sensitive),
        "risk": change.risk.value,
        "impact": {
            "reload": change.impact.reload,
            "restart": change.impact.restart,
            "lock": change.impact.lock or None,
        },
        "held": change.held or None,
        "depends_on": sorted(map(str, depends)),
    }


def _source(source: Source) -> Document:
    """A directory's entry also says which line of a manifest lets the directory ask."""
    place: Document = {"file": source.file, "line": source.line}
    return {"directory": source.directory, "entry": source.entry, **place} if source.directory else place


def _state(state: State | None, sensitive: set[str]) -> Document | None:
    if state is None:
        return None
    values = state.as_fields()
    return {n: _plain(values[n]) for n in sorted(values) if n not in sensitive and values[n] is not UNMANAGED}


def _plain(value: Any) -> Any:
    """The value in JSON's own types; sets become sorted lists."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, frozenset | set):
        return [_plain(each) for each in sorted(value, key=lambda v: (str(type(v)), str(v)))]
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date) else str(value)


def _step(step: Step) -> Document:
    if isinstance(step, PatchStep):
        body = {"patch": _plain(step.patch)}
    else:
        body = {"sql" if isinstance(step, SqlStep) else "action": str(step)}
    addresses = sorted(map(str, step.addresses))
    return {"addresses": addresses, "database": step.database, "transactional": step.transactional, **body}


def _unread(unread: Unread) -> Document:
    return {"kind": unread.kind, "prefix": list(unread.prefix), "reason": unread.reason}
