"""Access control lists as PostgreSQL writes them (aclitem[]), parsed once for each distinct list."""

from __future__ import annotations

from collections.abc import Mapping
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
DEFAULT_PUBLIC: Mapping[str, frozenset[str]] = {"database": frozenset({"CONNECT", "TEMPORARY"})}
ALL: Mapping[str, tuple[str, ...]] = {
    "database": ("CREATE", "CONNECT", "TEMPORARY"),
    "schema": ("USAGE", "CREATE"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
}
_MAINTAIN_SINCE = 17

Acl = Mapping[str, frozenset[str]]


def public_at_creation(place: tuple[str, str, str], major: int) -> frozenset[str]:
    """What PUBLIC will have on a database that is yet to be made, or on the `public` schema that comes with it."""
    if place[0] == "schema" and place[2] == "public":
        return frozenset({"USAGE"} if major >= _SCHEMA_PUBLIC_CLOSED_SINCE else {"USAGE", "CREATE"})
    return DEFAULT_PUBLIC.get(place[0], frozenset())


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
def _parse(owner: str, entries: tuple[str, ...]) -> Acl:
    found: dict[str, set[str]] = {}
    for entry in entries:
        grantee, letters = _split(entry)
        if grantee != owner:
            found.setdefault(grantee or PUBLIC, set()).update(_privileges(letters))
    # The option includes the privilege, so one of the two says everything.
    return {g: frozenset(p for p in held if p + WITH_GRANT_OPTION not in held) for g, held in found.items() if held}


def _split(entry: str) -> tuple[str, str]:
    """`"a role"=rw*/owner` as its grantee and letters."""
    if not entry.startswith('"'):
        grantee, _, rest = entry.partition("=")
        return grantee, rest.partition("/")[0]
    name, at = [], 1
    while entry[at] != '"' or entry[at + 1 : at + 2] == '"':
        name.append(entry[at])
        at += 2 if entry[at] == '"' else 1
    return "".join(name), entry[at + 2 :].partition("/")[0]


def _privileges(letters: str) -> list[str]:
    names = []
    for index, letter in enumerate(letters):
        if letter != "*":
            option = WITH_GRANT_OPTION if letters[index + 1 : index + 2] == "*" else ""
            names.append(_LETTERS.get(letter, letter) + option)
    return names
