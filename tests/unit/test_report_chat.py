"""Drift in chat: keys that follow the state of things, few lines, nothing that pings or forges."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.core.address import Address
from pgvillage.core.change import Change, Origin, Risk, Source
from pgvillage.core.plan import Gate, Status, TargetId, TargetPlan
from pgvillage.report.chat import DriftMessage, as_text, drift_message
from pgvillage.resources.postgres.membership import MembershipState
from pgvillage.resources.postgres.role import RoleState
from tests.unit.report_plans import HOSTILE, NOW, drifted, full_plan, member, plan, role, target

MIGHTY = role("eve", RoleState(True, superuser=True), RoleState(True), origin=Origin.DRIFT)


def _key(*changes: Change) -> str:
    return drift_message(plan(target(*changes))).key


def test_message_of_one_target() -> None:
    message = drift_message(plan(target(drifted("etl"), member("merged"))))
    assert message.title == "orders: 1 change by hand"
    assert message.severity == "warning"
    assert message.lines == ("~ role etl: connection_limit: 5 → -1; will be corrected (users/etl.yaml:7)",)
    assert message.more == 0
    assert re.fullmatch("orders:[0-9a-f]{16}", message.key)


def test_what_happens_next() -> None:
    held = drift_message(plan(target(drifted("etl", held="`correct` is off")))).lines[0]
    assert "; held: `correct` is off (" in held
    blocked = target(drifted("etl"), gates=(Gate("limit-revoke", "too many"),))
    assert "; waits for an approval (" in drift_message(plan(blocked)).lines[0]


def test_power_over_the_cluster_comes_first() -> None:
    message = drift_message(plan(target(*(drifted(f"a{n}") for n in range(20)), MIGHTY)))
    assert message.severity == "error"
    assert message.lines[0].startswith("~ role eve: superuser: yes → no; will be corrected")
    lost = role("eve", RoleState(True), RoleState(True, superuser=True), origin=Origin.DRIFT)
    assert drift_message(plan(target(lost))).severity == "warning"


def test_risk_sets_the_order() -> None:
    found = plan(target(drifted("a"), drifted("z", risk=Risk.DROP), drifted("m", risk=Risk.ACCESS)))
    assert [line.split()[2] for line in drift_message(found).lines] == ["z:", "m:", "a:"]


@pytest.mark.parametrize(("count", "more"), [(10, 0), (11, 1), (500, 490)])
def test_ten_lines_and_how_many_more(count: int, more: int) -> None:
    message = drift_message(plan(target(*(drifted(f"a{n:03}") for n in range(count)))))
    assert (len(message.lines), message.more) == (10, more)
    assert as_text(message).endswith(f"and {more} more") is bool(more)


def test_key_is_blind_to_time_order_revision_origin_elsewhere_and_policy() -> None:
    one, two = drifted("a"), drifted("b")
    base = plan(target(one, two))
    later = target(two, one, member("merged"), observed_at=NOW + timedelta(hours=1))
    held = target(one._replace(held="x"), two)
    keys = {drift_message(p).key for p in (base, plan(later, revision="f" * 40), plan(held))}
    assert len(keys) == 1


def test_key_follows_target_and_changes() -> None:
    other_value = role("a", RoleState(True, connection_limit=6), RoleState(True), origin=Origin.DRIFT)
    elsewhere = drift_message(plan(target(drifted("a"), cluster="crm"))).key
    keys = [_key(drifted("a")), _key(drifted("b")), _key(drifted("a"), drifted("b")), _key(other_value), elsewhere]
    assert len(set(keys)) == len(keys)


def test_key_hides_sensitive_values() -> None:
    states = [RoleState(True, password=password) for password in ("scram", "md5")]
    assert len({_key(role("a", state, RoleState(True), origin=Origin.DRIFT)) for state in states}) == 1


def test_one_target_of_several_or_all_in_one() -> None:
    crm = role("x", RoleState(True), RoleState(False), cluster="crm", origin=Origin.DRIFT)
    both = plan(target(drifted("a")), target(crm, cluster="crm"), target(cluster="quiet"))
    assert drift_message(both, target="crm") == drift_message(both, target=TargetId("crm"))
    assert drift_message(both, target="crm").title == "crm: 1 change by hand"
    assert drift_message(both, target="crm").key == drift_message(plan(both.targets[1])).key
    grouped = drift_message(both)
    assert grouped.title == "2 targets: 2 changes by hand"
    assert [line.split(":")[0] for line in grouped.lines] == ["~ crm role x", "~ orders role a"]


def test_no_drift_is_said_only_where_all_was_read() -> None:
    quiet = drift_message(plan(target(member("merged"))))
    assert (quiet.title, quiet.severity, quiet.lines) == ("orders: no drift", "info", ())
    lost = TargetPlan(TargetId("lost"), Status.UNREACHABLE, error="no route")
    assert drift_message(plan(lost)).title == "lost: no drift seen, but not everything could be read"
    assert drift_message(plan(target(), lost)).title.startswith("2 targets: no drift seen, but")


def test_many_fields_are_counted() -> None:
    live = RoleState(False, True, True, True, False, True, True)
    message = drift_message(plan(target(role("eve", live, RoleState(True), origin=Origin.DRIFT))))
    assert "superuser: yes → no" in message.lines[0]
    assert ", 4 more fields; will" in message.lines[0]


def test_as_text() -> None:
    text = as_text(drift_message(plan(target(*(drifted(f"a{n:02}") for n in range(12))))))
    lines = text.splitlines()
    assert lines[0] == "🟠 orders: 12 changes by hand"
    assert lines[1].startswith("┃ ~ role a00: connection_limit: 5 → -1")
    assert lines[-1] == "┃ and 2 more"
    assert len(lines) == 12


def _hostile(name: str) -> DriftMessage:
    wild = drifted(name, reason=name, source=Source("f", 1, name, name))
    group = Address("orders", "membership", (name, name))
    kept = Change(
        group, wild.action, MembershipState(), MembershipState(True), (), Origin.DRIFT, wild.source, held=name
    )
    return drift_message(plan(target(wild, kept, MIGHTY)))


@pytest.mark.parametrize("name", [*HOSTILE, "&" * 3_000, "@" * 500, "<!here>" * 100])
def test_hostile_names_forge_and_ping_nothing(name: str) -> None:
    message = _hostile(name)
    assert len(message.lines) == 3
    for line in (message.title, *message.lines):
        assert len(line) <= 280
        assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Zl", "Zp"}
    assert len(as_text(message).splitlines()) == 4


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=6, max_size=30))
def test_planted_secret_is_in_no_message(text: str) -> None:
    message = drift_message(full_plan(secret=f"hunter2{text}"), target="orders")
    assert "hunter2" not in as_text(message)
    assert as_text(message).count("password: changed") == 1
