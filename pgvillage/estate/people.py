"""People: the roles that directory groups ask for, and what could not be learnt about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Source
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Lookups, Member, Unanswered
from pgvillage.core.plan import Finding
from pgvillage.estate.loader import Located
from pgvillage.estate.manifest import Group, User
from pgvillage.estate.manifest.common import NAME_BYTES, MemberOf
from pgvillage.estate.manifest.group import DropAfter, Members, fill_template, template_attributes

_MAX_NAMED = 5


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


@dataclass(frozen=True, slots=True)
class People:
    """`unanswered` maps a group's role to why its members are not known; nothing is taken from it then."""

    by_role: Mapping[str, Person]
    unanswered: Mapping[str, str]
    unanswered_directories: frozenset[str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Claim:
    group: Located[Group]
    members: Members
    member: Member


def gather_people(
    groups: Iterable[Located[Group]], users: Iterable[Located[User]], lookups: Lookups, cluster: str
) -> People:
    """Turn answered groups into people; a name that two entries share makes both groups unanswered."""
    claims: dict[str, list[_Claim]] = defaultdict(list)
    unanswered: dict[str, str] = {}
    directories: set[str] = set()
    findings: list[Finding] = []
    fed = [(g, g.document.spec.members) for g in groups if g.document.spec.ensure == "present"]
    for group, members in fed:
        if members is None or members.directory is None or members.group is None:
            continue
        role = group.document.role
        address = Address(cluster, "role", (role,))
        query = GroupQuery(members.directory, members.group, members.nested, template_attributes(members.role))
        answer = lookups.groups.get(query) or Unanswered("the directory was not asked")
        problem = answer.reason if isinstance(answer, Unanswered) else _too_many(answer, members)
        if problem or isinstance(answer, Unanswered):
            place = f"directory {members.directory}: "
            unanswered[role] = problem if problem.startswith(place) else place + problem
            directories.add(members.directory)
            continue
        findings += [Finding("warning", f"{quote_part(role)}: left out {text}", address) for text in _some(answer)]
        for member in answer.members:
            name, fault = _role_name(members, member)
            if fault:
                findings.append(
                    Finding("warning", f"{quote_part(role)}: left out {quote_part(member.dn)}: {fault}", address)
                )
            else:
                claims[name].append(_Claim(group, members, member))
    _refuse_collisions(claims, unanswered, directories)
    documents = {u.document.role for u in users} | {g.document.role for g, _ in fed}
    people = {role: _person(role, found) for role, found in claims.items()}
    findings += [
        Finding(
            "info",
            f"{quote_part(role)} is declared by a manifest and named by directory {people[role].directory}: "
            "the manifest owns its attributes, the directory its memberships",
            Address(cluster, "role", (role,)),
        )
        for role in sorted(documents & set(people))
    ]
    findings += [
        Finding(
            "error",
            f"{quote_part(role)}: members not known, nothing is taken away: {why}",
            Address(cluster, "role", (role,)),
        )
        for role, why in sorted(unanswered.items())
    ]
    return People(people, unanswered, frozenset(directories), tuple(findings))


def _too_many(answer: GroupAnswer, members: Members) -> str:
    if members.max is not None and len(answer.members) > members.max:
        return f"{len(answer.members)} members, and `max` allows {members.max}"
    return ""


def _some(answer: GroupAnswer) -> list[str]:
    shown = list(answer.skipped[:_MAX_NAMED])
    if len(answer.skipped) > _MAX_NAMED:
        shown.append(f"{len(answer.skipped) - _MAX_NAMED} more members")
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
        on_leave=DropAfter(drop=patient.drop, heir=heir),
        source=Source(position.file, position.line, first.members.directory or "", first.member.dn),
    )
