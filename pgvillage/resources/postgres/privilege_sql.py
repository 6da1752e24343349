"""GRANT and REVOKE, merged over privileges and grantees, with explicit lists of objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pgvillage.core.address import Address
from pgvillage.core.step import Step
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION
from pgvillage.resources.postgres.sql import chunks, grantee, ident, literal, qualified, step

# `ALL TABLES IN SCHEMA` scans pg_class for every statement; named objects do not. Many more would be slow to parse.
_OBJECTS_A_STATEMENT = 500
_KEYWORD = {"database": "DATABASE", "schema": "SCHEMA", "table": "TABLE", "sequence": "SEQUENCE"}

Difference = tuple[str, frozenset[str], frozenset[str]]
Entries = Mapping[str, frozenset[str]]
_Place = tuple[str, ...]


GivenByOthers = Callable[[Address, str], Mapping[str, frozenset[str]]]


def privilege_steps(
    changes: Iterable[tuple[Address, Sequence[Difference], Entries]], given_by_others: GivenByOthers
) -> Iterator[Step]:
    """Fewest statements: first over the privileges of one grantee, then over grantees that get the same."""
    # (verb, place, objects) -> grantee -> privileges
    wanted: dict[tuple[str, _Place, frozenset[str]], dict[Address, set[str]]] = defaultdict(lambda: defaultdict(set))
    for address, differences, after in changes:
        place = address.name[:-1]
        for verb, privilege, objects in _deeds(differences, after):
            wanted[verb, place, objects][address].add(privilege)
    for verb in ("revoke", "revoke option", "grant", "grant option"):
        for (found, place, objects), by_address in wanted.items():
            if found == verb:
                yield from _statements(verb, place, objects, by_address)
                if verb.startswith("revoke"):
                    yield from _as_grantors(verb, place, objects, by_address, given_by_others)


def _deeds(differences: Sequence[Difference], after: Entries) -> Iterator[tuple[str, str, frozenset[str]]]:
    had = {name: before for name, before, _ in differences}
    for name, before, now in differences:
        bare, option, _ = name.partition(WITH_GRANT_OPTION)
        lost, gained = before - now, now - before
        if not option:
            gained -= had.get(bare + WITH_GRANT_OPTION, frozenset())  # the option included it
        if gained:
            yield ("grant option" if option else "grant"), bare, gained
        if not lost:
            continue
        twin = bare if option else bare + WITH_GRANT_OPTION
        elsewhere = lost & after.get(twin, frozenset())
        if elsewhere and option:
            yield "revoke option", bare, elsewhere
        if lost - elsewhere:
            yield "revoke", bare, lost - elsewhere


def _statements(
    verb: str, place: _Place, objects: frozenset[str], by_address: Mapping[Address, set[str]]
) -> Iterator[Step]:
    same: dict[tuple[str, ...], list[Address]] = defaultdict(list)
    for address, wanted in by_address.items():
        same[tuple(sorted(wanted))].append(address)
    database = None if place[0] == "database" else place[1]
    for privileges, addresses in same.items():
        roles = ", ".join(grantee(a.name[-1]) for a in addresses)
        for names in chunks(sorted(objects), _OBJECTS_A_STATEMENT):
            on = f"{', '.join(privileges)} ON {_KEYWORD[place[0]]} {', '.join(_object(place, n) for n in names)}"
            yield step(addresses, _statement(verb, on, roles), database=database)


def _as_grantors(
    verb: str,
    place: _Place,
    objects: frozenset[str],
    by_address: Mapping[Address, set[str]],
    given_by_others: GivenByOthers,
) -> Iterator[Step]:
    """A holder of the grant option may have passed it on: only as that role can it be taken back."""
    database = None if place[0] == "database" else place[1]
    for address, privileges in by_address.items():
        for privilege in sorted(privileges):
            for grantor, given in sorted(given_by_others(address, privilege).items()):
                if names := sorted(given & objects):
                    on = f"{privilege} ON {_KEYWORD[place[0]]} {', '.join(_object(place, n) for n in names)}"
                    revoke = _statement(verb, on, grantee(address.name[-1]))
                    body = f"BEGIN SET LOCAL ROLE {ident(grantor)}; {revoke}; RESET ROLE; END"
                    yield step(address, f"DO {literal(body)}", database=database)


def _object(place: _Place, name: str) -> str:
    return ident(name) if place[0] in ("database", "schema") else qualified(place[2], name)


def _statement(verb: str, on: str, roles: str) -> str:
    match verb:
        case "revoke":
            return f"REVOKE {on} FROM {roles}"
        case "revoke option":
            return f"REVOKE GRANT OPTION FOR {on} FROM {roles}"
        case "grant":
            return f"GRANT {on} TO {roles}"
        case _:
            return f"GRANT {on} TO {roles} WITH GRANT OPTION"
