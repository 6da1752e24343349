"""Who can do one thing with one object: everybody with the ways they have, and what still hinders them."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pgvillage.access.directory import Feed, Feeds
from pgvillage.access.live_object import LiveObject
from pgvillage.access.question import Question
from pgvillage.access.roles import RoleFacts, Roles
from pgvillage.access.ways import How, Spring, Way, Ways, after_set_role, springs, ways_to

_BY_POLICIES = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


class Hindrance(enum.StrEnum):
    """What stands between a login role and a privilege it has."""

    CONNECT = "no-connect"
    USAGE = "no-usage"
    EXPIRED = "password-expired"
    ROW_SECURITY = "row-security"


@dataclass(frozen=True, slots=True)
class Group:
    """Everyone who comes by the same way, those who log in first; `feed` is the directory's group that names them."""

    way: Way
    feed: Feed | None
    roles: tuple[RoleFacts, ...]

    @property
    def logins(self) -> int:
        return sum(role.login for role in self.roles)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one cluster answers. Who `has` it is in neither of the others: `after_set_role`, and `on_columns` only."""

    cluster: str
    question: Question
    found: LiveObject
    groups: tuple[Group, ...]
    has: frozenset[str]
    after_set_role: frozenset[str]
    on_columns: frozenset[str]
    hindered: Mapping[Hindrance, tuple[RoleFacts, ...]]
    feeds: Feeds
    read_at: datetime

    @property
    def roles(self) -> Roles:
        return self.found.roles


@dataclass(frozen=True, slots=True)
class Answers:
    """What every cluster of the scope said, by name. `failed` could not be read; `without` have no such object."""

    question: Question
    revision: str
    answers: tuple[Answer, ...]
    failed: tuple[tuple[str, str], ...]
    without: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.failed


def ways_on(found: LiveObject, question: Question) -> Ways:
    """Who has the privilege without doing anything, on the object or on the one column that is asked about."""
    roles, privilege = found.roles, question.privilege
    all_of = springs(found.listed, privilege, roles)
    if question.column:
        column = springs(found.columns[question.column], privilege, roles, (question.column,))
        all_of += [spring for spring in column if spring.how is not How.SUPERUSER]
    return ways_to(all_of, roles)


def ways_on_columns(found: LiveObject, question: Question) -> Ways:
    """Who has it on columns of the table, by those columns."""
    by_holder: dict[tuple[How, str, bool], list[str]] = defaultdict(list)
    for name, listed in found.columns.items() if not question.column else ():
        for spring in springs(listed, question.privilege, found.roles, (name,)):
            if spring.how is not How.SUPERUSER:
                by_holder[spring.how, spring.role, spring.grantable].append(name)
    several = [Spring(how, role, grantable, tuple(names)) for (how, role, grantable), names in by_holder.items()]
    return ways_to(several, found.roles)


def answer(question: Question, found: LiveObject, feeds: Feeds, cluster: str, now: datetime) -> Answer:
    """Everything about one object; linear in roles and memberships."""
    has = ways_on(found, question)
    later = after_set_role(has, found.roles)
    columns = ways_on_columns(found, question)
    partly = {role: ways for role, ways in columns.items() if role not in has}
    everyone = {**has, **{r: [*partly.get(r, ()), *later.get(r, ())] for r in {**partly, **later}}}
    return Answer(
        cluster,
        question,
        found,
        _grouped(everyone.items(), found.roles, feeds),
        frozenset(has),
        frozenset(later),
        frozenset(partly),
        _hindered(everyone, found, question, now),
        feeds,
        now,
    )


def _grouped(ways: Iterable[tuple[str, list[Way]]], roles: Roles, feeds: Feeds) -> tuple[Group, ...]:
    by_way: dict[tuple[Way, Feed | None], list[RoleFacts]] = defaultdict(list)
    for role, several in ways:
        facts = roles.of(role)
        for way in several:
            by_way[way, feeds.of(way.through[0], role) if way.through else None].append(facts)
    groups = [
        Group(way, feed, tuple(sorted(found, key=lambda r: (not r.login, r.name))))
        for (way, feed), found in by_way.items()
    ]
    return tuple(sorted(groups, key=lambda g: (not g.logins, bool(g.way.spring.columns), g.way.rank, g.feed is None)))


def _hindered(
    ways: Mapping[str, list[Way]], found: LiveObject, question: Question, now: datetime
) -> dict[Hindrance, tuple[RoleFacts, ...]]:
    roles = found.roles
    logins = sorted((role for role in ways if roles.of(role).login), key=str)
    can_connect = ways_to(springs(found.database, "CONNECT", roles), roles) if found.database else roles.facts
    inside = found.schema
    can_use = ways_to(springs(inside, "USAGE", roles), roles) if inside else roles.facts
    exempt = _exempt(found)
    by_policy = found.row_security and question.privilege.partition(" ")[0] in _BY_POLICIES
    result: dict[Hindrance, list[RoleFacts]] = defaultdict(list)
    for name in logins:
        facts = roles.of(name)
        acting = {way.set_role or name for way in ways[name]}  # after SET ROLE the other one's rights count
        if question.inside and name not in can_connect:
            result[Hindrance.CONNECT].append(facts)
        if not any(role in can_use for role in acting):
            result[Hindrance.USAGE].append(facts)
        if is_past(facts.valid_until, now):
            result[Hindrance.EXPIRED].append(facts)
        if by_policy and not any(role in exempt for role in acting):
            result[Hindrance.ROW_SECURITY].append(facts)
    return {each: tuple(result[each]) for each in Hindrance if each in result}


def is_past(valid_until: str | None, now: datetime) -> bool:
    """Whether a password's end lies behind; years of five digits and before Christ are none of ISO's."""
    try:
        return valid_until is not None and datetime.fromisoformat(valid_until) <= now
    except ValueError:
        return False


def _exempt(found: LiveObject) -> frozenset[str]:
    """Whom a table's policies do not bind."""
    names = {name for name, facts in found.roles.facts.items() if facts.superuser or facts.bypassrls}
    return frozenset(names if found.forced else names | set(found.roles.heirs(found.listed.owner)))
