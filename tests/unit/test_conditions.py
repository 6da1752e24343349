"""The table of docs/serve.md: what a look found, and where the target stands by it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from pgvillage.core.change import Origin
from pgvillage.core.plan import Finding, Gate, Status, TargetId, TargetPlan, Unread
from pgvillage.core.run import Outcome, TargetRun
from pgvillage.core.status import Health, Ready, Suspension, Sync, TargetStatus
from pgvillage.daemon.conditions import Facts, status_of
from pgvillage.resources.postgres.role import RoleState
from tests.unit.report_plans import NOW, drifted, role, target

LOST = TargetPlan(TargetId("orders"), Status.UNREACHABLE, NOW, error="no route to host")
GATE = Gate("limit-drop", "3 of 5 roles would go")
MERGED = role("new", None, RoleState(True))
SUSPENDED = Suspension("ann", "a migration", NOW - timedelta(hours=1))
FAILED = TargetRun(TargetId("orders"), Outcome.FAILED, target(), error="permission denied")


@dataclass
class Case:
    name: str
    plan: TargetPlan
    ready: Ready
    sync: Sync
    health: Health
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


R, S, H = Ready, Sync, Health
CASES = [
    Case("all is well", target(), R.READY, S.SYNCED, H.HEALTHY),
    Case("drift that will be corrected", target(drifted("x")), R.RECONCILING, S.DRIFTED, H.HEALTHY, "1 change by hand"),
    Case("drift that is held", target(drifted("x", held="correct: off")), R.READY, S.DRIFTED, H.HEALTHY,
         "1 change by hand; 1 held: correct: off"),
    Case("merged", target(MERGED), R.RECONCILING, S.DRIFTED, H.HEALTHY, "1 change merged and not applied"),
    Case("from a directory", target(MERGED._replace(origin=Origin.DIRECTORY)), R.RECONCILING, S.DRIFTED, H.HEALTHY,
         "1 change of a directory not applied"),
    Case("only observing", target(MERGED), R.READY, S.DRIFTED, H.HEALTHY, "1 change merged and not applied",
         {"applies": False}),
    Case("a closed gate", target(MERGED, gates=(GATE,)), R.STALLED, S.DRIFTED, H.HEALTHY,
         "limit-drop: 3 of 5 roles would go"),
    Case("an open gate", target(MERGED, gates=(replace(GATE, open=True),)), R.RECONCILING, S.DRIFTED, H.HEALTHY),
    Case("a gate that holds a part", target(gates=(replace(GATE, rule="window", blocking=False),)), R.READY, S.SYNCED,
         H.HEALTHY, "window: "),
    Case("a mistake of the manifest", target(gates=(Gate("manifest", "no such type", approvable=False),)), R.STALLED,
         S.SYNCED, H.HEALTHY, "manifest: no such type"),
    Case("suspended, nothing to do", target(gates=(Gate("suspended", "x"),)), R.READY, S.SYNCED, H.HEALTHY,
         "suspended by ann until somebody resumes: a migration", {"suspension": SUSPENDED}),
    Case("suspended with drift", target(drifted("x"), gates=(Gate("suspended", "x"),)), R.STALLED, S.DRIFTED,
         H.HEALTHY, "suspended by ann", {"suspension": SUSPENDED}),
    Case("a suspension that is over", target(drifted("x")), R.RECONCILING, S.DRIFTED, H.HEALTHY, "1 change by hand",
         {"suspension": replace(SUSPENDED, until=NOW)}),
    Case("a commit that is not valid", target(), R.STALLED, S.SYNCED, H.HEALTHY, "commit c0ffee is not in force",
         {"estate_fault": "commit c0ffee is not in force: x.yaml:1:1: unknown key"}),
    Case("an apply that failed", target(drifted("x")), R.RECONCILING, S.DRIFTED, H.HEALTHY,
         "the apply ended as failed: permission denied", {"run": FAILED}),
    Case("not wholly read", target(unread=(Unread("role", ("shop",), "refused"),)), R.READY, S.UNKNOWN, H.HEALTHY,
         "not read: shop: refused"),
    Case("not wholly read, with drift", target(drifted("x"), unread=(Unread("role", (), "refused"),)), R.RECONCILING,
         S.DRIFTED, H.HEALTHY, "1 change by hand"),
    Case("a finding that is an error", target(findings=(Finding("error", "no verifier"),)), R.READY, S.SYNCED,
         H.DEGRADED, "no verifier"),
    Case("a finding that is a warning", target(findings=(Finding("warning", "no verifier"),)), R.READY, S.SYNCED,
         H.HEALTHY),
    Case("lost once", LOST, R.RECONCILING, S.UNKNOWN, H.UNKNOWN, "not read (1 time in a row): no route to host",
         {"failures": 1}),
    Case("lost three times", LOST, R.RECONCILING, S.UNKNOWN, H.DEGRADED, "not read (3 times in a row)",
         {"failures": 3}),
]  # fmt: skip


def facts(plan: TargetPlan, **more: Any) -> Facts:
    before = more.pop("before", TargetStatus("orders"))
    return Facts(plan=plan, now=NOW, interval=300, before=before, revision="c0ffee", **more)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_where_a_target_stands(case: Case) -> None:
    found = status_of(facts(case.plan, **case.facts))
    assert (found.ready, found.sync, found.health) == (case.ready, case.sync, case.health)
    assert case.reason in (found.reasons[0] if found.reasons else "")
    all_well = (found.ready, found.sync, found.health) == (R.READY, S.SYNCED, H.HEALTHY)
    assert found.reasons or all_well
    assert all("\n" not in reason and len(reason) <= 300 for reason in found.reasons)


def test_what_was_not_read_keeps_its_last_numbers_and_is_not_fresh_for_long() -> None:
    seen = status_of(facts(target(drifted("x"))))
    assert seen.observed_at == seen.drift_since == NOW
    assert seen.fresh_until == NOW + timedelta(minutes=15)
    later = status_of(Facts(LOST, NOW + timedelta(minutes=5), 300, seen, failures=1))
    assert (later.drift, later.drift_since, later.observed_at) == (1, NOW, NOW)
    assert later.sync_at(NOW + timedelta(minutes=6)) is Sync.UNKNOWN


def test_drift_is_as_old_as_its_first_sight_and_ends_with_it() -> None:
    first = status_of(facts(target(drifted("x"))))
    later = target(drifted("x"), drifted("y"), observed_at=NOW + timedelta(hours=1))
    again = status_of(facts(later, before=first))
    assert (again.drift, again.drift_since) == (2, NOW)
    assert status_of(facts(target(), before=again)).drift_since is None


def test_counts_are_parts_of_what_differs() -> None:
    found = status_of(facts(target(drifted("x", held="no"), drifted("y"), MERGED, gates=(GATE,))))
    assert (found.changes, found.drift, found.held, found.pending) == (4 - 1, 2, 1, 1)
    assert found.blocked == ("limit-drop",)
