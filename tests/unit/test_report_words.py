"""The wording that reports share."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.core.address import Address
from pgvillage.core.change import Action, FieldChange, Impact, Origin
from pgvillage.core.plan import Status, System, TargetId, TargetPlan
from pgvillage.core.secret import Secret
from pgvillage.core.state import UNMANAGED
from pgvillage.report.words import (
    change_line,
    counts_line,
    field_line,
    remarks,
    show_name,
    show_text,
    show_value,
    shown_fields,
    symbol,
    title,
)
from pgvillage.resources.postgres.membership import MembershipState
from pgvillage.resources.postgres.role import RoleState
from tests.unit.report_plans import HOSTILE, change, drifted, full_plan, member, plan, privilege, role, tables, target

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "(none)"),
        (UNMANAGED, "(as it is)"),
        (True, "yes"),
        (False, "no"),
        (20, "20"),
        ("64MB", "64MB"),
        ("Jürgen", "Jürgen"),
        ("", '""'),
        ("two words", '"two words"'),
        ("(none)", '"(none)"'),
        ('a"b', r'"a\"b"'),
        ("a\nb", r'"a\nb"'),
        ("\u202eabc", r'"\u202eabc"'),
        ("a\u200bb", r'"a\u200bb"'),
        ("\u3164", r'"\u3164"'),
        (frozenset({"b", "a"}), "a, b"),
        (frozenset(), "(none)"),
        (tables(7), "t001, t002, t003, t004, t005 and 2 more"),
        (("b", "a"), "[b, a]"),
        ((), "[]"),
        ({"work_mem": "1MB", "jit": "off"}, "{jit: off, work_mem: 1MB}"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (Secret("hunter2"), "Secret(…)"),
        (Broken(), "(cannot be shown)"),
        (Action.CREATE, "create"),
    ],
)
def test_show_value(value: Any, shown: str) -> None:
    assert show_value(value) == shown


def test_show_value_cuts_and_survives_what_contains_itself() -> None:
    assert show_value("x" * 100) == "x" * 59 + "…"
    assert show_value(frozenset({"x" * 63, "y" * 63, "z"})) == "x" * 29 + "… and 2 more"
    loop: list[Any] = []
    loop += [loop, loop, loop]
    assert len(show_value(loop)) <= 60
    assert show_value(10**6000) == "(cannot be shown)"


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
        max_leaves=20,
    )
    | st.frozensets(st.text()),
    st.integers(1, 100),
)
def test_every_value_is_one_visible_line(value: Any, limit: int) -> None:
    shown = show_value(value, limit)
    assert 0 < len(shown) <= limit
    assert not {unicodedata.category(c) for c in shown} & HIDDEN


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_their_line(name: str) -> None:
    found = full_plan(name)
    lines = [show_name(name), show_text(name), *(change_line(c) for c in found.changes)]
    lines += [text for c in found.changes for text in remarks(c)]
    lines += [field_line(c, f) for c in found.changes for f in c.fields]
    assert len(lines) > 20
    for line in lines:
        assert not {unicodedata.category(c) for c in line} & HIDDEN
        assert "\u3164" not in line


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("role", ("orders_app",), "role orders_app"),
        ("role", ("my app",), 'role "my app"'),
        ("database", ("orders",), "database orders"),
        ("schema", ("orders", "app"), "schema orders.app"),
        ("extension", ("orders", "hstore"), "extension hstore in orders"),
        ("membership", ("orders_readers", "alice"), "membership alice in orders_readers"),
        ("parameter", ("work_mem",), "parameter work_mem"),
        ("parameter", ("pg_stat_statements.max",), "parameter pg_stat_statements.max"),
        ("setting", ("role", "etl"), "settings of role etl"),
        ("setting", ("database", "orders"), "settings of database orders"),
        ("setting", ("role", "etl", "database", "orders"), "settings of role etl in database orders"),
        ("privilege", ("table", "orders", "app", "readers"), "privileges of readers on tables in orders.app"),
        ("privilege", ("sequence", "orders", "app", "public"), "privileges of PUBLIC on sequences in orders.app"),
        ("privilege", ("schema", "orders", "app", "readers"), "privileges of readers on schema orders.app"),
        ("privilege", ("database", "orders", "readers"), "privileges of readers on database orders"),
        (
            "default-privilege",
            ("table", "orders", "app", "orders_owner", "readers"),
            "privileges of readers on future tables of orders_owner in orders.app",
        ),
        (
            "default-privilege",
            ("sequence", "orders", "", "orders_owner", "public"),
            "privileges of PUBLIC on future sequences of orders_owner in orders",
        ),
        ("stolon", ("parameter", "work_mem"), "stolon parameter work_mem"),
        ("stolon", ("field", "failInterval"), "stolon failInterval"),
        ("keeper", ("keeper1",), "keeper keeper1"),
        ("membership", ("alone",), "membership alone"),
        ("privilege", (), "privilege "),
    ],
)
def test_title(kind: str, name: tuple[str, ...], text: str) -> None:
    assert title(Address("orders", kind, name)) == text


def test_symbol_of_every_action() -> None:
    assert [symbol(action) for action in Action] == ["+", "~", "-/+", "-"]


def test_field_line_of_a_setting_that_changes_comes_or_goes() -> None:
    now, then = RoleState(True, connection_limit=20), RoleState(True, connection_limit=5)
    update, create, delete = role("a", then, now), role("a", None, now), role("a", now, None)
    assert [field_line(update, f) for f in update.fields] == ["connection_limit: 5 -> 20"]
    assert field_line(update, update.fields[0], "→") == "connection_limit: 5 → 20"
    assert [field_line(create, f) for f in shown_fields(create)] == ["login: yes", "connection_limit: 20"]
    assert [field_line(delete, f) for f in shown_fields(delete)] == ["login: yes", "connection_limit: 20"]


def test_fields_at_their_default_are_not_shown_of_a_new_object() -> None:
    assert shown_fields(member("alice")) == ()
    admin = change(Address("orders", "membership", ("g", "m")), None, MembershipState(True, False, True))
    assert [f.name for f in shown_fields(admin)] == ["admin", "inherit"]
    comment = role("a", None, RoleState(False, comment="x"))
    assert [f.name for f in shown_fields(comment)] == ["login", "comment"]
    back = role("a", RoleState(True, connection_limit=5), RoleState(True))
    assert [f.name for f in shown_fields(back)] == ["connection_limit"]


@pytest.mark.parametrize(
    ("before", "after", "count", "text"),
    [
        (19, 20, 20, "SELECT: on all 20 tables (19 before, + t020)"),
        (0, 20, 20, "SELECT: + on all 20 tables"),
        (20, 0, 20, "SELECT: - on all 20 tables"),
        (20, 19, 20, "SELECT: - t020 (leaves 19 of 20)"),
        (1, 3, 20, "SELECT: + t002, t003 (then on 3 of 20 tables)"),
        (0, 1, 1, "SELECT: + t001"),
        (1, 0, 1, "SELECT: - t001"),
        (2, 1, 0, "SELECT: - t002"),
    ],
)
def test_field_line_of_a_privilege(before: int, after: int, count: int, text: str) -> None:
    sides = [{"SELECT": tables(n)} if n else {} for n in (before, after)]
    made = privilege(*sides, tables(count))
    assert [field_line(made, f) for f in made.fields] == [text]


def test_field_line_of_a_privilege_that_moves() -> None:
    made = privilege({"SELECT": frozenset({"a", "b"})}, {"SELECT": frozenset({"b", "c"})}, frozenset("abc"))
    assert field_line(made, made.fields[0]) == "SELECT: + c - a (then on 2 of 3 tables)"


@pytest.mark.parametrize("place", [("database", "orders", "app"), ("schema", "orders", "s", "app")])
def test_field_line_of_a_privilege_on_one_object(place: tuple[str, ...]) -> None:
    base = privilege(None, {"USAGE": frozenset({"orders"})}, frozenset({"orders"}))
    made = base._replace(address=Address("orders", "privilege", place))
    assert field_line(made, made.fields[0]) == "USAGE: granted"
    assert field_line(made, FieldChange("USAGE", frozenset({"orders"}), None)) == "USAGE: revoked"


def test_a_sensitive_field_is_named_and_no_more() -> None:
    made = role("a", RoleState(True, password="hunter2"), RoleState(True, password="other"))
    assert [field_line(made, f) for f in made.fields] == ["password: changed"]
    # also where the field itself forgot that it is sensitive
    assert field_line(made, FieldChange("password", "hunter2", "other")) == "password: changed"


def test_change_line_tells_origin_and_what_holds_it() -> None:
    assert change_line(member("alice")) == "+ membership alice in readers"
    assert change_line(drifted("etl", held="policy")) == "~ role etl (drift, held: policy)"
    assert change_line(member("al", origin=Origin.DIRECTORY)) == "+ membership al in readers (directory)"


def test_remarks() -> None:
    gone = role("bob", RoleState(True), None, heir="app owner", reason="left", impact=Impact(restart=True, lock="X"))
    assert remarks(gone) == (
        "left",
        'what it owns goes to "app owner"',
        "takes effect at the next restart",
        "takes a lock: X",
    )
    assert remarks(drifted("etl", heir="x")) == ()


def test_counts_line() -> None:
    crm = target(role("a", None, RoleState(True), cluster="crm"), target=TargetId("crm", System.STOLON))
    lost = TargetPlan(TargetId("lost"), Status.UNREACHABLE)
    odd = TargetPlan(TargetId("odd"), Status.REFUSED)
    quiet = target(cluster="quiet")
    main = target(member("a"), drifted("b"), drifted("c", held="policy"))
    assert counts_line(plan(main, crm, quiet, lost, odd)) == (
        "Plan: 2 to create, 1 to update, 0 to replace, 0 to delete on 2 clusters (1 unreachable, 1 refused), 1 held"
    )
    nothing = "Plan: 0 to create, 0 to update, 0 to replace, 0 to delete on"
    assert counts_line(plan(quiet)) == f"{nothing} 1 cluster"
    assert counts_line(plan(lost)) == f"{nothing} 0 clusters (1 unreachable)"
    assert counts_line(plan()) == f"{nothing} 0 clusters"
