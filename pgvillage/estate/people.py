"""People: the roles that directory groups ask for, and what could not be learnt about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Source
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Lookups, Member, Unanswered
from pgvillage.core.plan import Finding
from pgvillage.estate.loader import Located
from pgvillage.estate.manifest import Group, User
from pgvillage.estate.manifest.common import NAME_BYTES, MemberOf
from pgvillage.estate.manifest.group import DropAfter, Members, fill_template, template_attributes

_MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class Person:
    """A role that directories ask for: through which groups, and what is to happen when they stop asking."""

    role: str
    dn: str
    directory: str
    groups: tuple[str, ...]
    member_of: MemberOf
    connection_limit: int
    on_leave: DropAfter
    source: Source
    # Groups of the directory between a role's group and the entry, by role; direct members have none.
    via: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class People:
    """`unanswered` maps a group's role to why its members are not known; nothing is taken from it then."""

    by_role: Mapping[str, Person]
    unanswered: Mapping[str, str]
    unanswered_directories: frozenset[str]
    findings: tuple[Finding, ...]
    # Roles of accounts that are disabled or expired, with the reason in words; they are nobody's members.
    disabled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Claim:
    group: Located[Group]
    members: Members
    member: Member


def query_of(group: Group) -> GroupQuery | None:
    """The question that answers who is in this group; None where no directory says it."""
    members = group.spec.members
    if members is None or members.directory is None or group.spec.ensure != "present":
        return None
    attributes = template_attributes(members.role)
    if members.search:
        search = members.search
        return GroupQuery(members.directory, "", attributes=attributes, filter=search.filter, base=search.base or "")
    return GroupQuery(members.directory, members.group or "", members.nested, attributes, filter=members.filter or "")


def gather_people(
    groups: Iterable[Located[Group]], users: Iterable[Located[User]], lookups: Lookups, cluster: str
) -> People:
    """Turn answered groups into people; a name that two entries share makes both groups unanswered."""
    present = [g for g in groups if g.document.spec.ensure == "present"]
    gathered = _Gathered(cluster)
    for group in present:
        query = query_of(group.document)
        if query is not None:
            gathered.add(group, lookups.groups.get(query) or Unanswered("the directory was not asked"))
    _refuse_collisions(gathered.claims, gathered.unanswered, gathered.directories)
    documents = {u.document.role for u in users} | {g.document.role for g in present}
    people = {role: _person(role, found) for role, found in gathered.claims.items()}
    for role in sorted(documents & set(people)):
        gathered.say(
            "info",
            role,
            f" is declared by a manifest and named by directory {people[role].directory}: "
            "the manifest owns its attributes, the directory its memberships",
        )
    for role, why in sorted(gathered.unanswered.items()):
        text = f": members not known, nothing is taken away: {why}"
        gathered.say("error", role, text, blocks=role in gathered.mistaken)
    return People(
        people,
        gathered.unanswered,
        frozenset(gathered.directories),
        tuple(gathered.findings),
        {role: why for role, why in gathered.disabled.items() if role not in people},
    )


@dataclass(slots=True)
class _Gathered:
    """What the answers so far amount to."""

    cluster: str
    claims: dict[str, list[_Claim]] = field(default_factory=lambda: defaultdict(list))
    unanswered: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    disabled: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    # Groups whose question is wrong: no directory will ever answer it
    mistaken: set[str] = field(default_factory=set)

    def say(self, severity: Literal["error", "warning", "info"], role: str, text: str, *, blocks: bool = False) -> None:
        address = Address(self.cluster, "role", (role,))
        self.findings.append(Finding(severity, f"{quote_part(role)}{text}", address, blocks))

    def add(self, group: Located[Group], answer: GroupAnswer | Unanswered) -> None:
        members = group.document.spec.members
        assert members is not None
        role = group.document.role
        if isinstance(answer, Unanswered):
            self._unanswered(role, members, answer.reason)
            if answer.mistake:
                self.mistaken.add(role)
            return
        found = sort_members(members, answer)
        problem = found.problem(members)
        if problem:
            self._unanswered(role, members, problem)
            return
        if members.on_problem == "warn":
            for text in shortened(found.left_out, "members"):
                self.say("warning", role, f": left out {text}")
        if found.disabled:
            named = [f"{quote_part(name)} ({why})" for name, why in found.disabled.items()]
            self.say("info", role, f": no members: {', '.join(shortened(named, 'accounts'))}")
        self.disabled |= found.disabled
        for name, member in found.people:
            self.claims[name].append(_Claim(group, members, member))

    def _unanswered(self, role: str, members: Members, reason: str) -> None:
        directory = members.directory or ""
        place = f"directory {directory}: "
        self.unanswered[role] = reason if reason.startswith(place) else place + reason
        self.directories.add(directory)


@dataclass(frozen=True, slots=True)
class Sorted:
    """An answer's members by what becomes of them; roles by name, and why where there is one."""

    people: Sequence[tuple[str, Member]]
    disabled: Mapping[str, str]
    left_out: Sequence[str]

    def problem(self, members: Members) -> str:
        """Why nothing may be concluded from this answer, or ''."""
        if members.on_problem == "fail" and self.left_out:
            return f"onProblem is fail, and {'; '.join(shortened(self.left_out, 'members'))}"
        if members.max is not None and len(self.people) > members.max:
            return f"{len(self.people)} members, and `max` allows {members.max}"
        return ""


def sort_members(members: Members, answer: GroupAnswer) -> Sorted:
    people: list[tuple[str, Member]] = []
    disabled: dict[str, str] = {}
    left_out = list(answer.skipped)
    for member in answer.members:
        name, fault = _role_name(members, member)
        if fault:
            left_out.append(f"{quote_part(member.dn)}: {fault}")
        elif member.disabled and members.disabled == "leave":
            disabled[name] = member.disabled
        else:
            people.append((name, member))
    return Sorted(people, disabled, left_out)


def shortened(texts: Sequence[str], what: str) -> list[str]:
    shown = list(texts[:_MAX_NAMED])
    if len(texts) > _MAX_NAMED:
        shown.append(f"{len(texts) - _MAX_NAMED} more {what}")
    return shown


def _role_name(members: Members, member: Member) -> tuple[str, str]:
    missing = [a for a in template_attributes(members.role) if not member.attributes.get(a)]
    if missing:
        return "", f"the entry has no {', '.join(missing)}"
    name = fill_template(members.role, dict(member.attributes))
    if members.case == "lower":
        name = name.lower()
    if not name.isprintable():
        return "", "the role's name would hold control characters"
    if len(name.encode()) > NAME_BYTES:
        return "", f"the role's name {quote_part(name)} is longer than {NAME_BYTES} bytes"
    if name in ("public", "none") or name.startswith("pg_"):
        return "", f"the role's name {quote_part(name)} belongs to PostgreSQL"
    return name, ""


def _refuse_collisions(claims: dict[str, list[_Claim]], unanswered: dict[str, str], directories: set[str]) -> None:
    for role, found in list(claims.items()):
        if len(found) == 1:
            continue
        entries = {(claim.members.directory, claim.member.dn.lower()): claim.member.dn for claim in found}
        if len(entries) < 2:
            continue
        names = " and ".join(quote_part(dn) for dn in sorted(entries.values())[:2])
        for claim in found:
            unanswered[claim.group.document.role] = f"{names} would both be role {quote_part(role)}"
            directories.add(claim.members.directory or "")
    for role in list(claims):
        claims[role] = [c for c in claims[role] if c.group.document.role not in unanswered]
        if not claims[role]:
            del claims[role]


def _person(role: str, claims: list[_Claim]) -> Person:
    first = claims[0]
    position = first.group.at("spec", "members")
    drops = [c.members.on_leave for c in claims]
    # Several groups may say what happens at leaving: the most patient one wins, and an heir wherever one is named.
    patient = max(drops, key=lambda drop: 1_000_000 if drop.days is None else drop.days)
    heir = patient.heir or next((drop.heir for drop in drops if drop.heir), None)
    return Person(
        role=role,
        dn=first.member.dn,
        directory=first.members.directory or "",
        groups=tuple(sorted({c.group.document.role for c in claims})),
        member_of=[m for c in claims for m in c.members.member_of],
        connection_limit=max((c.members.connection_limit for c in claims), key=lambda n: n if n >= 0 else 1 << 40),
        on_leave=patient if patient.heir == heir else DropAfter(drop=patient.drop, heir=heir),
        source=Source(position.file, position.line, first.members.directory or "", first.member.dn),
        via={c.group.document.role: c.member.via for c in claims if c.member.via},
    )
