"""Grants gathered one by one, and said again as people would: profiles, whole schemas together, `future`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgvillage.estate.view import BUILT_IN_PROFILES
from pgvillage.imports.expressible import FUTURE_CLASSES, NAMED_CLASSES
from pgvillage.imports.reading import Node

Document = dict[str, Any]
_ByClass = dict[str, frozenset[str]]
_ORDER = (
    "CONNECT", "USAGE", "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN",
    "CREATE", "TEMPORARY",
)  # fmt: skip
_CLASSES = ("database", "schema", "table", "sequence")


def _sets() -> dict[str, set[str]]:
    return defaultdict(set)


@dataclass(eq=False)
class _Place:
    """What one role has in one schema; the schema without a name is the database itself, or all its schemas."""

    whole: dict[str, set[str]] = field(default_factory=_sets)
    named: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    future: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(_sets))


_Key = tuple[str, str, bool]  # role, database, with grant option


@dataclass(eq=False)
class Grants:
    """Everything granted, by role, database and schema."""

    held: dict[_Key, dict[str, _Place]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(_Place)))
    nodes: dict[str, Node] = field(default_factory=dict)  # role -> where it is first granted something

    def node(self, role: str, default: Node) -> Node:
        return self.nodes.get(role, default)

    def whole(self, key: _Key, schema: str, object_class: str, privileges: Iterable[str]) -> None:
        """On the database, on the schema, or on every object of the class in the schema."""
        self.held[key][schema].whole[object_class].update(privileges)

    def named(self, key: _Key, schema: str, object_class: str, name: str, privileges: Iterable[str]) -> None:
        """On one object of the class."""
        self.held[key][schema].named[object_class, name].update(privileges)

    def future(self, key: _Key, schema: str, creator: str, object_class: str, privileges: Iterable[str]) -> None:
        """On objects that the creator makes later; without a schema in every schema of the database."""
        self.held[key][schema].future[creator][object_class].update(privileges)

    def profile(self, key: _Key, schemas: Iterable[str], profile: str, creators: Iterable[str]) -> None:
        """What a built-in profile stands for, on these schemas, and on what these creators make there later."""
        has, makers = BUILT_IN_PROFILES[profile], list(creators)
        self.whole(key, "", "database", has.of("database"))
        for schema in schemas:
            for object_class in ("schema", *sorted(FUTURE_CLASSES)):
                self.whole(key, schema, object_class, has.of(object_class))
            for creator in makers:
                for object_class in sorted(FUTURE_CLASSES):
                    self.future(key, schema, creator, object_class, has.of(object_class))

    def classes(self) -> set[str]:
        """Classes of objects that something is granted on."""
        places = [place for found in self.held.values() for place in found.values()]
        whole = {c for place in places for c in place.whole} | {c for place in places for c, _ in place.named}
        return whole | {c for place in places for found in place.future.values() for c in found}

    def databases(self) -> set[str]:
        return {database for _, database, _ in self.held}

    def creators_in(self, database: str, schema: str) -> list[str]:
        """Roles that the file itself lets create objects in this schema."""
        return sorted(
            role
            for (role, where, _), places in self.held.items()
            if where == database and schema in places and places[schema].whole["schema"] & {"CREATE", "ALL"}
        )

    def of(self, role: str) -> list[Document]:
        """The entries of `privileges:` for this role."""
        keys = sorted(key for key in self.held if key[0] == role)
        return [entry for key in keys for entry in _entries(key, self.held[key])]


def _entries(key: _Key, places: Mapping[str, _Place]) -> Iterator[Document]:
    _, database, option = key
    base = {"database": database}
    more: Document = {"grantOption": True} if option else {}
    left = set(places[""].whole["database"]) if "" in places else set()
    connects = frozenset(left)
    same: dict[str, tuple[Document, list[str]]] = {}
    for schema, place in sorted(places.items()):
        for piece in _pieces(place, everywhere=not schema, connects=connects):
            same.setdefault(json.dumps([bool(schema), piece]), (piece, []))[1].append(schema)
    for piece, _ in same.values():
        if "profile" in piece:
            left -= BUILT_IN_PROFILES[piece["profile"]].of("database")
    if left:
        yield {"grant": {"database": _sorted(left)}, **base, **more}
    for piece, schemas in same.values():
        head: Document = {k: piece[k] for k in ("profile", "grant") if k in piece}
        where: Document = {"schemas": schemas} if schemas != [""] else {}
        rest = {k: v for k, v in piece.items() if k not in ("profile", "grant")}
        future = {"future": rest.pop("future")} if "future" in rest else {}
        yield {**head, **base, **where, **rest, **more, **future}


def _pieces(place: _Place, *, everywhere: bool, connects: frozenset[str]) -> Iterator[Document]:
    """The whole of it by profile or spelt, with the creators for whom the same holds; then what is left."""
    whole: _ByClass = {c: frozenset(p) for c, p in place.whole.items() if p and c != "database"}
    future = {who: {c: frozenset(p) for c, p in found.items() if p} for who, found in sorted(place.future.items())}
    said: set[str] = set()
    if whole and not everywhere:
        coming = {c: p for c, p in whole.items() if c in FUTURE_CLASSES}
        if coming:
            said = {who for who, found in future.items() if found == coming}
        profile = _profile(whole, connects)
        piece: Document = {"profile": profile} if profile else {"grant": _spelt(whole)}
        yield {**piece, **({"future": {"creators": sorted(said)}} if said else {})}
    yield from _named(place)
    yield from _only_future({who: found for who, found in future.items() if who not in said}, everywhere=everywhere)


def _profile(whole: _ByClass, connects: frozenset[str]) -> str:
    """The built-in profile that says exactly this, or nothing."""
    for name, profile in BUILT_IN_PROFILES.items():
        wanted = {c: profile.of(c) for c in ("schema", "table", "sequence")}
        if whole == {c: p for c, p in wanted.items() if p} and profile.of("database") <= connects:
            return name
    return ""


def _named(place: _Place) -> Iterator[Document]:
    same: dict[str, tuple[str, set[str], list[str]]] = {}
    for (object_class, name), privileges in sorted(place.named.items()):
        words = json.dumps([object_class, _sorted(privileges)])
        same.setdefault(words, (object_class, privileges, []))[2].append(name)
    for object_class, privileges, names in same.values():
        yield {"grant": {object_class: _sorted(privileges)}, NAMED_CLASSES[object_class]: names}


def _only_future(future: Mapping[str, _ByClass], *, everywhere: bool) -> Iterator[Document]:
    """For objects to come and none of those there are: `tables: []` says so."""
    same: dict[str, tuple[_ByClass, list[str]]] = {}
    for who, found in future.items():
        same.setdefault(json.dumps(_spelt(found)), (found, []))[1].append(who)
    for found, creators in same.values():
        none: Document = {} if everywhere else {"tables": []}
        yield {"grant": _spelt(found), **none, "future": {"creators": creators}}


def _spelt(by_class: _ByClass) -> Document:
    order = [*_CLASSES, *sorted(set(by_class) - set(_CLASSES))]
    return {c: _sorted(by_class[c]) for c in order if by_class.get(c)}


def _sorted(privileges: Iterable[str]) -> list[str]:
    found = set(privileges)
    if "ALL" in found:
        return ["ALL"]
    return sorted(found, key=lambda p: (_ORDER.index(p) if p in _ORDER else len(_ORDER), p))
