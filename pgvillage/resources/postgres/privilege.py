"""Kind privilege: what roles and PUBLIC may do with databases, schemas, tables and sequences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Change, Resource, Risk, Source
from pgvillage.core.plan import Finding, Unread
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.acl import (
    WITH_GRANT_OPTION,
    every_privilege,
    passed_on,
    privileges_of,
    public_at_creation,
)
from pgvillage.resources.postgres.leavers import out_of_bounds
from pgvillage.resources.postgres.privilege_sql import privilege_steps
from pgvillage.resources.postgres.privilege_wishes import EVERY, wishes
from pgvillage.resources.postgres.sql import PUBLIC

ORDER = 70

_DATABASES = """
SELECT d.datname, o.rolname, d.datacl::text[]
FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles o ON o.oid = d.datdba
"""
_SCHEMAS = """
SELECT n.nspname, o.rolname, n.nspacl::text[]
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
# Objects with the same list come as one row: a thousand rows instead of a quarter of a million entries.
_RELATIONS = """
SELECT n.nspname, CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, o.rolname, c.relacl::text[],
       pg_catalog.array_agg(c.relname)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
GROUP BY 1, 2, 3, c.relacl::text[]
"""

Place = tuple[str, str, str]  # class, database, schema (empty for databases)


@dataclass(frozen=True, slots=True)
class PrivilegeState(State):
    """Object names by privilege: of one grantee, in one schema, for one class.

    For databases and schemas the one name is the object itself. `every` is all there are, for showing "all 20".
    """

    CONTEXT: ClassVar[frozenset[str]] = frozenset({"every"})

    entries: Mapping[str, frozenset[str]] = field(default_factory=dict)
    every: frozenset[str] = frozenset()

    def as_fields(self) -> Mapping[str, Any]:
        return dict(sorted(self.entries.items()))  # they come out of sets, whose order differs from run to run


@dataclass(slots=True)
class Inventory:
    """What there is to have privileges on: names by place, and by owner in it."""

    names: dict[Place, frozenset[str]]
    owned: dict[Place, dict[str, frozenset[str]]]
    schemas: dict[str, frozenset[str]]
    # What somebody else than the owner gave: (place, grantee, privilege) to grantor to objects
    passed_on: dict[tuple[Place, str, str], dict[str, frozenset[str]]]


class Privilege(Kind):
    name = "privilege"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for wish in wishes(view):
            state = PrivilegeState(wish.entries)
            yield Resource(address_of(view.name, wish.place, wish.grantee), state, wish.source, wish=state)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        yield Query("database_acl", _DATABASES)
        yield Query("schema_acl", _SCHEMAS, each_database=True)
        yield Query("relation_acl", _RELATIONS, each_database=True)

    def parse(self, live: Live) -> Parsed:
        groups = list(_groups(live))
        inventory = _inventory(groups, live)
        held: dict[Place, dict[str, dict[str, frozenset[str]]]] = defaultdict(dict)
        for place, owner, acl, names in groups:
            whole = inventory.names[place]
            for role, privileges in privileges_of(place[0], owner, acl).items():
                entries = held[place].setdefault(role, {})
                for privilege in privileges:
                    known = entries.get(privilege)
                    entries[privilege] = known | names if known else (whole if len(names) == len(whole) else names)
        return Parsed(
            {
                address_of(live.target, place, role): PrivilegeState(_settled(entries), inventory.names[place])
                for place, roles in held.items()
                for role, entries in roles.items()
            },
            inventory=inventory,
        )

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        for object_class in ("schema", "table", "sequence"):
            yield Unread(self.name, (object_class, database), reason)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        inventory = context.snapshot.inventory.get(self.name)
        assert isinstance(inventory, Inventory)
        major = context.capabilities.major if context.capabilities else 0
        coming = {d.name: {s.name for s in d.spec.schemas if s.ensure == "present"} for d in context.view.databases}
        covered = set(context.view.authority.privileges)
        resolved: Desired = {}
        findings: list[Finding] = []
        for address, resource in desired.items():
            fault = _no_such_schema(address, inventory, coming)
            if fault:
                findings.append(Finding("error", f"{resource.source}: {fault}", address))
                continue
            state, missing = _resolve(resource, address, _owned(address, inventory, context), inventory, major)
            if place_of(address)[0] not in covered and address.name[-1] != PUBLIC:
                state = _at_least(state, context.snapshot.live.get(address))
            findings += [Finding("warning", f"{resource.source}: {text}", address) for text in missing]
            if brought := _at_creation(address, inventory, major):
                # What comes with the database itself is no change; that PUBLIC shall have less of it is one.
                state = None if state is not None and state.entries == brought else state or PrivilegeState()
            resolved[address] = resource.with_state(state)
        resolved.update(_undeclared(desired, context))
        findings += _strangers(context)
        return resolved, findings

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        object_class, database, *rest = address.name
        if (role := address.name[-1]) != PUBLIC:
            yield Address(address.target, "role", (role,))
        yield Address(address.target, "database", (database,))
        if object_class != "database":
            yield Address(address.target, "schema", (database, rest[0]))

    def subject(self, address: Address) -> Address:
        if address.name[-1] == PUBLIC:
            return address  # no role: what we shut for PUBLIC before is ours to shut again
        return Address(address.target, "role", (address.name[-1],))

    def weight(self, address: Address, state: State) -> int:
        return sum(map(len, state.entries.values())) if isinstance(state, PrivilegeState) else 0

    def judge(self, change: Change, context: Context) -> Judgement:
        pairs = list(differences(entries_of(change.before), change.after))
        revoked = sum(len(before - after) for _, before, after in pairs)
        # Losing only the option is still a loss; gaining it with the privilege is none.
        kept = sum(
            len((before - after) & entries_of(change.after).get(_twin(name), frozenset()))
            for name, before, after in pairs
            if not name.endswith(WITH_GRANT_OPTION)
        )
        lost = revoked - kept
        return Judgement(Risk.ACCESS if lost else Risk.ADDITIVE, revokes=lost)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        inventory = context.snapshot.inventory.get(self.name)
        assert isinstance(inventory, Inventory)
        major = context.capabilities.major if context.capabilities else 0
        found = []
        for change in changes:
            before = entries_of(change.before) or _at_creation(change.address, inventory, major)
            found.append((change.address, list(differences(before, change.after)), entries_of(change.after)))

        def given_by_others(address: Address, privilege: str) -> Mapping[str, frozenset[str]]:
            return inventory.passed_on.get((place_of(address), address.name[-1], privilege), {})

        return privilege_steps(found, given_by_others)


KIND = Privilege()


def address_of(target: str, place: Place, grantee: str) -> Address:
    """`table.orders.app.reader`; a database has no schema in its address."""
    name = (*place, grantee) if place[2] else (*place[:2], grantee)
    return Address(target, "privilege", name)


def place_of(address: Address) -> Place:
    """The inverse of address_of."""
    name = address.name
    return (name[0], name[1], name[2] if len(name) > 3 else "")


def entries_of(state: State | None) -> Mapping[str, frozenset[str]]:
    return state.entries if isinstance(state, PrivilegeState) else {}


def differences(
    before: Mapping[str, frozenset[str]], after: State | None
) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    """(privilege, objects before, objects after) for each privilege that differs."""
    now = entries_of(after)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield name, before.get(name, frozenset()), now.get(name, frozenset())


def _at_creation(address: Address, inventory: Inventory, major: int) -> Mapping[str, frozenset[str]]:
    """What an object that does not exist yet will bring along for PUBLIC."""
    place = place_of(address)
    if address.name[-1] != PUBLIC or ("database", place[1], "") in inventory.names:
        return {}
    name = frozenset({place[2] or place[1]})
    return dict.fromkeys(public_at_creation(place, major), name)


def _twin(name: str) -> str:
    return name + WITH_GRANT_OPTION


def _groups(live: Live) -> Iterator[tuple[Place, str, list[str] | None, frozenset[str]]]:
    for name, owner, acl in live.rows["database_acl"]:
        yield ("database", name, ""), owner, acl, frozenset({name})
    for database, rows in live.by_database.items():
        for name, owner, acl in rows["schema_acl"]:
            yield ("schema", database, name), owner, acl, frozenset({name})
        for schema, object_class, owner, acl, names in rows["relation_acl"]:
            yield (object_class, database, schema), owner, acl, frozenset(names)


def _inventory(groups: Iterable[tuple[Place, str, list[str] | None, frozenset[str]]], live: Live) -> Inventory:
    names: dict[Place, frozenset[str]] = {}
    owned: dict[Place, dict[str, frozenset[str]]] = defaultdict(dict)
    passed: dict[tuple[Place, str, str], dict[str, frozenset[str]]] = defaultdict(dict)
    for place, owner, acl, found in groups:
        for (role, privilege), grantors in passed_on(owner, tuple(acl or ())).items():
            for grantor in grantors:
                given = passed[place, role, privilege]
                given[grantor] = given.get(grantor, frozenset()) | found
        names[place] = names[place] | found if place in names else found
        mine = owned[place]
        mine[owner] = mine[owner] | found if owner in mine else found
    schemas = {db: frozenset(row[0] for row in rows["schema_acl"]) for db, rows in live.by_database.items()}
    return Inventory(names, owned, schemas, passed)


def _settled(entries: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """An object that has the option is listed under it alone, also when another grantor gave it without."""
    for name in [n for n in entries if n.endswith(WITH_GRANT_OPTION)]:
        bare = name.removesuffix(WITH_GRANT_OPTION)
        if bare in entries:
            entries[bare] -= entries[name]
    return {name: objects for name, objects in entries.items() if objects}


def _no_such_schema(address: Address, inventory: Inventory, coming: Mapping[str, set[str]]) -> str:
    object_class, database, schema = place_of(address)
    if object_class == "database" or database not in inventory.schemas:
        return ""
    known = inventory.schemas[database] | coming.get(database, set())
    if schema in known:
        return ""
    import difflib

    near = difflib.get_close_matches(schema, known, 1)
    hint = f"; did you mean {quote_part(near[0])}?" if near else ""
    return f"database {quote_part(database)} has no schema {quote_part(schema)} and none is declared{hint}"


def _owned(address: Address, inventory: Inventory, context: Context) -> frozenset[str]:
    """What of a place is or will be the grantee's own."""
    place, grantee = place_of(address), address.name[-1]
    declared = _declared_owner(place, context) if place[0] in ("database", "schema") else None
    if declared is not None:
        return frozenset({place[2] or place[1]}) if declared == grantee else frozenset()
    return inventory.owned.get(place, {}).get(grantee, frozenset())


def _declared_owner(place: Place, context: Context) -> str | None:
    for database in context.view.databases:
        if database.name == place[1] and place[0] == "database":
            return database.spec.owner
        if database.name == place[1]:
            return next((schema.owner for schema in database.spec.schemas if schema.name == place[2]), None)
    return None


def _at_least(state: PrivilegeState | None, live: State | None) -> PrivilegeState | None:
    """Where authority is not complete, what is declared comes on top of what is there."""
    if not isinstance(live, PrivilegeState) or state is None:
        return live if isinstance(live, PrivilegeState) else state
    entries = {p: live.entries.get(p, frozenset()) | state.entries.get(p, frozenset()) for p in live.entries}
    return PrivilegeState(_settled({**state.entries, **entries}), state.every)


def _resolve(
    resource: Resource, address: Address, mine: frozenset[str], inventory: Inventory, major: int
) -> tuple[PrivilegeState | None, list[str]]:
    """`all tables` becomes the tables there are; an owner's own rights are left out, they need no grant."""
    assert isinstance(resource.state, PrivilegeState)
    place = place_of(address)
    if place[0] in ("database", "schema"):
        whole = frozenset({place[2] or place[1]})
    else:
        whole = inventory.names.get(place, frozenset())
    grantable = whole - mine if mine else whole
    entries: dict[str, frozenset[str]] = {}
    missing: set[str] = set()
    texts: list[str] = []
    for privilege, objects in resource.state.entries.items():
        bare, option, _ = privilege.partition(WITH_GRANT_OPTION)
        if bare != "ALL" and bare not in every_privilege(place[0], major):
            texts.append(f"PostgreSQL {major} has no privilege {bare}: left out")
            continue
        found = grantable if objects is EVERY or objects == EVERY else objects & grantable
        missing |= set() if objects == EVERY else objects - whole
        for each in every_privilege(place[0], major) if bare == "ALL" else (bare,):
            known = entries.get(each + option)
            entries[each + option] = known | found if known else found
    texts += [f"{place[0]} {quote_part(place[2])}.{quote_part(n)} does not exist (yet)" for n in sorted(missing)]
    settled = _settled(entries)
    return (PrivilegeState(settled, whole) if settled else None), texts


def _undeclared(desired: Desired, context: Context) -> Desired:
    """What declared roles hold beyond what is declared, in the classes that authority covers."""
    view = context.view
    covered = set(view.authority.privileges)
    ours = view.declared_roles - context.once(out_of_bounds)
    known = {d.name for d in view.databases if d.spec.ensure == "present"}
    position = view.located.at("spec")
    found: Desired = {}
    for address in context.snapshot.live:
        if address.kind != "privilege" or address in desired or address.name[-1] not in ours:
            continue
        if address.name[0] in covered and address.name[1] in known:
            source = Source(position.file, position.line)
            found[address] = Resource(address, None, source, "no manifest asks for it", declared=False)
    return found


def _strangers(context: Context) -> list[Finding]:
    """Roles outside the estate that hold privileges in its databases: one finding, nothing is touched."""
    view = context.view
    databases = {d.name for d in view.databases}
    names = {
        address.name[-1]
        for address in context.snapshot.live
        if address.kind == "privilege" and address.name[1] in databases and address.name[-1] != PUBLIC
    } - view.declared_roles
    if not names:
        return []
    shown = ", ".join(quote_part(n) for n in sorted(names)[:5]) + (
        f" and {len(names) - 5} more" if len(names) > 5 else ""
    )
    return [Finding("info", f"roles outside the estate hold privileges in its databases, left alone: {shown}")]
