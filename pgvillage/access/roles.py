"""Roles and who is a member of whom, as PostgreSQL follows memberships: for rights, and for SET ROLE."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

DATABASE_OWNER = "pg_database_owner"
_OPTIONS_SINCE = 16


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """`valid_until` is UTC text as `2026-06-30T00:00:00Z`, or None for no end."""

    name: str
    login: bool = False
    superuser: bool = False
    inherit: bool = True
    bypassrls: bool = False
    valid_until: str | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """One role's membership in another: do the rights come by themselves, may it SET ROLE, may it pass it on."""

    inherit: bool
    set: bool
    admin: bool


Chain = tuple[str, ...]
Follows = Callable[[Membership], bool]
Row = tuple[str, str, bool, bool | None, bool | None]  # group, member, admin, inherit, set


@dataclass(frozen=True)
class Roles:
    """`groups` maps a member to the roles it is directly a member of. Memberships make no circles."""

    facts: Mapping[str, RoleFacts]
    groups: Mapping[str, Mapping[str, Membership]]
    major: int

    @cached_property
    def members(self) -> Mapping[str, Mapping[str, Membership]]:
        """The same memberships from the groups' side."""
        found: dict[str, dict[str, Membership]] = {}
        for member, groups in self.groups.items():
            for group, membership in groups.items():
                found.setdefault(group, {})[member] = membership
        return found

    def of(self, name: str) -> RoleFacts:
        return self.facts.get(name) or RoleFacts(name)

    def in_database_of(self, owner: str) -> Roles:
        """The owner of the database one is in is a member of pg_database_owner there, and nobody else is."""
        if DATABASE_OWNER not in self.facts:
            return self  # before PostgreSQL 14
        inherits = self.major >= _OPTIONS_SINCE or self.of(owner).inherit
        own = {**self.groups.get(owner, {}), DATABASE_OWNER: Membership(inherits, set=True, admin=False)}
        return replace(self, groups={**self.groups, owner: own})

    def heirs(self, role: str) -> dict[str, Chain]:
        """Everyone who has this role's rights by itself, with the shortest chain of roles up to it, its own excluded.

        The role itself is among them with an empty chain.
        """
        return self._below([role], lambda membership: membership.inherit)

    def may_become(self, roles: Iterable[str]) -> dict[str, Chain]:
        """Everyone who may SET ROLE to one of these, with the chain to the nearest of them."""
        return self._below(roles, lambda membership: membership.set)

    def inherited(self, role: str) -> dict[str, Chain]:
        """Every role whose rights this one has by itself, with the chain up to it; itself with an empty one."""
        return self._above(role, lambda membership: membership.inherit)

    def becomes(self, role: str) -> dict[str, Chain]:
        """Every role that this one may SET ROLE to, with the chain."""
        return self._above(role, lambda membership: membership.set)

    def _below(self, roles: Iterable[str], follows: Follows) -> dict[str, Chain]:
        found: dict[str, Chain] = dict.fromkeys(sorted(roles), ())
        queue = deque(found)
        while queue:
            group = queue.popleft()
            chain = (group, *found[group])
            for member, membership in self.members.get(group, {}).items():
                if member not in found and follows(membership):
                    found[member] = chain
                    queue.append(member)
        return found

    def _above(self, role: str, follows: Follows) -> dict[str, Chain]:
        found: dict[str, Chain] = {role: ()}
        queue = deque([role])
        while queue:
            member = queue.popleft()
            for group, membership in sorted(self.groups.get(member, {}).items()):
                if group not in found and follows(membership):
                    found[group] = (*found[member], group)
                    queue.append(group)
        return found


def roles_of(facts: Iterable[RoleFacts], rows: Iterable[Row], major: int) -> Roles:
    """From (group, member, admin, inherit, set); before PostgreSQL 16 the member's own INHERIT decides for all."""
    by_name = {each.name: each for each in facts}
    shared: dict[tuple[bool, bool, bool], Membership] = {}
    groups: dict[str, dict[str, Membership]] = {}
    for group, member, admin, inherit, may_set in rows:
        inherits = (by_name.get(member) or RoleFacts(member)).inherit if inherit is None else inherit
        key = (inherits, True if may_set is None else may_set, admin)
        groups.setdefault(member, {})[group] = shared.get(key) or shared.setdefault(key, Membership(*key))
    return Roles(by_name, groups, major)
