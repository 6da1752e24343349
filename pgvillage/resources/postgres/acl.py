"""Access control lists as PostgreSQL writes them (aclitem[]), parsed once for each distinct list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from pgvillage.resources.postgres.sql import PUBLIC

_LETTERS = {
    "r": "SELECT",
    "a": "INSERT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "m": "MAINTAIN",
    "U": "USAGE",
    "C": "CREATE",
    "c": "CONNECT",
    "T": "TEMPORARY",
    "X": "EXECUTE",
    "s": "SET",
    "A": "ALTER SYSTEM",
}
WITH_GRANT_OPTION = " WITH GRANT OPTION"

# What each class has by itself (acldefault) beside the owner's own rights, which are never counted.
_SCHEMA_PUBLIC_CLOSED_SINCE = 15
DEFAULT_PUBLIC: Mapping[str, frozenset[str]] = {
    "database": frozenset({"CONNECT", "TEMPORARY"}),
    "function": frozenset({"EXECUTE"}),
    "type": frozenset({"USAGE"}),
    "language": frozenset({"USAGE"}),
}
ALL: Mapping[str, tuple[str, ...]] = {
    "database": ("CREATE", "CONNECT", "TEMPORARY"),
    "schema": ("USAGE", "CREATE"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
    "column": ("SELECT", "INSERT", "UPDATE", "REFERENCES"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "function": ("EXECUTE",),
    "type": ("USAGE",),
    "language": ("USAGE",),
    "foreignDataWrapper": ("USAGE",),
    "foreignServer": ("USAGE",),
    "largeObject": ("SELECT", "UPDATE"),
    "tablespace": ("CREATE",),
    "parameter": ("SET", "ALTER SYSTEM"),
}
_MAINTAIN_SINCE = 17

Acl = Mapping[str, frozenset[str]]


def public_at_creation(place: tuple[str, str, str], major: int) -> frozenset[str]:
    """What PUBLIC will have on a database that is yet to be made, or on the `public` schema that comes with it."""
    if place[0] == "schema" and place[2] == "public":
        return frozenset({"USAGE"} if major >= _SCHEMA_PUBLIC_CLOSED_SINCE else {"USAGE", "CREATE"})
    return DEFAULT_PUBLIC.get(place[0], frozenset())


@lru_cache(maxsize=256)
def every_privilege(object_class: str, major: int) -> frozenset[str]:
    """What ALL means for a class on a server of this major version."""
    return frozenset(p for p in ALL[object_class] if p != "MAINTAIN" or major >= _MAINTAIN_SINCE)


def privileges_of(object_class: str, owner: str, entries: list[str] | None) -> Acl:
    """Privileges by grantee, the owner's own left out; None is the class's default list.

    A privilege that may be passed on ends in ` WITH GRANT OPTION`.
    """
    if entries is None:
        public = DEFAULT_PUBLIC.get(object_class)
        return {PUBLIC: public} if public else {}
    return _parse(owner, tuple(entries))


@lru_cache(maxsize=16384)
def owner_lacks(object_class: str, owner: str, entries: tuple[str, ...], major: int) -> frozenset[str]:
    """What an owner took from itself, or never had: a list that is not the default one spells its rights out."""
    held: set[str] = set()
    for entry in entries:
        grantee, letters, _ = _split(entry)
        if grantee == owner:
            held.update(p.removesuffix(WITH_GRANT_OPTION) for p in _privileges(letters))
    return every_privilege(object_class, major) - held


@lru_cache(maxsize=16384)
def _parse(owner: str, entries: tuple[str, ...]) -> Acl:
    found: dict[str, set[str]] = {}
    for entry in entries:
        grantee, letters, _ = _split(entry)
        if grantee != owner:
            found.setdefault(grantee or PUBLIC, set()).update(_privileges(letters))
    # The option includes the privilege, so one of the two says everything.
    return {g: frozenset(p for p in held if p + WITH_GRANT_OPTION not in held) for g, held in found.items() if held}


@lru_cache(maxsize=16384)
def passed_on(owner: str, entries: tuple[str, ...]) -> Mapping[tuple[str, str], frozenset[str]]:
    """Who besides the owner gave a privilege: (grantee, privilege) to grantors. The owner's REVOKE leaves these."""
    found: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        grantee, letters, grantor = _split(entry)
        if owner not in (grantor, grantee):
            for privilege in _privileges(letters):
                bare = privilege.removesuffix(WITH_GRANT_OPTION)
                found.setdefault((grantee or PUBLIC, bare), set()).add(grantor)
    return {key: frozenset(grantors) for key, grantors in found.items()}


def each_entry(entries: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every grantee with its privileges, the owner too; several grantors give several entries."""
    for entry in entries:
        grantee, letters, _ = _split(entry)
        yield grantee or PUBLIC, _privileges(letters)


@lru_cache(maxsize=65536)
def _split(entry: str) -> tuple[str, str, str]:
    """`"a role"=rw*/owner` as its grantee, letters and grantor."""
    grantee, rest = _name(entry, "=")
    letters, _, grantor = rest.partition("/")
    return grantee, letters, _name(grantor, "\0")[0]


def _name(text: str, end: str) -> tuple[str, str]:
    """A role's name, in double quotes where it is not plain, and what follows `end`."""
    if not text.startswith('"'):
        name, _, rest = text.partition(end)
        return name, rest
    found, at = [], 1
    while text[at] != '"' or text[at + 1 : at + 2] == '"':
        found.append(text[at])
        at += 2 if text[at] == '"' else 1
    return "".join(found), text[at + 2 :]


@lru_cache(maxsize=4096)
def _privileges(letters: str) -> tuple[str, ...]:
    names = []
    for index, letter in enumerate(letters):
        if letter != "*":
            option = WITH_GRANT_OPTION if letters[index + 1 : index + 2] == "*" else ""
            names.append(_LETTERS.get(letter, letter) + option)
    return tuple(names)
