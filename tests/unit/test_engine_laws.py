"""Laws that hold for any manifests and any live server, through all kinds of PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change
from pgvillage.core.plan import TargetPlan
from pgvillage.core.state import State
from pgvillage.engine.diff import diff
from pgvillage.engine.kind import Context
from pgvillage.engine.planner import compile_steps, plan_target, resolve
from pgvillage.engine.policy import Rules
from pgvillage.resources import kinds
from pgvillage.resources.postgres.acl import public_at_creation
from pgvillage.resources.postgres.privilege import PrivilegeState, address_of
from pgvillage.resources.postgres.role import RoleState
from pgvillage.resources.postgres.schema import SchemaState
from tests.resources.case import Case, shown

SECRET = "planted-s3cret"
ALL = Rules("all", 1000, 100, 1000, 100)
LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROLES = ["ann", 'b"ob', "c $$ %s {0};", "dæn"]
DATABASES = ["app", 'o"dd; --']
LETTERS = {"database": "CcT", "schema": "UC", "table": "rawdDxt", "sequence": "rwU"}

flag = st.booleans()
role = st.sampled_from(ROLES)
database = st.sampled_from(DATABASES)


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(role, strategy, max_size=4)


@st.composite
def acls(draw: st.DrawFn, object_class: str) -> list[str] | None:
    """Any list of aclitem texts, written as PostgreSQL writes them."""
    if draw(flag):
        return None
    found = []
    for name in draw(st.lists(st.sampled_from([*ROLES, "", "postgres"]), unique=True, max_size=4)):
        letters = draw(st.lists(st.sampled_from(LETTERS[object_class]), min_size=1, unique=True))
        text = "".join(letter + ("*" if name and draw(flag) else "") for letter in letters)
        found.append(f"{putid(name)}={text}/postgres")
    return found


def putid(name: str) -> str:
    if all(c.isascii() and (c.isalnum() or c == "_") for c in name):
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


live_roles = some(
    st.fixed_dictionaries(
        {"login": flag, "createdb": flag, "inherit": flag, "superuser": flag},
        optional={
            "comment": st.text(max_size=5),
            "password": st.sampled_from(["none", "md5", "scram", {"of": SECRET}]),
        },
    )
)
option = st.fixed_dictionaries({"member": role}, optional={"admin": flag, "inherit": flag, "set": flag})


@st.composite
def live(draw: st.DrawFn) -> dict[str, Any]:
    schemas = st.fixed_dictionaries({}, optional={"acl": acls("schema"), "owner": role, "comment": st.text(max_size=3)})
    relations = []
    for object_class in ("table", "sequence"):
        names = draw(st.lists(st.sampled_from(["t1", 't"2', "t3"]), unique=True))
        for name in names:
            owner = draw(st.sampled_from([*ROLES, "postgres"]))
            acl = draw(acls(object_class))
            relations.append({"schema": "s", "class": object_class, "names": [name], "owner": owner, "acl": acl})
    memberships: dict[str, Any] = {}
    for group, members in draw(some(st.lists(option, max_size=3, unique_by=lambda m: m["member"]))).items():
        memberships[group] = [m for m in members if m["member"] != group]
    databases: dict[str, Any] = {}
    for name in draw(st.lists(database, unique=True)):
        databases[name] = {"acl": draw(acls("database")), "schemas": {"s": draw(schemas)}, "relations": relations}
        if draw(flag):
            databases[name]["owner"] = draw(role)
    setting = st.dictionaries(st.sampled_from(["work_mem", "jit", "search_path"]), st.sampled_from(["1", "on"]))
    return {
        "roles": draw(live_roles),
        "memberships": memberships,
        "databases": databases,
        "settings": [{"role": r, "values": v} for r, v in draw(some(setting)).items() if v],
    }


def document(kind: str, name: str, spec: Mapping[str, Any]) -> str:
    return f"kind: {kind}\nmetadata: {{name: {name}}}\nspec: {json.dumps(spec)}"


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A case: up to four roles declared or buried, two databases, privileges, memberships, settings."""
    declared = draw(st.lists(role, unique=True))
    present = [name for name in declared if draw(st.integers(0, 3))]
    spec_databases: list[dict[str, Any]] = []
    for name in DATABASES:
        spec: dict[str, Any] = {"name": name, "schemas": [{"name": "s"}, {"name": "public"}]}
        if present and draw(flag):
            spec["owner"] = draw(st.sampled_from(present))
        if draw(flag):
            spec["public"] = {"database": draw(st.lists(st.sampled_from(["CONNECT", "TEMPORARY"]), unique=True))}
        spec_databases.append(spec)
    cluster = {"connection": {"hosts": ["pg1"], "credential": "a"}, "databases": spec_databases}
    if draw(flag):
        cluster["authority"] = {"privileges": draw(st.sets(st.sampled_from(list(LETTERS))).map(sorted))}
    documents = [document("Cluster", "c", cluster)]
    for number, name in enumerate(declared):
        spec = {"role": name, "clusters": {"all": True}}
        if name not in present:
            documents.append(document("User", f"u{number}", {**spec, "ensure": "absent"}))
            continue
        spec |= draw(st.fixed_dictionaries({}, optional={"createdb": flag, "inherit": flag, "login": flag}))
        if draw(flag):
            spec["auth"] = {"method": "scram", "password": {"secret": "one"}}
        earlier = [p for p in present if p < name]  # no circles
        if earlier and draw(flag):
            spec["memberOf"] = [{"role": draw(st.sampled_from(earlier)), "admin": draw(flag), "inherit": draw(flag)}]
        if draw(flag):
            spec["settings"] = draw(st.dictionaries(st.sampled_from(["work_mem", "jit"]), st.sampled_from([1, 64])))
        profile = draw(st.sampled_from(["reader", "writer", "owner"]))
        spec["privileges"] = [
            {"profile": profile, "database": draw(database), "schemas": ["s"], "grantOption": draw(flag)}
        ]
        documents.append(document("User", f"u{number}", spec))
    return {
        "manifests": "\n---\n".join(documents),
        "live": draw(live()),
        "capabilities": {"version": draw(st.sampled_from([13, 15, 16, 17]))},
        "ledger": draw(st.sampled_from([None, {}, {"applied": True}])),
        "secrets": {"one": SECRET},
    }


KINDS = kinds(Case({}).system)


def planned(body: dict[str, Any], rules: Rules = ALL) -> tuple[Case, TargetPlan]:
    case = Case(body)
    seen = case.seen
    return case, plan_target(seen.target, KINDS, seen.desired, seen.context, rules)


def done(context: Context, changes: tuple[Change, ...]) -> Context:
    """The same target once these changes are made."""
    states: dict[Address, State] = dict(context.snapshot.live)
    inventory = context.snapshot.inventory["privilege"]
    names = dict(inventory.names)  # type: ignore[attr-defined]
    for change in changes:
        after = change.after
        if isinstance(after, RoleState) and after.password == "new":
            after = replace(after, password="scram")
        if after is None or (isinstance(after, PrivilegeState) and not after.entries):
            states.pop(change.address, None)
        else:
            states[change.address] = after
        if change.address.kind == "database" and change.action is Action.CREATE:
            names["database", change.address.name[0], ""] = frozenset(change.address.name)
            states |= comes_along(change.address, context, {c.address for c in changes})
    snapshot = replace(
        context.snapshot,
        live=states,
        inventory={**context.snapshot.inventory, "privilege": replace(inventory, names=names)},  # type: ignore[type-var]
    )
    return replace(context, snapshot=snapshot, secrets={})


def comes_along(made: Address, context: Context, changed: set[Address]) -> dict[Address, State]:
    """What a new database brings: its public schema, and what PUBLIC may do with both."""
    assert context.capabilities
    name = made.name[0]
    found: dict[Address, State] = {
        made._replace(kind="schema", name=(name, "public")): SchemaState("pg_database_owner")
    }
    for place in (("database", name, ""), ("schema", name, "public")):
        held = dict.fromkeys(public_at_creation(place, context.capabilities.major), frozenset({place[2] or name}))
        found[address_of(made.target, place, "public")] = PrivilegeState(held)
    return {address: state for address, state in found.items() if address not in changed}


@LAW
@given(bodies(), st.randoms())
def test_laws_of_a_plan(body: dict[str, Any], random: Any) -> None:
    """One test, because a plan is dear to make and every law is about the same one."""
    case, plan = planned(body)
    after_applying_there_is_nothing_to_do(case, plan)
    steps_serve_exactly_what_is_applied(plan)
    steps_keep_the_order_of_needs(plan)
    the_digest_is_of_the_changes_and_not_of_their_order(plan, random)
    a_secret_is_nowhere(case, plan)
    a_state_does_not_differ_from_itself(case)


def after_applying_there_is_nothing_to_do(case: Case, plan: TargetPlan) -> None:
    context = done(case.seen.context, plan.applied_changes)
    wishes = [wish for kind in KINDS.values() for wish in kind.expand(case.view)]
    again, _ = resolve(KINDS, wishes, context)
    left = {change.address for change in diff(again, context.snapshot)}
    assert left <= {change.address for change in plan.changes if change.held}


def steps_serve_exactly_what_is_applied(plan: TargetPlan) -> None:
    assert {a for step in plan.steps for a in step.addresses} == {c.address for c in plan.applied_changes}


def steps_keep_the_order_of_needs(plan: TargetPlan) -> None:
    first: dict[Address, int] = {}
    last: dict[Address, int] = {}
    for number, step in enumerate(plan.steps):
        for address in step.addresses:
            first.setdefault(address, number)
            last[address] = number
    going = {c.address for c in plan.applied_changes if c.action is Action.DELETE}
    for change in plan.applied_changes:
        kind, address = KINDS[change.address.kind], change.address
        for needed in kind.needs(address, change.after) if change.after else ():
            assert needed not in last or last[needed] < first[address]
        for needed in kind.needs(address, change.before) if change.before else ():
            assert needed not in going or last[address] < first[needed]


def the_digest_is_of_the_changes_and_not_of_their_order(plan: TargetPlan, random: Any) -> None:
    changes = list(plan.applied_changes)
    random.shuffle(changes)
    turned = [change._replace(fields=change.fields[::-1]) for change in changes]
    assert replace(plan, changes=tuple(turned)).digest == plan.digest
    for number, change in enumerate(changes[:3]):
        rest = changes[:number] + changes[number + 1 :]
        unsaid = replace(plan, changes=tuple(rest)).digest == plan.digest
        assert unsaid is change.only_sensitive, "only what a lesser account can't see is no part of what is approved"
        for at, entry in enumerate(change.fields):
            other = entry._replace(after=("something", "else"))
            fields = (*change.fields[:at], other, *change.fields[at + 1 :])
            digest = replace(plan, changes=(*rest, change._replace(fields=fields))).digest
            assert (digest == plan.digest) is entry.sensitive


def a_secret_is_nowhere(case: Case, plan: TargetPlan) -> None:
    text = shown(case) + "".join(map(str, plan.steps))
    assert SECRET not in text
    assert "SCRAM-SHA-256$" not in text


def a_state_does_not_differ_from_itself(case: Case) -> None:
    live = case.seen.context.snapshot.live
    desired = {address: resource._replace(state=live.get(address)) for address, resource in case.seen.desired.items()}
    assert diff(desired, case.seen.context.snapshot) == []
    assert compile_steps(KINDS, [], {}, case.seen.context) == []


@LAW
@given(bodies(), st.sampled_from(["off", "safe"]))
def test_what_is_held_is_not_done_and_holds_what_needs_it(body: dict[str, Any], correct: Any) -> None:
    _, plan = planned(body, replace(ALL, correct=correct))
    held = {change.address: change for change in plan.changes if change.held}
    assert not held.keys() & {a for step in plan.steps for a in step.addresses}
    for change in plan.applied_changes:
        needed = [held[n] for n in plan.depends[change.address] if n in held]
        assert all(n.action is Action.UPDATE for n in needed)
        assert change.action is not Action.DELETE or not needed
