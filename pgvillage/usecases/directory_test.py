"""What directories answer to the estate's groups, and how: for who sets a directory up or looks for a fault in it."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pgvillage.core.errors import PgVillageError, Position, UsageError
from pgvillage.core.lookup import DirectoryVisit, GroupQuery, Unanswered
from pgvillage.estate.loader import Located, load_manifests
from pgvillage.estate.manifest import Group
from pgvillage.estate.people import query_of, sort_members
from pgvillage.settings import Directory
from pgvillage.usecases.ldapsearch import ldapsearch
from pgvillage.usecases.outcome import weightiest
from pgvillage.usecases.world import World


@dataclass(frozen=True, slots=True)
class GroupTest:
    """One group's answer. `people` maps each role to its DN; a DN to itself where no manifest names roles."""

    title: str
    query: GroupQuery
    position: Position | None
    problem: str
    people: Mapping[str, str]
    disabled: Mapping[str, str]
    left_out: Sequence[str]
    unfit: int
    command: str


@dataclass(frozen=True, slots=True)
class DirectoryTest:
    """`problem` says why the directory could not be asked at all."""

    name: str
    settings: Directory
    visit: DirectoryVisit
    problem: str
    groups: Sequence[GroupTest]

    @property
    def good(self) -> bool:
        return not self.problem and not any(group.problem for group in self.groups)


Asked = Sequence[tuple[GroupQuery, Located[Group] | None]]


async def try_directories(world: World, name: str | None, group: str | None) -> list[DirectoryTest]:
    """Each directory of the settings, or the one named, with the estate's groups, or the one named.

    A group given by its DN needs no estate. Raises UsageError for names that are not there.
    """
    known = world.settings.directories
    if name is not None and name not in known:
        raise UsageError(f"no directory {name!r} in the settings{_near(name, known)}")
    if group is not None and "=" in group:
        asked: Asked = [(GroupQuery(_only(name, known), group, nested=True), None)]
    else:
        asked = await _of_estate(world, group)
    names = [name] if name is not None else sorted({q.directory for q, _ in asked} if group else known)
    return list(
        await asyncio.gather(*(_try(world, one, [pair for pair in asked if pair[0].directory == one]) for one in names))
    )


def exit_of_tests(tests: Sequence[DirectoryTest]) -> int:
    """1 when nothing was answered, 6 when not everything was."""
    answered = any(not test.problem and any(not group.problem for group in test.groups) for test in tests)
    return weightiest(0 if test.good else 6 if answered else 1 for test in tests)


async def _of_estate(world: World, group: str | None) -> Asked:
    checkout = await asyncio.to_thread(world.checkout, None)
    manifests = load_manifests(checkout.root, world.names(), max_file_size=world.settings.repository.max_file_size)
    fed = [(query, g) for g in manifests.groups.values() if (query := query_of(g.document)) is not None]
    if group is None:
        return fed
    found = [(q, g) for q, g in fed if group in (g.document.metadata.name, g.document.role)]
    if not found:
        roles = [g.document.role for _, g in fed]
        raise UsageError(f"no group {group!r} of the estate has members from a directory{_near(group, roles)}")
    return found


def _only(name: str | None, known: Mapping[str, Directory]) -> str:
    if name is None and len(known) != 1:
        raise UsageError(f"which directory is to be asked? The settings have {', '.join(sorted(known)) or 'none'}")
    return name if name is not None else next(iter(known))


def _near(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names) or 'none'}"


async def _try(world: World, name: str, asked: Asked) -> DirectoryTest:
    settings = world.settings.directories[name]
    try:
        visit = await world.visit(name, {query for query, _ in asked})
    except PgVillageError as error:
        return DirectoryTest(name, settings, DirectoryVisit({}), str(error), ())
    groups = [_group_test(query, found, visit, settings) for query, found in asked]
    return DirectoryTest(name, settings, visit, "", sorted(groups, key=lambda group: group.title))


def _group_test(
    query: GroupQuery, found: Located[Group] | None, visit: DirectoryVisit, settings: Directory
) -> GroupTest:
    answer = visit.answers[query]
    title = found.document.role if found else query.group
    position = found.at("spec", "members") if found else None
    command = ldapsearch(query, settings, visit)
    if isinstance(answer, Unanswered):
        return GroupTest(title, query, position, answer.reason, {}, {}, (), 0, command)
    members = found.document.spec.members if found else None
    if members is None:
        people = {m.dn: m.dn for m in answer.members if not m.disabled}
        disabled = {m.dn: m.disabled for m in answer.members if m.disabled}
        return GroupTest(title, query, position, "", people, disabled, answer.skipped, answer.unfit, command)
    parts = sort_members(members, answer)
    people = {role: member.dn for role, member in sorted(parts.people, key=lambda one: one[0])}
    problem = parts.problem(members) or _collision(parts.people)
    return GroupTest(title, query, position, problem, people, parts.disabled, parts.left_out, answer.unfit, command)


def _collision(people: Sequence[tuple[str, object]]) -> str:
    names = [role for role, _ in people]
    twice = sorted({role for role in names if names.count(role) > 1}) if len(set(names)) < len(names) else []
    return f"several people would be the role {twice[0]}" if twice else ""
