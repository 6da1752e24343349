"""GRANT and REVOKE, merged over privileges and grantees, with explicit lists of objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pgvillage.core.address import Address
from pgvillage.core.step import Step
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION
from pgvillage.resources.postgres.privilege_inventory import place_of
from pgvillage.resources.postgres.signature import column_parts
from pgvillage.resources.postgres.sql import chunks, grantee, ident, idents, literal, qualified, step

# `ALL TABLES IN SCHEMA` scans pg_class for every statement; named objects do not. Many more would be slow to parse.
_OBJECTS_A_STATEMENT = 500
_KEYWORD = {
    "database": "DATABASE",
    "schema": "SCHEMA",
    "table": "TABLE",
    "column": "TABLE",
    "sequence": "SEQUENCE",
    "function": "ROUTINE",  # functions, procedures and aggregates alike
    "type": "TYPE",
    "language": "LANGUAGE",
    "foreignDataWrapper": "FOREIGN DATA WRAPPER",
    "foreignServer": "FOREIGN SERVER",
    "largeObject": "LARGE OBJECT",
    "tablespace": "TABLESPACE",
    "parameter": "PARAMETER",
}

Difference = tuple[str, frozenset[str], frozenset[str]]
Entries = Mapping[str, frozenset[str]]
_Place = tuple[str, str, str]


GivenByOthers = Callable[[Address, str], Mapping[str, frozenset[str]]]


def privilege_steps(
    changes: Iterable[tuple[Address, Sequence[Difference], Entries]],
    given_by_others: GivenByOthers,
    on_behalf_of: Mapping[Address, Address],
) -> Iterator[Step]:
    """Fewest statements: first over the privileges of one grantee, then over grantees that get the same.

    `on_behalf_of` tells for whose change a step is that restores what another one takes along.
    """
    # (verb, place, objects) -> grantee -> privileges
    wanted: dict[tuple[str, _Place, frozenset[str]], dict[Address, set[str]]] = defaultdict(lambda: defaultdict(set))
    for address, differences, after in changes:
        place = place_of(address)
        for verb, privilege, objects in _deeds(differences, after):
            wanted[verb, place, objects][address].add(privilege)
    revokes = [(key, found) for key, found in wanted.items() if key[0].startswith("revoke")]
    # what a holder of the option passed on stands in the way of taking the option from it
    yield from _as_grantors(revokes, given_by_others)
    for verb in ("revoke", "revoke option", "grant", "grant option"):
        for (found, place, objects), by_address in wanted.items():
            if found == verb:
                yield from _statements(verb, place, objects, by_address, on_behalf_of)


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
    verb: str,
    place: _Place,
    objects: frozenset[str],
    by_address: Mapping[Address, set[str]],
    on_behalf_of: Mapping[Address, Address],
) -> Iterator[Step]:
    same: dict[tuple[str, ...], list[Address]] = defaultdict(list)
    for address, wanted in by_address.items():
        same[tuple(sorted(wanted))].append(address)
    for privileges, addresses in same.items():
        roles = ", ".join(grantee(a.name[-1]) for a in addresses)
        done = [on_behalf_of.get(a, a) for a in addresses]
        for on in _on(place, privileges, objects):
            yield step(done, _statement(verb, on, roles), database=_database(place))


def _on(place: _Place, privileges: Iterable[str], objects: frozenset[str]) -> Iterator[str]:
    """`SELECT, INSERT ON TABLE a, b`, so many objects at a time; columns table by table."""
    keyword = _KEYWORD[place[0]]
    if place[0] == "column":
        by_table: dict[str, list[str]] = defaultdict(list)
        for table, column in sorted(map(column_parts, objects)):
            by_table[table].append(column)
        for table, columns in by_table.items():
            words = ", ".join(f"{privilege} ({idents(columns)})" for privilege in privileges)
            yield f"{words} ON {keyword} {qualified(place[2], table)}"
        return
    words = ", ".join(privileges)
    for names in chunks(sorted(objects), _OBJECTS_A_STATEMENT):
        yield f"{words} ON {keyword} {', '.join(_object(place, n) for n in names)}"


def _as_grantors(
    revokes: Iterable[tuple[tuple[str, _Place, frozenset[str]], Mapping[Address, set[str]]]],
    given_by_others: GivenByOthers,
) -> Iterator[Step]:
    """A holder of the grant option may have passed it on: only as that role can it be taken back."""
    found: list[tuple[str, Address, Step]] = []
    for (verb, place, objects), by_address in revokes:
        for address, privileges in by_address.items():
            for privilege in sorted(privileges):
                for grantor, given in sorted(given_by_others(address, privilege).items()):
                    for on in _on(place, (privilege,), given & objects):
                        revoke = _statement(verb, on, grantee(address.name[-1]))
                        body = f"BEGIN SET LOCAL ROLE {ident(grantor)}; {revoke}; RESET ROLE; END"
                        text = f"DO {literal(body)}"
                        found.append((grantor, address, step(address, text, database=_database(place))))
    while found:  # from the end of a chain: who passed it on further comes later
        grantors = {grantor for grantor, _, _ in found}
        ready = [each for each in found if each[1].name[-1] not in grantors] or found
        yield from (done for _, _, done in ready)
        found = [each for each in found if each not in ready]


def _database(place: _Place) -> str | None:
    return None if place[0] == "database" else place[1] or None


def _object(place: _Place, name: str) -> str:
    match place[0]:
        case "table" | "sequence" | "type":
            return qualified(place[2], name)
        case "function":
            return f"{ident(place[2])}.{name}"  # as the server's own quote_ident and format_type wrote it
        case "largeObject":
            return str(int(name))
        case "parameter":
            return qualified(*name.split("."))
        case _:
            return ident(name)


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
