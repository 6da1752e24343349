"""Where wishes for privileges meet what exists: names found, owners spared, what nobody asks for found out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Resource, Source
from pgvillage.core.plan import Finding
from pgvillage.core.state import State
from pgvillage.engine.kind import Context, Desired
from pgvillage.estate.manifest.database import DatabaseFields, ExtensionSpec
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION, every_privilege, public_at_creation
from pgvillage.resources.postgres.existing import near
from pgvillage.resources.postgres.leavers import out_of_bounds
from pgvillage.resources.postgres.privilege_inventory import (
    IN_SCHEMAS,
    SINGLE,
    Inventory,
    Place,
    PrivilegeState,
    entries_of,
    merged,
    place_of,
    settled,
)
from pgvillage.resources.postgres.privilege_queries import PARAMETERS_SINCE
from pgvillage.resources.postgres.privilege_wishes import EVERY
from pgvillage.resources.postgres.signature import Signatures, column_parts
from pgvillage.resources.postgres.sql import PUBLIC

_LANGUAGES_OF_A_NEW_DATABASE = frozenset({"plpgsql", "sql"})
_CLASS_WORDS = {
    "foreignDataWrapper": "foreign data wrapper", "foreignServer": "foreign server", "largeObject": "large object",
}  # fmt: skip


class _Made(Protocol):
    """A manifest's part for something that has privileges."""

    @property
    def name(self) -> str: ...
    @property
    def owner(self) -> str | None: ...
    @property
    def ensure(self) -> str: ...


class Resolver:
    """The wishes of one plan against one look at a server."""

    def __init__(self, context: Context, inventory: Inventory) -> None:
        self._context, self._inventory = context, inventory
        self._major = context.capabilities.major if context.capabilities else 0
        self._covered = frozenset(context.view.authority.privileges)
        self._signatures: dict[Place, Signatures] = {}

    def resolve(self, desired: Desired) -> tuple[Desired, list[Finding]]:
        resolved: Desired = {}
        findings: list[Finding] = []
        for address, resource in desired.items():
            named, fault = self._named(address, resource)
            if fault:
                findings.append(Finding("error", f"{resource.source}: {fault}", address, blocks=True))
                continue
            state, missing = self._settle(address, named)
            missing = [] if missing and self._context.snapshot.is_unread(address) else missing
            findings += [Finding("warning", f"{resource.source}: {text}", address) for text in missing]
            resolved[address] = resource.with_state(state)
        resolved.update(self._undeclared(desired))
        return resolved, [*findings, *self._strangers()]

    def _settle(self, address: Address, resource: Resource) -> tuple[PrivilegeState | None, list[str]]:
        live = self._context.snapshot.live.get(address)
        place, grantee = place_of(address), address.name[-1]
        coming = self._made_in_this_plan(place)
        mine = self._owned(address) | {name for name, owner in coming.items() if owner == grantee}
        state, missing = resolve_one(resource, address, mine, self._inventory, self._major, coming.keys())
        if grantee != PUBLIC:
            state = _with(state, self._brought(address, live))
            if place[0] not in self._covered:
                # Where authority is not complete, what is declared comes on top of what is there.
                state = _with(state, entries_of(live))
        brought = at_creation(address, self._inventory, self._major)
        if place[0] == "language" and grantee == PUBLIC:
            state = _with(state, self._languages_not_named(place[1], entries_of(live) or brought))
        if brought:
            # What comes with the database itself is no change; that PUBLIC shall have less of it is one.
            state = None if state is not None and state.entries == brought else state or PrivilegeState()
        return state, missing

    def _named(self, address: Address, resource: Resource) -> tuple[Resource, str]:
        """The wish with functions as the server writes them; or what is wrong with a name in it."""
        place = place_of(address)
        fault = _no_such_schema(place, self._inventory, self._coming)
        if fault or place[0] not in ("function", "column", "parameter"):
            return resource, fault
        if place[0] == "function":
            return self._functions(place, resource)
        check = self._column_fault if place[0] == "column" else self._parameter_fault
        names = sorted({n for objects in entries_of(resource.state).values() for n in objects})
        return resource, next(filter(None, (check(place, name) for name in names)), "")

    def _functions(self, place: Place, resource: Resource) -> tuple[Resource, str]:
        known = self._signatures.get(place)
        entries = {}
        for privilege, objects in entries_of(resource.state).items():
            if objects == EVERY:
                entries[privilege] = EVERY
                continue
            if known is None:
                known = self._signatures[place] = Signatures(self._inventory.names.get(place, frozenset()))
            found = {text: self._function(known, text) for text in sorted(objects)}
            for text, (_, fault) in found.items():
                if fault and not (fault.startswith("unknown") and self._may_come(place)):
                    nearest = known.nearest(text)
                    hint = f"; did you mean {nearest}?" if nearest else ""
                    return resource, f"{fault} in schema {quote_part(place[2])}{hint}"
            entries[privilege] = frozenset(name for name, _ in found.values())
        return resource.with_state(PrivilegeState(entries)), ""

    @staticmethod
    def _function(known: Signatures, text: str) -> tuple[str, str]:
        try:
            found = known.find(text)
        except ValueError as error:
            return text, f"{text!r} is no signature: {error};"
        return found or text, "" if found else f"unknown function {text}"

    def _may_come(self, place: Place) -> bool:
        """Is there something in this plan that could bring objects along: a new schema, an extension?"""
        view, live = self._context.view, self._context.snapshot.live
        if place[2] not in self._inventory.schemas.get(place[1], frozenset()):
            return True
        extensions = (e for d in view.databases if d.name == place[1] for e in d.spec.extensions)
        names = (e if isinstance(e, str) else e.name for e in extensions)
        return any(Address(view.name, "extension", (place[1], name)) not in live for name in names)

    def _column_fault(self, place: Place, name: str) -> str:
        table, column = column_parts(name)
        tables = self._inventory.names.get(("table", *place[1:]), frozenset())
        known = self._inventory.names.get(place, frozenset())
        if table not in tables or name in known:
            return ""  # of a table that is not there (yet) a warning tells
        columns = [c for t, c in map(column_parts, known) if t == table]
        where = f"{quote_part(place[2])}.{quote_part(table)}"
        return f"table {where} has no column {quote_part(column)}{near(column, columns)}"

    def _parameter_fault(self, _place: Place, name: str) -> str:
        known = self._context.snapshot.inventory.get("parameter")
        if "." in name or not isinstance(known, dict) or name in known or self._major < PARAMETERS_SINCE:
            return ""  # a name with a dot may belong to a module that is not loaded
        return f"the server has no parameter {quote_part(name)}{near(name, known)}"

    @cached_property
    def _coming(self) -> Mapping[str, set[str]]:
        databases = self._context.view.databases
        return {d.name: {s.name for s in d.spec.schemas if s.ensure == "present"} for d in databases}

    def _made_in_this_plan(self, place: Place) -> Mapping[str, str | None]:
        """What a kind of its own, or an extension, brings before privileges are granted; with the owner it gets."""
        known = self._inventory.names.get(place, frozenset())
        database = self._databases.get(place[1])
        made: Sequence[_Made] = ()
        if place[0] == "tablespace":
            made = self._context.view.cluster.spec.tablespaces
        elif database is None or database.ensure == "absent":
            return {}
        elif place[0] == "foreignDataWrapper":
            made = database.foreign_data_wrappers
        elif place[0] == "foreignServer":
            made = database.foreign_servers
        found = dict.fromkeys(self._by_extensions(place))
        found |= {each.name: each.owner for each in made if each.ensure == "present"}
        return {name: owner for name, owner in found.items() if name not in known}

    def _by_extensions(self, place: Place) -> Iterable[str]:
        """Wrappers and languages have the name of the extension that brings them; one that ends in u is not trusted."""
        if place[0] not in ("foreignDataWrapper", "language"):
            return ()
        live, target = self._context.snapshot.live, self._context.view.name
        specs = [ExtensionSpec(name=e) if isinstance(e, str) else e for e in self._databases[place[1]].extensions]
        names = [e.name for e in specs if e.ensure == "present"]
        new = [name for name in names if Address(target, "extension", (place[1], name)) not in live]
        return [name for name in new if place[0] != "language" or not name.endswith("u")]

    def _owned(self, address: Address) -> frozenset[str]:
        """What of a place is or will be the grantee's own."""
        place, grantee = place_of(address), address.name[-1]
        declared = self._declared_owner(place) if place[0] in SINGLE else None
        if declared is not None:
            return frozenset({place[2] or place[1]}) if declared == grantee else frozenset()
        owned = self._inventory.owned.get(place, {}).get(grantee, frozenset())
        if place[0] == "column":  # those of new wishes too: by their tables
            tables = self._inventory.owned.get(("table", *place[1:]), {}).get(grantee, frozenset())
            owned |= {n for n in self._inventory.names.get(place, ()) if column_parts(n)[0] in tables}
        return owned

    def _declared_owner(self, place: Place) -> str | None:
        database = self._databases.get(place[1])
        if database is None:
            return None
        if place[0] == "database":
            return database.owner
        return next((schema.owner for schema in database.schemas if schema.name == place[2]), None)

    @cached_property
    def _databases(self) -> Mapping[str, DatabaseFields]:
        return {d.name: d.spec for d in self._context.view.databases}

    def _brought(self, address: Address, live: State | None) -> Mapping[str, frozenset[str]]:
        """What the script of an extension gave and is still there."""
        given = self._inventory.brought.get((place_of(address), address.name[-1]))
        if not given:
            return {}
        held = entries_of(live)
        option = {p: held.get(p + WITH_GRANT_OPTION, frozenset()) for p in given}
        return settled({p: objects & (held.get(p, frozenset()) | option[p]) for p, objects in given.items()})

    def _languages_not_named(self, database: str, held: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
        public = self._databases[database].public if database in self._databases else None
        named = frozenset(public.languages) if public else frozenset()
        return {privilege: objects - named for privilege, objects in held.items()}

    def _undeclared(self, desired: Desired) -> Desired:
        """What declared roles hold beyond what is declared, in the classes that authority covers."""
        view = self._context.view
        ours = view.declared_roles - out_of_bounds(self._context)
        known = {d.name for d in view.databases if d.spec.ensure == "present"}
        position = view.located.at("spec")
        source = Source(position.file, position.line)
        found: Desired = {}
        for address, live in self._context.snapshot.live.items():
            if address.kind != "privilege" or address in desired or address.name[-1] not in ours:
                continue
            if address.name[0] in self._covered and (len(address.name) == 2 or address.name[1] in known):
                state = _with(None, self._brought(address, live))
                found[address] = Resource(address, state, source, "no manifest asks for it", declared=False)
        return found

    def _strangers(self) -> list[Finding]:
        """Roles outside the estate that hold privileges in its databases: one finding, nothing is touched."""
        view = self._context.view
        databases = {d.name for d in view.databases}
        ours = view.declared_roles | {PUBLIC}
        names = {
            address.name[-1]
            for address, live in self._context.snapshot.live.items()
            if address.kind == "privilege"
            and (len(address.name) == 2 or address.name[1] in databases)
            and address.name[-1] not in ours
            and self._brought(address, live) != entries_of(live)
        }
        if not names:
            return []
        shown = ", ".join(quote_part(n) for n in sorted(names)[:5]) + (
            f" and {len(names) - 5} more" if len(names) > 5 else ""
        )
        return [Finding("info", f"roles outside the estate hold privileges in its databases, left alone: {shown}")]


def at_creation(address: Address, inventory: Inventory, major: int) -> Mapping[str, frozenset[str]]:
    """What a database that does not exist yet will bring along for PUBLIC."""
    place = place_of(address)
    if address.name[-1] != PUBLIC or not place[1] or ("database", place[1], "") in inventory.names:
        return {}
    if place[0] == "language":
        return {"USAGE": _LANGUAGES_OF_A_NEW_DATABASE}
    if place[0] not in SINGLE:
        return {}
    name = frozenset({place[2] or place[1]})
    return dict.fromkeys(public_at_creation(place, major), name)


def resolve_one(
    resource: Resource,
    address: Address,
    mine: frozenset[str],
    inventory: Inventory,
    major: int,
    coming: Collection[str] = (),
) -> tuple[PrivilegeState | None, list[str]]:
    """`all tables` becomes the tables there are; an owner's own rights are left out, they need no grant.

    Unless the owner took them from itself: then what is declared is given back. `coming` is made in the same plan.
    """
    place = place_of(address)
    if place[0] == "parameter" and major < PARAMETERS_SINCE:
        return None, [f"PostgreSQL {major} has no privileges on parameters: left out"]
    whole = _whole(place, entries_of(resource.state), inventory) | frozenset(coming)
    grantable = whole - mine if mine else whole
    forgone = inventory.forgone.get((place, address.name[-1]), {}) if mine else {}
    possible = every_privilege(place[0], major)
    entries: dict[str, frozenset[str]] = {}
    missing: set[str] = set()
    texts: list[str] = []
    for privilege, objects in entries_of(resource.state).items():
        bare, option, _ = privilege.partition(WITH_GRANT_OPTION)
        if bare != "ALL" and bare not in possible:
            texts.append(f"PostgreSQL {major} has no privilege {bare}: left out")
            continue
        missing |= set() if objects == EVERY else objects - whole
        for each in possible if bare == "ALL" else (bare,):
            free = grantable | (forgone[each] & mine) if each in forgone and not option else grantable
            found = free if objects is EVERY or objects == EVERY else objects & free
            known = entries.get(each + option)
            entries[each + option] = known | found if known else found
    texts += [_missing(place, name, whole) for name in sorted(missing)]
    held = settled(entries)
    every = whole if place[0] != "parameter" else frozenset()
    return (PrivilegeState(held, every) if held else None), texts


def _whole(place: Place, wanted: Mapping[str, frozenset[str]], inventory: Inventory) -> frozenset[str]:
    if place[0] in SINGLE:
        return frozenset({place[2] or place[1]})
    if place[0] == "parameter":  # none needs a list of its own to be there
        return frozenset().union(*wanted.values())
    if place[0] == "language" and ("database", place[1], "") not in inventory.names:
        return _LANGUAGES_OF_A_NEW_DATABASE
    return inventory.names.get(place, frozenset())


def _missing(place: Place, name: str, whole: Iterable[str]) -> str:
    word = _CLASS_WORDS.get(place[0], place[0])
    more = ", or is not trusted" if place[0] == "language" else ""
    shown = name if place[0] in ("column", "function") else quote_part(name)
    where = f"{quote_part(place[2])}." if place[0] in IN_SCHEMAS else ""
    return f"{word} {where}{shown} does not exist (yet){more}{near(name, whole)}"


def _no_such_schema(place: Place, inventory: Inventory, coming: Mapping[str, set[str]]) -> str:
    _, database, schema = place
    if not schema or database not in inventory.schemas:
        return ""
    known = inventory.schemas[database] | coming.get(database, set())
    if schema in known:
        return ""
    where = f"database {quote_part(database)} has no schema {quote_part(schema)} and none is declared"
    return f"{where}{near(schema, known)}"


def _with(state: PrivilegeState | None, more: Mapping[str, frozenset[str]]) -> PrivilegeState | None:
    if not any(more.values()):
        return state
    return PrivilegeState(merged(entries_of(state), more), state.every if state else frozenset())
