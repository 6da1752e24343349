"""Where a target stands after a look, in conditions and in words; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pgvillage.core.change import Origin
from pgvillage.core.plan import Gate, Status, TargetPlan
from pgvillage.core.run import Outcome, TargetRun
from pgvillage.core.status import Health, Ready, Suspension, Sync, TargetStatus
from pgvillage.report.cluster_answer import cluster_document
from pgvillage.report.words import counted

FRESH_INTERVALS = 3
DEGRADED_AFTER = 3  # looks that failed, one after the other
_SHOWN = 5
_LONGEST = 300
_FAILED = frozenset({Outcome.FAILED, Outcome.STALE, Outcome.LOCKED})


@dataclass(frozen=True, slots=True, repr=False)
class Facts:
    """What a look found, and what is known besides. `interval` is in seconds; `failures` counts this look too."""

    plan: TargetPlan
    now: datetime
    interval: float
    before: TargetStatus
    labels: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    failures: int = 0
    run: TargetRun | None = None
    suspension: Suspension | None = None
    estate_fault: str = ""
    applies: bool = True
    next_look: datetime | None = None
    replica: str = ""

    @property
    def suspended(self) -> bool:
        return self.suspension is not None and self.suspension.holds(self.now)

    @property
    def reached(self) -> bool:
        return self.plan.status is Status.PLANNED


def status_of(facts: Facts) -> TargetStatus:
    """The target's status; what could not be read keeps its last known numbers, and is Unknown."""
    found = replace(
        facts.before,
        labels=dict(facts.labels),
        ready=_ready(facts),
        health=_health(facts),
        reasons=tuple(_reasons(facts)),
        suspension=facts.suspension if facts.suspended else None,
        failures=facts.failures,
        error=_clipped(_error(facts)),
        next_look=facts.next_look,
        replica=facts.replica,
        nodes=_nodes(facts),
    )
    if not facts.reached:
        return replace(found, sync=Sync.UNKNOWN)
    return _with_plan(found, facts)


def _with_plan(found: TargetStatus, facts: Facts) -> TargetStatus:
    plan = facts.plan
    drift = sum(change.origin is Origin.DRIFT for change in plan.changes)
    observed = plan.observed_at or facts.now
    return replace(
        found,
        sync=_sync(plan),
        observed_at=observed,
        fresh_until=observed + timedelta(seconds=FRESH_INTERVALS * facts.interval),
        revision=facts.revision,
        digest=plan.digest,
        changes=len(plan.changes),
        drift=drift,
        held=sum(bool(change.held) for change in plan.changes),
        pending=sum(change.origin is not Origin.DRIFT and not change.held for change in plan.changes),
        drift_since=(found.drift_since or observed) if drift else None,
        blocked=tuple(dict.fromkeys(gate.rule for gate in _closed(plan))),
    )


def _nodes(facts: Facts) -> Mapping[str, Any] | None:
    """What was asked last stays while a target can't be read; a target that shows its nodes no longer has none."""
    if facts.plan.topology is not None:
        return cluster_document(facts.plan.topology, facts.before.nodes)
    return None if facts.reached else facts.before.nodes


def _closed(plan: TargetPlan) -> list[Gate]:
    """A suspension is a condition of its own."""
    return [gate for gate in plan.gates if not gate.open and gate.rule != "suspended"]


def _sync(plan: TargetPlan) -> Sync:
    """What differs, differs, whatever else was not read; what seems equal is so only where all was read."""
    if plan.changes:
        return Sync.DRIFTED
    return Sync.SYNCED if plan.complete else Sync.UNKNOWN


def _ready(facts: Facts) -> Ready:
    if facts.estate_fault:
        return Ready.STALLED
    if not facts.reached:
        return Ready.RECONCILING
    if any(gate.blocking for gate in _closed(facts.plan)):
        return Ready.STALLED
    waits = bool(facts.plan.applied_changes)
    if waits and facts.suspended:
        return Ready.STALLED
    if facts.run is not None and facts.run.outcome in _FAILED:
        return Ready.RECONCILING
    return Ready.RECONCILING if waits and facts.applies else Ready.READY


def _health(facts: Facts) -> Health:
    if not facts.reached:
        ill = facts.plan.topology is not None and not facts.plan.topology.healthy
        return Health.DEGRADED if ill or facts.failures >= DEGRADED_AFTER else Health.UNKNOWN
    return Health.DEGRADED if any(f.severity == "error" for f in facts.plan.findings) else Health.HEALTHY


def _error(facts: Facts) -> str:
    if not facts.reached:
        return facts.plan.error
    return facts.run.error if facts.run is not None and facts.run.outcome in _FAILED else ""


def _reasons(facts: Facts) -> Iterator[str]:
    """Why it is not Ready, Synced or Healthy; the weightiest first."""
    plan = facts.plan
    if facts.estate_fault:
        yield _clipped(facts.estate_fault)
    if facts.suspended and facts.suspension is not None:
        yield _clipped(_suspended(facts.suspension))
    if not facts.reached:
        yield _clipped(f"not read ({counted(max(1, facts.failures), 'time')} in a row): {plan.error}")
        problems = plan.topology.problems if plan.topology is not None else ()
        yield from _limited(problem.text for problem in problems if problem.severity == "error")
        return
    yield from (_clipped(f"{gate.rule}: {gate.message}") for gate in _closed(plan))
    if error := _error(facts):
        yield _clipped(f"the apply ended as {facts.run.outcome if facts.run else ''}: {error}")
    yield from _differences(facts)
    yield from _limited(f"not read: {' '.join(unread.prefix)}: {unread.reason}" for unread in plan.unread)
    yield from _limited(finding.message for finding in plan.findings if finding.severity == "error")


def _differences(facts: Facts) -> Iterator[str]:
    drift = [change for change in facts.plan.changes if change.origin is Origin.DRIFT]
    merged = [change for change in facts.plan.changes if change.origin is Origin.GIT]
    people = [change for change in facts.plan.changes if change.origin is Origin.DIRECTORY]
    for found, what in ((drift, "by hand"), (merged, "merged and not applied"), (people, "of a directory not applied")):
        held = [change.held for change in found if change.held]
        why = f"; {len(held)} held: {held[0]}" if held else ""
        if found:
            yield _clipped(f"{counted(len(found), 'change')} {what}{why}")
    if facts.plan.applied_changes and not facts.applies:
        yield "this daemon only observes (serve.apply: false)"


def _suspended(found: Suspension) -> str:
    until = f"until {found.until:%Y-%m-%d %H:%M} UTC" if found.until else "until somebody resumes"
    return f"suspended by {found.by} {until}: {found.reason}"


def _limited(lines: Iterator[str]) -> Iterator[str]:
    found = list(dict.fromkeys(lines))
    yield from map(_clipped, found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more"


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
