"""Privileges of living roles as manifests say them: whole schemas together, profiles by name, defaults as `future`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pgvillage.core.address import Address
from pgvillage.estate.manifest.common import CLUSTER_WIDE, NAMED, PrivilegeSet
from pgvillage.estate.view import BUILT_IN_PROFILES
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION, every_privilege
from pgvillage.resources.postgres.default_privilege import DefaultPrivilegeState
from pgvillage.resources.postgres.privilege_inventory import Inventory, PrivilegeState, place_of
from pgvillage.resources.postgres.signature import column_parts
from pgvillage.usecases.live_cluster import Document, States

_IN_SCHEMAS = ("table", "sequence", "function", "type")
_CLASSES = ("schema", *_IN_SCHEMAS)
# As the built-in ones, for roles that may connect because everybody may; they go into the Estate when they are used.
OWN_PROFILES: Mapping[str, Document] = {
    "schema-reader": {"schema": ["USAGE"], "table": ["SELECT"], "sequence": ["SELECT"]},
    "schema-writer": {
        "schema": ["USAGE"],
        "table": ["SELECT", "INSERT", "UPDATE", "DELETE"],
        "sequence": ["USAGE", "SELECT", "UPDATE"],
    },
}
_PROFILES = (
    *((name, BUILT_IN_PROFILES[name]) for name in ("owner", "writer", "reader")),
    *((name, PrivilegeSet.model_validate(OWN_PROFILES[name])) for name in ("schema-writer", "schema-reader")),
)

_Whole = dict[str, set[str]]  # class -> privileges on all there is of it
_Defaults = dict[str, dict[str, set[str]]]  # creator -> class -> privileges


@dataclass
class _Schema:
    """What one role has in one schema; the schema without a name stands for every schema of the database."""

    whole: _Whole = field(default_factory=lambda: defaultdict(set))
    named: dict[tuple[str, tuple[str, ...]], set[str]] = field(default_factory=lambda: defaultdict(set))
    columns: dict[tuple[str, tuple[str, ...]], set[str]] = field(default_factory=lambda: defaultdict(set))
    defaults: _Defaults = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))


@dataclass(frozen=True)
class LiveGrants:
    """Everything there is to say about grants in these databases."""

    privileges: States
    defaults: States
    inventory: Inventory
    major: int
    databases: Collection[str]
    profiles: Collection[tuple[str, PrivilegeSet]] = _PROFILES

    def by_role(self) -> dict[str, list[Document]]:
        """The entries of `privileges:` for every role that has any."""
        held: dict[str, dict[str, dict[str, _Schema]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(_Schema)))
        for name, state in self.privileges.items():
            object_class, database, schema = place_of(Address("", "privilege", name))
            known = database in self.databases or object_class in CLUSTER_WIDE
            if isinstance(state, PrivilegeState) and known:
                self._hold(held[name[-1]][database][schema], name, state)
        for (object_class, database, schema, creator, role), state in self.defaults.items():
            if isinstance(state, DefaultPrivilegeState) and database in self.databases:
                place = held[role][database][schema or _EVERY_SCHEMA]
                place.defaults[creator][object_class] |= state.privileges
        return {
            role: [each for database, schemas in sorted(found.items()) for each in self._of_database(database, schemas)]
            for role, found in held.items()
        }

    def _hold(self, schema: _Schema, name: tuple[str, ...], state: PrivilegeState) -> None:
        place, role = place_of(Address("", "privilege", name)), name[-1]
        mine = self.inventory.owned.get(place, {}).get(role, frozenset())
        grantable = self.inventory.names.get(place, frozenset()) - mine
        brought = self.inventory.brought.get((place, role), {})
        for privilege, held in state.entries.items():
            objects = held - brought.get(privilege, frozenset())  # what an extension gave needs no manifest
            if not objects:
                continue
            if place[0] == "column":
                self._hold_columns(schema, privilege, objects)
            elif place[0] in ("database", "schema") or (place[0] in _IN_SCHEMAS and objects >= grantable):
                schema.whole[place[0]].add(privilege)
            else:
                schema.named[f"{place[0]}s", tuple(sorted(objects))].add(privilege)

    @staticmethod
    def _hold_columns(schema: _Schema, privilege: str, objects: Collection[str]) -> None:
        by_table: dict[str, list[str]] = defaultdict(list)
        for table, column in sorted(map(column_parts, objects)):
            by_table[table].append(column)
        for table, columns in by_table.items():
            schema.columns[table, tuple(columns)].add(privilege)

    def _of_database(self, database: str, schemas: Mapping[str, _Schema]) -> Iterator[Document]:
        left = set(schemas[""].whole["database"]) if "" in schemas else set()
        connects = frozenset(left)
        same: dict[tuple[bool, str], tuple[Document, list[str]]] = {}
        for name, schema in sorted(schemas.items()):
            for piece in self._pieces(database, name, schema, connects) if name else ():
                # what is said of every schema and of one in the same words are still two things
                same.setdefault((name == _EVERY_SCHEMA, json.dumps(piece)), (piece, []))[1].append(name)
        for piece, _ in same.values():
            left -= self._brought(piece.get("profile", ""))
        where: Document = {"database": database} if database else {}
        yield from ({**grant, **where} for grant in self._spelt({"database": left}))
        if "" in schemas:
            yield from ({**_head_of(grant), **where, **grant} for grant in self._named(schemas[""]))
        for piece, names in same.values():
            future = {"future": piece.pop("future")} if "future" in piece else {}
            schemas_of = {} if names == [_EVERY_SCHEMA] else {"schemas": names}
            yield {**_head_of(piece), **where, **schemas_of, **piece, **future}

    def _brought(self, profile: str) -> set[str]:
        return next((self._all("database", p) for name, p in self.profiles if name == profile), set())

    def _all(self, object_class: str, profile: PrivilegeSet) -> set[str]:
        found = set(profile.of(object_class))
        return set(every_privilege(object_class, self.major)) if "ALL" in found else found

    def _pieces(self, database: str, name: str, schema: _Schema, connects: Collection[str]) -> list[Document]:
        """Profile, whole grants, named grants; then the default privileges that none of them stands for."""
        empty = {c for c in _IN_SCHEMAS if not self.inventory.names.get((c, database, name))}
        whole = {c: set(schema.whole[c]) for c in _CLASSES}
        if name != _EVERY_SCHEMA:
            for by_class in schema.defaults.values():
                for object_class in empty & set(by_class):
                    whole[object_class] |= by_class[object_class]
        pieces: list[tuple[Document, _Whole]] = []
        profile = self._profile(whole, empty, connects)
        if profile:
            covered = {c: self._all(c, profile[1]) for c in _CLASSES}
            whole = {c: whole[c] - covered[c] for c in _CLASSES}
            pieces.append(({"profile": profile[0]}, {c: covered[c] for c in _IN_SCHEMAS}))
        pieces += [(piece, _future_of(piece, self.major)) for piece in self._spelt(whole)]
        left = {creator: {c: set(p) for c, p in found.items()} for creator, found in schema.defaults.items()}
        for piece, future in pieces:
            creators = _taken(future, left)
            if creators:
                piece["future"] = {"creators": creators}
        return [*(piece for piece, _ in pieces), *self._named(schema), *self._only_future(name, left)]

    def _profile(self, whole: _Whole, empty: set[str], connects: Collection[str]) -> tuple[str, PrivilegeSet] | None:
        for name, profile in self.profiles:
            fits = all(
                self._all(c, profile) <= whole[c] or (c == "sequence" and c in empty and not whole[c])
                for c in _CLASSES
            )  # fmt: skip
            if fits and self._all("database", profile) <= set(connects):
                return name, profile
        return None

    def _spelt(self, whole: Mapping[str, set[str]]) -> Iterator[Document]:
        """A grant without the option, one with it."""
        for option in (False, True):
            grant: Document = {}
            for object_class, privileges in whole.items():
                found = {p.removesuffix(WITH_GRANT_OPTION) for p in privileges if _has_option(p) is option}
                if found:
                    grant[object_class] = self._short(object_class, found)
            if grant:
                yield {"grant": grant, **({"grantOption": True} if option else {})}

    def _short(self, object_class: str, privileges: set[str]) -> list[str]:
        if len(privileges) > 1 and privileges == every_privilege(object_class, self.major):
            return ["ALL"]
        return sorted(privileges, key=_ORDER.index)

    def _named(self, schema: _Schema) -> Iterator[Document]:
        for (key, objects), privileges in schema.named.items():
            names = [int(name) for name in objects] if key == NAMED["largeObject"] else list(objects)
            for grant in self._spelt({key.removesuffix("s"): privileges}):
                yield {**grant, key: names}
        for (table, columns), privileges in schema.columns.items():
            for grant in self._spelt({"column": privileges}):
                yield {
                    **grant,
                    "grant": {"table": grant["grant"]["column"]},
                    "tables": [table],
                    "columns": list(columns),
                }

    def _only_future(self, name: str, left: Mapping[str, Mapping[str, set[str]]]) -> Iterator[Document]:
        """For objects to come and none of those there are: `tables: []` says so."""
        same: dict[str, tuple[Document, list[str]]] = {}
        for creator, found in sorted(left.items()):
            for grant in self._spelt(found):
                same.setdefault(json.dumps(grant), (grant, []))[1].append(creator)
        for grant, creators in same.values():
            none: Document = {} if name == _EVERY_SCHEMA else {"tables": []}
            yield {**grant, **none, "future": {"creators": creators}}


def _head_of(piece: Document) -> Document:
    """What a person reads first, taken out of the piece."""
    return {key: piece.pop(key) for key in ("profile", "grant") if key in piece}


_EVERY_SCHEMA = "\0every"  # no schema's name holds a zero byte
_ORDER = (
    "CONNECT", "USAGE", "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN",
    "EXECUTE", "SET", "ALTER SYSTEM", "CREATE", "TEMPORARY",
)  # fmt: skip


def _has_option(privilege: str) -> bool:
    return privilege.endswith(WITH_GRANT_OPTION)


def _future_of(piece: Document, major: int) -> _Whole:
    option = WITH_GRANT_OPTION if piece.get("grantOption") else ""
    found: _Whole = {}
    for object_class in _IN_SCHEMAS:
        given = set(piece["grant"].get(object_class, ()))
        spelt: Iterable[str] = every_privilege(object_class, major) if "ALL" in given else given
        found[object_class] = {p + option for p in spelt}
    return found


def _taken(future: _Whole, left: Mapping[str, Mapping[str, set[str]]]) -> list[str]:
    """The creators whose defaults hold all of `future`, which is then taken from what is left of them."""
    if not any(future.values()):
        return []
    creators = [
        name for name, found in sorted(left.items()) if all(p <= found.get(c, set()) for c, p in future.items())
    ]
    for name in creators:
        for object_class, privileges in future.items():
            if privileges:
                left[name][object_class].difference_update(privileges)
    return creators
