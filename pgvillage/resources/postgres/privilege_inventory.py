"""Access lists as rows become states, and what there is to have privileges on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pgvillage.core.address import Address
from pgvillage.core.live import Live
from pgvillage.core.state import State
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION, owner_lacks, passed_on, privileges_of
from pgvillage.resources.postgres.signature import column_name

# Class, database, schema; the schema is empty for what lies in none, the database for what belongs to the cluster.
Place = tuple[str, str, str]
Entries = dict[str, frozenset[str]]
Group = tuple[Place, str, list[str] | None, frozenset[str], list[str] | None]

IN_SCHEMAS = frozenset({"table", "column", "sequence", "function", "type"})
SINGLE = frozenset({"database", "schema"})  # the place is the object
_BEFORE_MAINTAIN = 16  # every older list lacks it, without anybody having taken it away


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
    # What the script of an extension gave: by place and grantee; no manifest has to ask for it
    brought: dict[tuple[Place, str], Entries] = field(default_factory=dict)
    # Objects whose list the script of an extension settled, whatever came later
    settled: dict[Place, frozenset[str]] = field(default_factory=dict)
    # What owners took from themselves: by place and owner
    forgone: dict[tuple[Place, str], Entries] = field(default_factory=dict)


def address_of(target: str, place: Place, grantee: str) -> Address:
    """`table.orders.app.reader`; without schema and database where there are none."""
    if place[2]:
        return Address(target, "privilege", (*place, grantee))
    return Address(target, "privilege", (*place[:2], grantee) if place[1] else (place[0], grantee))


def place_of(address: Address) -> Place:
    """The inverse of address_of."""
    name = address.name
    return (name[0], name[1] if len(name) > 2 else "", name[2] if len(name) > 3 else "")


def entries_of(state: State | None) -> Mapping[str, frozenset[str]]:
    return state.entries if isinstance(state, PrivilegeState) else {}


def settled(entries: Mapping[str, frozenset[str]]) -> Entries:
    """An object that has the option is listed under it alone, also when another grantor gave it without."""
    found = dict(entries)
    for name in [n for n in found if n.endswith(WITH_GRANT_OPTION)]:
        bare = name.removesuffix(WITH_GRANT_OPTION)
        if bare in found:
            found[bare] -= found[name]
    return {name: objects for name, objects in found.items() if objects}


def merged(first: Mapping[str, frozenset[str]], second: Mapping[str, frozenset[str]]) -> Entries:
    """All that either holds."""
    found = dict(first)
    for privilege, objects in second.items():
        found[privilege] = found.get(privilege, frozenset()) | objects
    return settled(found)


def groups(live: Live) -> Iterator[Group]:
    """Place, owner, list, names of the objects that have this list, what an extension's script gave."""
    for name, owner, acl in live.rows["database_acl"]:
        yield ("database", name, ""), owner, acl, frozenset({name}), None
    for object_class, owner, acl, names in live.rows.get("cluster_acl", ()):
        yield (object_class, "", ""), owner, acl, frozenset(names), None
    for database, rows in live.by_database.items():
        for name, owner, acl in rows["schema_acl"]:
            yield ("schema", database, name), owner, acl, frozenset({name}), None
        for schema, object_class, owner, acl, names, initial in rows.get("relation_acl", ()):
            yield (object_class, database, schema), owner, acl, frozenset(names), initial
        for object_class, schema, owner, acl, names, initial in rows.get("object_acl", ()):
            found = (column_name(*pair) for pair in names) if object_class == "column" else names
            yield (object_class, database, schema), owner, acl, frozenset(found), initial


def inventory_of(found: Iterable[Group], live: Live) -> Inventory:
    names: dict[Place, list[frozenset[str]]] = defaultdict(list)
    owned: dict[Place, dict[str, list[frozenset[str]]]] = defaultdict(lambda: defaultdict(list))
    schemas = {db: frozenset(row[0] for row in rows["schema_acl"]) for db, rows in live.by_database.items()}
    forgone: dict[tuple[Place, str], dict[str, list[frozenset[str]]]] = defaultdict(lambda: defaultdict(list))
    result = Inventory({}, {}, schemas, {})
    for place, owner, acl, objects, initial in found:
        names[place].append(objects)
        owned[place][owner].append(objects)
        if acl is not None:
            entries = tuple(acl)
            _note_passed_on(result, place, owner, entries, objects)
            # an owner has its columns by its table
            for privilege in owner_lacks(place[0], owner, entries, _BEFORE_MAINTAIN) if place[0] != "column" else ():
                forgone[place, owner][privilege].append(objects)
        if initial is not None:
            result.settled[place] = result.settled.get(place, frozenset()) | objects
            for role, privileges in privileges_of(place[0], owner, initial).items():
                brought = result.brought.setdefault((place, role), {})
                for privilege in privileges:
                    brought[privilege] = brought.get(privilege, frozenset()) | objects
    result.forgone = {key: {p: _union(parts) for p, parts in found.items()} for key, found in forgone.items()}
    result.names = {place: _union(parts) for place, parts in names.items()}
    result.owned = {
        place: {owner: _union(parts) for owner, parts in by_owner.items()} for place, by_owner in owned.items()
    }
    return result


def _note_passed_on(result: Inventory, place: Place, owner: str, acl: tuple[str, ...], objects: frozenset[str]) -> None:
    for (role, privilege), grantors in passed_on(owner, acl).items():
        given = result.passed_on.setdefault((place, role, privilege), {})
        for grantor in grantors:
            given[grantor] = given.get(grantor, frozenset()) | objects


def held_by(found: Iterable[Group], inventory: Inventory) -> Iterator[tuple[Place, str, PrivilegeState]]:
    """What every role holds, place by place."""
    by_place: dict[Place, list[Group]] = {}
    for group in found:
        by_place.setdefault(group[0], []).append(group)
    for place, several in by_place.items():
        whole = inventory.names[place]
        if len(several) == 1:  # nearly every place: all its objects have the same list
            for role, privileges in privileges_of(place[0], several[0][1], several[0][2]).items():
                yield place, role, PrivilegeState(dict.fromkeys(privileges, whole), whole)
        else:
            yield from _joined(place, several, whole)


def _joined(
    place: Place, several: Iterable[Group], whole: frozenset[str]
) -> Iterator[tuple[Place, str, PrivilegeState]]:
    roles: dict[str, dict[str, list[frozenset[str]]]] = {}
    for _, owner, acl, objects, _ in several:
        for role, privileges in privileges_of(place[0], owner, acl).items():
            entries = roles.setdefault(role, {})
            for privilege in privileges:
                entries.setdefault(privilege, []).append(objects)
    for role, entries in roles.items():
        # objects are in one group each; where these are all there are, the one set stands for many
        joined = {p: whole if sum(map(len, parts)) == len(whole) else _union(parts) for p, parts in entries.items()}
        yield place, role, PrivilegeState(settled(joined), whole)


def _union(parts: list[frozenset[str]]) -> frozenset[str]:
    return parts[0] if len(parts) == 1 else frozenset().union(*parts)
