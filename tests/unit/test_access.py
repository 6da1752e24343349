"""The rules of access without a server: memberships, ways, questions, and a role's rights from a case's rows."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from pgvillage.access.directory import Feeds
from pgvillage.access.live_object import LiveObject
from pgvillage.access.question import Question, parse_question
from pgvillage.access.role_account import Look, RoleAccount, account_of
from pgvillage.access.roles import RoleFacts, Roles, roles_of
from pgvillage.access.ways import Listed
from pgvillage.access.who_can import Answer, Hindrance, answer
from pgvillage.core.errors import UsageError
from tests.resources.case import Case

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def roles(*rows: tuple[str, str, bool | None, bool | None], major: int = 16, **facts: dict[str, object]) -> Roles:
    names = {name for row in rows for name in row[:2]} | set(facts)
    made = [RoleFacts(name, **{"login": True, **facts.get(name, {})}) for name in sorted(names)]  # type: ignore[arg-type]
    return roles_of(made, [(group, member, False, inherit, may) for group, member, inherit, may in rows], major)


def asked(found: Roles, *acl: str, owner: str = "own", privilege: str = "SELECT", **more: object) -> Answer:
    database = Listed("database", owner, ("=c/own",))
    listed = Listed("table", owner, acl)
    live = LiveObject("d.s.t", listed, found, database, schema=Listed("schema", owner, ("=U/own",)), **more)  # type: ignore[arg-type]
    return answer(Question(privilege, "d", "s", "t"), live, Feeds({}), "c", NOW)


def test_before_16_a_members_own_inherit_decides() -> None:
    old = roles(("g", "a", None, None), ("g", "b", None, None), major=15, b={"inherit": False})
    found = asked(old, "g=r/own")
    assert (found.has, found.after_set_role) == ({"g", "a"}, {"b"})


def test_since_16_the_memberships_options_decide() -> None:
    rows = [("g", "a", True, False), ("g", "b", False, True), ("g", "c", False, False)]
    found = asked(roles(*rows, a={"inherit": False}), "g=r/own")
    assert (found.has, found.after_set_role) == ({"g", "a"}, {"b"})


def test_to_become_a_superuser_is_to_have_everything() -> None:
    found = asked(roles(("root", "a", True, True), root={"superuser": True}))
    assert (found.has, found.after_set_role) == ({"root"}, {"a"})
    assert next(g.way.set_role for g in found.groups if g.way.set_role) == "root"


def test_an_owner_that_took_it_from_itself_lacks_it_and_may_still_grant_it() -> None:
    some = roles(own={})
    assert asked(some, "own=a/own").has == set()
    assert asked(some, "own=a/own", privilege="SELECT WITH GRANT OPTION").has == {"own"}


def test_every_group_that_leads_there_is_a_way() -> None:
    found = asked(
        roles(("top", "g1", True, True), ("top", "g2", True, True), ("g1", "a", True, True), ("g2", "a", True, True)),
        "top=r/own",
    )
    assert {g.way.through for g in found.groups for r in g.roles if r.name == "a"} == {("g1", "top"), ("g2", "top")}


def test_the_database_owner_is_its_own_group() -> None:
    some = roles(own={}, pg_database_owner={"login": False}).in_database_of("own")
    assert asked(some, "pg_database_owner=r/x", owner="x").has == {"own", "pg_database_owner"}


@pytest.mark.parametrize(("forced", "bound"), [(False, {"a"}), (True, {"a", "own", "o2"})])
def test_policies_bind_owners_only_by_force(forced: bool, bound: set[str]) -> None:
    some = roles(("own", "o2", True, True), a={}, free={"bypassrls": True})
    found = asked(some, "own=r/own", "=r/own", row_security=True, forced=forced, policies=1)
    assert {role.name for role in found.hindered[Hindrance.ROW_SECURITY]} == bound


@pytest.mark.parametrize("text", ["infinity", "10000-01-01T00:00:00Z", "2026-03-02T00:00:00Z"])
def test_an_end_that_is_not_past_hinders_nobody(text: str) -> None:
    assert Hindrance.EXPIRED not in asked(roles(a={"valid_until": text}), "a=r/own").hindered
    assert Hindrance.EXPIRED in asked(roles(a={"valid_until": "2026-02-28T00:00:00Z"}), "a=r/own").hindered


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("orders", Question("SELECT", "orders")),
        ('orders."My Schema"."t.1"', Question("SELECT", "orders", "My Schema", "t.1")),
        ('a."b\\"c".d."e f"', Question("SELECT", "a", 'b"c', "d", "e f")),
        ("a.b.f(integer, text[])", Question("SELECT", "a", "b", signature="f(integer, text[])")),
        ('a."b.c"."F (x)"(app.kind)', Question("SELECT", "a", "b.c", signature='"F (x)"(app.kind)')),
        ("tablespace:fast", Question("SELECT", "", name="fast", object_class="tablespace")),
        ("parameter:DateStyle", Question("SELECT", "", name="datestyle", object_class="parameter")),
        ("parameter:my.odd", Question("SELECT", "", name="my.odd", object_class="parameter")),
        ('server:a."f:1"', Question("SELECT", "a", name="f:1", object_class="foreignServer")),
        ("large_object:a.16423", Question("SELECT", "a", name="16423", object_class="largeObject")),
        ("view:a.b.c", Question("SELECT", "a", "b", "c", object_class="table")),
        ('"a:b"', Question("SELECT", "a:b")),
    ],
)
def test_questions(text: str, question: Question) -> None:
    assert parse_question("select", text) == question
    assert parse_question("select", question.label) == question


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        'a."b',
        "a.b.c.d.e",
        "a.f(integer)",
        "a.b.f(integer",
        "tabel:a.b.c",
        "table:a.b",
        "function:a.b.c",
        "language:plpgsql",
        "large-object:a.4294967296",
        "parameter:",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        parse_question("select", text)


def test_twenty_thousand_roles_take_no_time() -> None:
    rows = [("readers", f"u{n}", True, True) for n in range(20_000)]
    many = roles(*rows, ("top", "readers", True, True))
    started = time.process_time()
    found = asked(many, "top=r/own", "=r/own")
    assert len(found.has) == 20_002
    assert len(found.groups) < 6
    assert time.process_time() - started < 2


CASE = """
kind: Group
metadata: {name: readers}
spec: {clusters: {all: true}, privileges: [{profile: reader, database: app, schemas: [s]}]}
---
kind: User
metadata: {name: ann}
spec: {clusters: {all: true}, auth: {method: none}, memberOf: [readers]}
"""


def account(role: str) -> RoleAccount:
    acl = ["o=arwdDxt/o", "readers=r/o"]
    case = Case(
        {
            "manifests": CASE,
            "live": {
                "roles": {"readers": None, "o": None, "ann": {"login": True}, "eve": {"login": True, "inherit": False}},
                "memberships": {"readers": ["ann", "eve"]},
                "databases": {
                    "app": {
                        "owner": "o",
                        "acl": ["o=CTc/o", "readers=c/o"],
                        "schemas": {"s": {"owner": "o", "acl": ["o=UC/o", "readers=U/o"]}},
                        "relations": [
                            {"schema": "s", "owner": "o", "acl": acl, "names": ["t1", "t2"]},
                            {"schema": "s", "owner": "o", "acl": ["o=arwdDxt/o", "ann=w/o", *acl[1:]], "names": ["t3"]},
                        ],
                    }
                },
            },
        }
    )
    seen = case.seen
    assert seen.context.capabilities is not None
    view, snapshot = seen.context.view, seen.context.snapshot
    # an observation keeps its rows only in a survey
    live = case.answer([q for kind in seen.kinds.values() for q in kind.queries(case.capabilities, view)])
    return account_of(role, Look(view, snapshot, live, seen.context.capabilities, seen.desired, case.plan.changes))


def said(found: RoleAccount) -> dict[str, list[str]]:
    return {
        f"{'.'.join(filter(None, right.place))} {','.join(sorted(right.names))}": [
            f"{p} {'>'.join(right.ways[p].through) or right.ways[p].spring.how}" for p in right.privileges
        ]
        for right in found.rights
        if right.place[2] == "s"
    }


def test_a_roles_rights_and_the_profile_that_fits() -> None:
    found = account("ann")
    assert said(found) == {
        "schema.app.s s": ["USAGE readers"],
        "table.app.s t1,t2": ["SELECT readers"],
        "table.app.s t3": ["SELECT readers", "UPDATE grant"],
    }
    assert found.profiles == {("app", "s"): "reader"}
    assert [str(change.address) for change in found.changes] == ["c/privilege/table.app.s.ann"]


def test_what_an_owner_has_and_what_noinherit_has_not() -> None:
    assert account("o").profiles == {("app", "s"): "owner"}
    assert set(account("o").owns) == {("database", "app", ""), ("schema", "app", "s"), ("table", "app", "s")}
    eve = account("eve")
    assert said(eve) == {}
    assert eve.becomes == (("readers", ("readers",)),)
