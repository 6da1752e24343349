"""Ways to a privilege: by a grant, by ownership, by PUBLIC, by a predefined role, as superuser; and who has them."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pgvillage.access.roles import Chain, Roles
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION, each_entry
from pgvillage.resources.postgres.sql import PUBLIC

_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})
# What a predefined role gives on every object of a class (PostgreSQL's aclchk.c); one that is not there gives nothing.
_PREDEFINED = {
    "pg_read_all_data": {"table": frozenset({"SELECT"}), "sequence": frozenset({"SELECT"}),
                         "schema": frozenset({"USAGE"})},
    "pg_write_all_data": {"table": _WRITES, "sequence": _WRITES, "schema": frozenset({"USAGE"})},
    "pg_maintain": {"table": frozenset({"MAINTAIN"})},
}  # fmt: skip


class How(enum.StrEnum):
    """In the order in which people look for a reason."""

    SUPERUSER = "superuser"
    OWNER = "owner"
    GRANT = "grant"
    PREDEFINED = "predefined"
    PUBLIC = "public"


_ORDER = {how: index for index, how in enumerate(How)}


@dataclass(frozen=True, slots=True)
class Spring:
    """Where a privilege springs from: `role` holds it ('' for every superuser and for PUBLIC).

    `columns` are those it is limited to; empty is the whole object. `grantable`: it may be passed on.
    """

    how: How
    role: str = ""
    grantable: bool = False
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """How one role comes to a privilege: `through` leads from its own group to the spring's role.

    With `set_role` it has to SET ROLE to that one first: `through` leads there, and `then` from there on.
    """

    spring: Spring
    through: Chain = ()
    set_role: str = ""
    then: Chain = ()

    @property
    def rank(self) -> tuple[bool, int, int, Chain]:
        """Shortest and plainest first."""
        return bool(self.set_role), _ORDER[self.spring.how], len(self.through), self.through


@dataclass(frozen=True, slots=True)
class Listed:
    """An object's class, owner and access list, PostgreSQL's default one spelled out. `catalog`: a system table."""

    object_class: str
    owner: str
    acl: tuple[str, ...]
    catalog: bool = False


def springs(listed: Listed, privilege: str, roles: Roles, columns: tuple[str, ...] = ()) -> list[Spring]:
    """Everything that gives this privilege; one in ` WITH GRANT OPTION` asks who may pass it on."""
    bare = privilege.removesuffix(WITH_GRANT_OPTION)
    to_pass_on = bare != privilege
    found = [Spring(How.SUPERUSER, grantable=True)]
    if listed.catalog and bare in _WRITES | {"TRUNCATE"}:
        return found  # whoever may by the list, PostgreSQL lets only superusers
    held: dict[str, bool] = {}
    for grantee, privileges in each_entry(listed.acl):
        option = bare + WITH_GRANT_OPTION in privileges
        if option or (bare in privileges and not to_pass_on):
            held[grantee] = option or held.get(grantee, False)
    if to_pass_on and not columns:
        held[listed.owner] = True  # an owner may always grant, also what it took from itself
    for grantee, option in held.items():
        how = How.PUBLIC if grantee == PUBLIC else How.OWNER if grantee == listed.owner else How.GRANT
        found.append(Spring(how, "" if grantee == PUBLIC else grantee, option or how is How.OWNER, columns))
    if not to_pass_on:
        for role, classes in _PREDEFINED.items():
            if role in roles.facts and bare in classes.get(listed.object_class, ()):
                found.append(Spring(How.PREDEFINED, role))
    return found


Ways = dict[str, list[Way]]


def ways_to(found: Iterable[Spring], roles: Roles) -> Ways:
    """Who has it without doing anything, and every way: what PostgreSQL's has_…_privilege says is true of these."""
    result: Ways = {}
    for spring in found:
        for role, way in _ways_from(spring, roles):
            result.setdefault(role, []).append(way)
    for role, several in result.items():
        if roles.of(role).superuser:
            result[role] = [way for way in several if way.spring.how is How.SUPERUSER]
        elif len(several) > 1:
            several.sort(key=lambda way: way.rank)
    return result


def _ways_from(spring: Spring, roles: Roles) -> Iterator[tuple[str, Way]]:
    if spring.how in (How.SUPERUSER, How.PUBLIC):
        way = Way(spring)
        for role, facts in roles.facts.items():
            if spring.how is How.PUBLIC or facts.superuser:
                yield role, way
        return
    heirs = roles.heirs(spring.role)
    # Two thousand members of one group share one way.
    by_group = {role: Way(spring, (role, *chain)) for role, chain in heirs.items() if role in roles.members}
    for role in heirs:
        if role == spring.role:
            yield role, Way(spring)
            continue
        for group, membership in roles.groups[role].items():
            if membership.inherit and group in heirs:
                yield role, by_group[group]


def after_set_role(has: Ways, roles: Roles) -> Ways:
    """Who has it only after SET ROLE, with the way to the nearest role that has it."""
    chains = roles.may_become(has)
    found: Ways = {}
    for role, chain in chains.items():
        if role not in has and chain:
            best = has[chain[-1]][0]
            found[role] = [Way(best.spring, chain, chain[-1], best.through)]
    return found
