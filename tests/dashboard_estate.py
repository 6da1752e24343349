"""A state of 1,000 clusters as a dashboard might meet it at night: drift, closed gates, silence, nasty names.

To look at it: `python -m tests.dashboard_estate`, then sign in as admin, approver or viewer, password `correct horse`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from pgvillage.clients.state import tables
from pgvillage.clients.state.rows import as_row
from pgvillage.clients.state.state import State
from pgvillage.core.address import Address
from pgvillage.core.history import AuditEntry, DriftRecord, Event, Message, PlanRecord, RunRecord
from pgvillage.core.status import Health, Ready, Suspension, Sync, TargetStatus
from pgvillage.core.topology import Node, NodeEngine, NodeSql, Sender, SlotFact, Store, StoreMember, Topology
from pgvillage.report.cluster_answer import cluster_document
from pgvillage.topology.compare import compared

SCRIPT = '<script>alert(1)</script><img src=x onerror="window.hurt=1">'
NASTY = (SCRIPT, "שלום-עולם", "evil\u202egnp.exe", "x" * 200, "{{7*7}}{% raw %}", "a'b\"c`d", "line\nbreak", "@here")
REVISIONS = ("c0ffee" * 6 + "beef", "badcab" * 6 + "1e55", "decade" * 6 + "f00d")
SUBJECTS = ("Give reporting its own role", "Raise work_mem on the shop clusters", f"Merge {SCRIPT}")
BLOCKED = "shop-004"
DRIFTED = "shop-011"
_APPS = ("shop", "crm", "billing", "search", "ledger", "stock", "mail", "auth", "media", "geo")
_TEAMS = ("payments", "storefront", "platform", "insight", "logistics")


def digest_of(number: int) -> str:
    return f"{number:04x}" * 16


def change(address: Address, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, **more: Any) -> Any:
    action = "create" if before is None else "delete" if after is None else "update"
    return {
        "address": str(address), "actions": [action], "origin": "git", "reason": None,
        "source": {"file": "users/etl.yaml", "line": 7}, "before": before, "after": after, "sensitive_changed": [],
        "risk": "change", "impact": {"reload": False, "restart": False, "lock": None}, "held": None, "depends_on": [],
        **more,
    }  # fmt: skip


def plan_document(target: str, changes: list[Any], gates: list[Any], sql: list[str]) -> dict[str, Any]:
    steps = [{"addresses": [], "database": "orders", "transactional": True, "sql": text} for text in sql]
    return {
        "format_version": 1, "revision": REVISIONS[0], "gates": gates,
        "targets": [{"address": target, "status": "planned", "changes": changes, "steps": steps, "unread": []}],
        "diagnostics": [{"severity": "warning", "message": f"role {SCRIPT} has no heir", "target": target,
                         "address": None}],
    }  # fmt: skip


def fill(state: State, now: datetime, count: int = 1_000) -> None:
    chance = random.Random(5)  # the same estate each time
    with state.engine.begin() as connection:
        rows = [_status(number, now, chance) for number in range(count)]
        connection.execute(tables.status.insert(), [as_row(row, "suspension") for row in rows])
    state.decisions.suspend("crm-021", Suspension("dana", "migrating to new disks", now - timedelta(hours=3)))
    _plans(state, now)
    _drifts(state, now)
    _happenings(state, now)


def _status(number: int, now: datetime, chance: random.Random) -> TargetStatus:
    app, index = _APPS[number % len(_APPS)], number // len(_APPS)
    name = f"{app}-{index:03}"
    labels = {"env": ("prod", "prod", "stage", "dev")[number % 4], "team": _TEAMS[number % 5]}
    seen = now - timedelta(seconds=chance.randint(5, 290))
    base: dict[str, Any] = {
        "target": name, "labels": labels, "ready": Ready.READY, "sync": Sync.SYNCED, "health": Health.HEALTHY,
        "observed_at": seen, "fresh_until": seen + timedelta(days=2), "revision": REVISIONS[number % 20 == 7],
        "next_look": now + timedelta(seconds=chance.randint(10, 290)), "replica": f"reconciler-{number % 3}",
    }  # fmt: skip
    if name == BLOCKED:
        base |= {"ready": Ready.STALLED, "sync": Sync.DRIFTED, "changes": 7, "pending": 6, "drift": 1,
                 "blocked": ("limit-drop",), "digest": digest_of(4), "revision": REVISIONS[0],
                 "drift_since": now - timedelta(hours=7),
                 "reasons": ("5 of 20 (25%) objects would be dropped; the limit is 3 and 10%",)}  # fmt: skip
    elif name == DRIFTED:
        base |= {"sync": Sync.DRIFTED, "changes": 3, "drift": 3, "held": 1, "digest": digest_of(11),
                 "drift_since": now - timedelta(days=3)}  # fmt: skip
    elif name in ("billing-002", "geo-040"):
        base |= {"error": "no route to host (pg1.billing.example:5432)", "failures": 6, "ready": Ready.STALLED,
                 "observed_at": now - timedelta(hours=2), "fresh_until": now - timedelta(hours=1),
                 "reasons": ("no route to host (pg1.billing.example:5432)",),
                 "next_look": now - timedelta(minutes=4)}  # fmt: skip
    elif name == "search-013":
        base |= {"health": Health.DEGRADED, "reasons": ("one standby does not stream since 02:14",),
                 "nodes": _nodes(seen)}  # fmt: skip
    elif number % 41 == 17:
        base |= {"sync": Sync.DRIFTED, "changes": 1, "drift": 1,
                 "drift_since": now - timedelta(hours=number % 90 + 1)}  # fmt: skip
    elif number % 83 == 40:
        base |= {"ready": Ready.RECONCILING, "sync": Sync.DRIFTED, "changes": 2, "pending": 2}
    elif number % 211 == 99:
        base |= {"observed_at": now - timedelta(minutes=50), "fresh_until": now - timedelta(minutes=35)}
    return TargetStatus(**base)


def _nodes(at: datetime) -> Mapping[str, Any]:
    """A primary, a standby whose name is nasty, and one that is cut off; etcd has lost a member."""
    known = {"system_identifier": "77", "timeline": 4, "version": 170002}
    senders = (Sender(SCRIPT, "replicator", "10.0.0.2", "streaming", "sync"),)
    well = {"healthy": True, "leased": True, "timeline": 4}
    slots = (SlotFact("db3", True, False, 3 << 30, "extended"), SlotFact("db2", True, True, 4096, "reserved"))
    leads = NodeSql(
        False, position=9 << 30, senders=senders, slots=slots, pending_restart=("max_connections",), **known
    )
    follows = NodeSql(True, position=(9 << 30) - 70_000, streaming=True, replay_seconds=1.4, **known)
    nodes = (
        Node("db1", "db1.search.example:5432", NodeEngine("primary", "running", **well), leads),
        Node(SCRIPT, "db2.search.example:5432", NodeEngine("standby", "streaming", **well), follows),
        Node("db3", "db3.search.example:5432", NodeEngine("standby", "stopped", healthy=False, leased=False), None,
             "connection timeout expired; the host does not answer: is there a firewall between?"),
    )  # fmt: skip
    members = (
        StoreMember("m1", "https://etcd1:2379", True, "3.5.9", 21 << 20),
        StoreMember("m2", "https://etcd2:2379", error="refused"),
    )
    found = Topology("search-013", "patroni", at, nodes, leader="db1", system_identifier="77", synchronous=1,
                     store=Store("main", members))  # fmt: skip
    return cluster_document(compared(found), None)


def _plans(state: State, now: datetime) -> None:
    drops = [change(Address(BLOCKED, "role", (f"old_{n}",)), {"login": True, "connection_limit": 5}, None, risk="drop")
             for n in range(5)]  # fmt: skip
    nasty = [change(Address(BLOCKED, "role", (name,)), None, {"login": True, "comment": name}, risk="additive")
             for name in NASTY]  # fmt: skip
    drifted = change(
        Address(BLOCKED, "parameter", ("work_mem",)), {"value": "1GB"}, {"value": "64MB"}, origin="drift",
        source={"file": f"clusters/{SCRIPT}.yaml", "line": 12}, impact={"reload": True, "restart": False, "lock": None},
    )  # fmt: skip
    gate = {"target": BLOCKED, "rule": "limit-drop", "approvable": True, "open": False,
            "message": "5 of 20 (25%) objects would be dropped; the limit is 3 and 10%"}  # fmt: skip
    sql = [f'DROP ROLE "old_{n}"' for n in range(5)] + [f'CREATE ROLE "{SCRIPT}" LOGIN', "SELECT 1 /* \u202e */"]
    document = plan_document(BLOCKED, [*drops, drifted, *nasty], [gate], sql)
    state.history.put_plan(PlanRecord(BLOCKED, digest_of(4), REVISIONS[0], now, document, SUBJECTS[0]))
    small = plan_document(DRIFTED, [_drift_document(DRIFTED, "etl", "change")], [], ['ALTER ROLE "etl" LOGIN'])
    state.history.put_plan(
        PlanRecord(DRIFTED, digest_of(11), REVISIONS[0], now - timedelta(days=3), small, SUBJECTS[0])
    )
    plans, runs = [], []
    for index, revision in enumerate(REVISIONS):
        for number in range(40):
            target, digest = f"{_APPS[number % 10]}-{number // 10:03}", digest_of(1000 * (index + 1) + number)
            at = now - timedelta(hours=9 * index + 1, minutes=number)
            document = plan_document(target, [], [], [])
            plans.append(PlanRecord(target, digest, revision, at, document, SUBJECTS[index]))
            outcome = "failed" if number == 3 else "done" if number % 9 else "blocked by policy"
            error = "role old_3: cannot be dropped because some objects depend on it" if outcome == "failed" else ""
            run = RunRecord(f"{index}-{number}", target, digest, revision, at, "reconciler-0",
                            at + timedelta(seconds=4), outcome, number % 5, 0, error)  # fmt: skip
            runs.append(run)
    _store(state, tables.plan, plans)
    _store(state, tables.run, runs)


def _store(state: State, table: Table, records: list[Any]) -> None:
    """At once: a thousand small transactions would take longer than the tests."""
    with state.engine.begin() as connection:
        connection.execute(table.insert(), [as_row(record) for record in records])


def _drift_document(target: str, name: str, risk: str, held: str | None = None) -> Any:
    return change(
        Address(target, "role", (name,)), {"connection_limit": 5, "superuser": True},
        {"connection_limit": 20, "superuser": False}, origin="drift", risk=risk, held=held,
    )  # fmt: skip


def _drifts(state: State, now: datetime) -> None:
    records = []
    risks = ("change", "access", "restart", "drop", "loss", "additive")
    for number in range(60):
        target = (BLOCKED, DRIFTED, "crm-021", "mail-007", "shop-017")[number % 5]
        name = NASTY[number % len(NASTY)] if number % 3 == 0 else f"app_{number}"
        risk = risks[number % 6] if number % 4 == 0 else "change"
        held = "drift, and its correction is a drop: `correct: safe` leaves that to people" if risk == "drop" else None
        document = _drift_document(target, name, risk, held)
        at = now - timedelta(hours=number, minutes=7)
        record = DriftRecord(target, document["address"], f"f{number}", at, now, risk, document)
        records.append(record)
    _store(state, tables.drift, records)


def _happenings(state: State, now: datetime) -> None:
    said = (("DriftFound", "3 changes by hand", "warning"), ("Applied", "2 changes", "info"),
            ("Blocked", f"limit-drop {SCRIPT}", "error"))  # fmt: skip
    events = []
    for number in range(30):
        reason, message, severity = said[number % 3]
        target = (BLOCKED, DRIFTED)[number % 2]
        at = now - timedelta(minutes=60 - number)
        events.append(Event(at, target, reason, message, severity, REVISIONS[0]))
    _store(state, tables.event, events)
    state.decisions.note(AuditEntry(now - timedelta(hours=3), "dana", "suspend", "crm-021", "disks", "10.0.0.9"))
    message = Message("dba", "k", "t", {}, now - timedelta(minutes=12), now, 4, "the server answered 503")
    _store(state, tables.outbox, [message])
    with state.engine.begin() as connection:
        connection.execute(tables.delivery.insert().values(hook="gitlab", delivery="1", at=now - timedelta(minutes=9)))


def main() -> None:
    import tempfile

    from tests.servers.dashboard import PASSWORD, dashboard

    with tempfile.TemporaryDirectory() as folder, dashboard(Path(folder), port=8432) as found:
        fill(found.state, datetime.now(UTC))
        print(f"{found.url}  viewer, approver, admin / {PASSWORD}; Ctrl+C ends it")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
