"""Profiles for what several roles have in the same words, so that it is written once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pgvillage.usecases.live_cluster import Document

_ROLES = 3  # this many with the same set are no accident
_PRIVILEGES = 3  # fewer are shorter to read than a name for them
_CLASSES = ("database", "schema", "table", "sequence", "function", "type")
_WHOLE = frozenset({"grant", "database", "schemas", "future"})
_ALL = {"INSERT", "SELECT", "UPDATE", "DELETE"}


def shared_profiles(specs: Iterable[Document], taken: Iterable[str]) -> dict[str, Document]:
    """Profiles by name; the grants of `specs` that they stand for are replaced."""
    grants: dict[str, list[tuple[int, Document]]] = defaultdict(list)
    for number, spec in enumerate(specs):
        for grant in spec.get("privileges", ()):
            if _is_whole(grant):
                grants[json.dumps(grant["grant"], sort_keys=True)].append((number, grant))
    names, profiles = set(taken), {}
    for text, found in sorted(grants.items(), key=lambda pair: -len(pair[1])):
        if len({number for number, _ in found}) < _ROLES:
            continue
        privileges = json.loads(text)
        name = _free(_name(privileges), names)
        names.add(name)
        profiles[name] = {c: found[0][1]["grant"][c] for c in _CLASSES if c in privileges}
        for _, grant in found:
            del grant["grant"]
            rest = dict(grant)
            grant.clear()
            grant |= {"profile": name, **rest}
    return profiles


def _is_whole(grant: Document) -> bool:
    """Of whole schemas, without the option, and not shorter than a profile's name."""
    privileges = grant.get("grant", {})
    return (
        set(grant) <= _WHOLE
        and "schemas" in grant
        and set(privileges) <= set(_CLASSES)
        and sum(map(len, privileges.values())) >= _PRIVILEGES
    )


def _name(privileges: Mapping[str, list[str]]) -> str:
    """`tables-select-insert`, `tables-write-truncate`: what it is mostly about, in the words of the grant."""
    return "-".join(_words(privileges)).lower().replace(" ", "-")[:60]


def _words(privileges: Mapping[str, list[str]]) -> Iterator[str]:
    main = [c for c in ("table", "function", "sequence", "type") if c in privileges]
    for object_class in main[:1] or list(privileges)[:1]:
        found = privileges[object_class]
        yield f"{object_class}s"
        yield from ["write"] if set(found) >= _ALL else []
        yield from [each for each in found if each not in _ALL or not set(found) >= _ALL]


def _free(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
