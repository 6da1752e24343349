"""Who is in a group: the expansion of groups over any directory's entries, without I/O of its own.

The rule: an answer is given only when it is complete. What could not be read makes a group unanswered; a member that
was looked for and is not there is left out, in words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pgvillage.clients.ldap_dn import DnKey, InvalidDn, dn_key, fold, is_within, without_uid
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Member, Unanswered
from pgvillage.settings import Directory

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*\Z")
# The member attributes that each class of group may have.
_GROUP_CLASSES = {
    "groupofnames": {"member"}, "groupofmembers": {"member"}, "groupofentries": {"member"}, "group": {"member"},
    "groupofuniquenames": {"uniquemember"}, "ipausergroup": {"member"},
    "univentiongroup": {"uniquemember", "memberuid"},
    "posixgroup": {"memberuid", "member", "uniquemember"},
}  # fmt: skip
# posixGroup is an auxiliary class in RFC 2307bis: it may stand on a person.
_PERSON_CLASSES = {"person", "inetorgperson", "organizationalperson", "posixaccount", "account", "user"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as read: attributes by lower-case name without options; `cut` names one that came only in part."""

    dn: str
    key: DnKey
    attributes: Mapping[str, tuple[bytes, ...]]
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """The directory was asked and has no such entry, or shows none to this account."""


@dataclass(frozen=True, slots=True)
class Unread:
    """The entry could not be read; nothing may be concluded from it."""

    reason: str


Found = Entry | Missing | Unread


class Entries(Protocol):
    """Where entries come from. The look-ups answer for all they were asked, in few round trips."""

    def base_fault(self) -> str:
        """Why nothing can be said about what is below the base, or ''.

        Without this a wrong base would put every member outside it and make every group an empty one.
        """
        ...

    def by_dn(self, dns: Mapping[DnKey, str]) -> Mapping[DnKey, Found]: ...

    def by_user(self, values: Collection[str]) -> Mapping[str, Found]:
        """Entries below the base by the value (folded) of the settings' `user_attribute`."""
        ...


def sole(value: str, found: Collection[Entry], *, incomplete: bool) -> Found:
    """The one entry that a user's name stands for; two are no answer, and none is one only when all was searched."""
    distinct = {entry.key: entry for entry in found}
    if len(distinct) > 1:
        named = " and ".join(sorted(entry.dn for entry in distinct.values())[:2])
        return Unread(f"expected one entry called {value}, found {len(distinct)}: {named}; make the name unique")
    if not distinct and incomplete:
        return Unread(f"expected an entry called {value}, found only referrals to other directories; narrow the base")
    return next(iter(distinct.values()), Missing())


def attributes_to_read(settings: Directory, queries: Collection[GroupQuery]) -> list[str]:
    """Every attribute that answering needs, each once, and no other (by_user needs the `user_attribute` besides)."""
    names = {"objectclass", *(name.lower() for name in settings.member_attributes)}
    asked = {name.lower() for query in queries for name in query.attributes if _ATTRIBUTE.match(name)}
    return sorted(names | asked)


def query_fault(query: GroupQuery) -> str:
    """Why the question itself is wrong, or ''."""
    for name in query.attributes:
        if not _ATTRIBUTE.match(name):
            return f"{name!r} is not an attribute's name: expected letters, digits and '-'; correct the name template"
    try:
        dn_key(query.group)
    except InvalidDn as error:
        return f"{query.group!r} is not a distinguished name: {error}; correct the group in the manifest"
    return ""


def expand(
    settings: Directory, queries: Collection[GroupQuery], entries: Entries
) -> dict[GroupQuery, GroupAnswer | Unanswered]:
    """The answer to each question. Every entry is read once, whatever the number of groups it is in."""
    base_fault = entries.base_fault()
    if base_fault:
        return dict.fromkeys(queries, Unanswered(base_fault))
    answers: dict[GroupQuery, GroupAnswer | Unanswered] = {}
    good: list[GroupQuery] = []
    for query in queries:
        fault = query_fault(query)
        if fault:
            answers[query] = Unanswered(fault)
        else:
            good.append(query)
    known = _Known(settings, entries, dn_key(settings.base))
    known.read_all(good)
    answers.update((query, _Walk(known, query).answer()) for query in good)
    return answers


@dataclass(frozen=True, slots=True)
class _Reference:
    """A member value of a group: a DN, or a user's name; neither when it is no DN."""

    text: str
    key: DnKey | None = None
    user: str = ""


@dataclass(slots=True)
class _Known:
    """What was read during this call; shared by all questions."""

    settings: Directory
    entries: Entries
    base: DnKey
    dns: dict[DnKey, Found] = field(default_factory=dict)
    users: dict[str, Found] = field(default_factory=dict)
    members: dict[DnKey, tuple[_Reference, ...]] = field(default_factory=dict)

    def read_all(self, queries: Collection[GroupQuery]) -> None:
        """Read level by level: the groups, all their members, the members of the groups among these, and so on."""
        roots = {dn_key(query.group): query.group for query in queries}
        self.dns.update(self.entries.by_dn(roots))
        # A group that one question follows may be asked for by another without: both ways count as seen by themselves.
        level = {(dn_key(query.group), query.nested) for query in queries}
        seen = set(level)
        while level:
            self._read({reference for key, _ in level for reference in self.references(key)})
            level = {(key, True) for group, nested in level if nested for key in self._groups_in(group)} - seen
            seen |= level

    def _read(self, references: Collection[_Reference]) -> None:
        dns = {r.key: r.text for r in references if r.key and r.key not in self.dns and is_within(r.key, self.base)}
        users = {r.user for r in references if r.user} - self.users.keys()
        if dns:
            self.dns.update(self.entries.by_dn(dns))
        if users:
            self.users.update(self.entries.by_user(users))

    def _groups_in(self, group: DnKey) -> Iterator[DnKey]:
        for reference in self.references(group):
            found = self.find(reference)
            if reference.key and isinstance(found, Entry) and is_group(found):
                yield reference.key

    def find(self, reference: _Reference) -> Found:
        found = self.dns.get(reference.key) if reference.key else self.users.get(reference.user)
        return found or Unread("was not looked up; this is a fault of PgVillage")

    def references(self, group: DnKey) -> tuple[_Reference, ...]:
        if group not in self.members:
            found = self.dns.get(group)
            self.members[group] = tuple(self._parse(found)) if isinstance(found, Entry) else ()
        return self.members[group]

    def _parse(self, entry: Entry) -> Iterator[_Reference]:
        for name in self.settings.member_attributes:
            for raw in sorted(entry.attributes.get(name.lower(), ())):
                text = raw.decode(errors="backslashreplace")
                if name == "memberUid":
                    yield _Reference(text, user=fold(text.strip()))
                    continue
                dn = without_uid(text) if name == "uniqueMember" else text
                try:
                    yield _Reference(dn, dn_key(dn))
                except InvalidDn:
                    yield _Reference(dn)


@dataclass(slots=True)
class _Walk:
    """One question's way through what is known."""

    known: _Known
    query: GroupQuery
    people: dict[DnKey, Member] = field(default_factory=dict)
    skipped: dict[str, None] = field(default_factory=dict)
    fault: str = ""

    def answer(self) -> GroupAnswer | Unanswered:
        key = dn_key(self.query.group)
        root = self.known.dns.get(key, Missing())
        if isinstance(root, Missing):
            return Unanswered(
                f"group {self.query.group}: expected an entry, found none (or none that this account may read); "
                "correct the group's DN or the account's rights"
            )
        if isinstance(root, Unread):
            return Unanswered(f"group {self.query.group}: {root.reason}")
        self._follow(key, root)
        if self.fault:
            return Unanswered(f"group {self.query.group}: {self.fault}")
        return GroupAnswer(root.dn, tuple(self.people.values()), tuple(self.skipped))

    def _follow(self, key: DnKey, root: Entry) -> None:
        """Breadth first: `via` is a shortest chain. No group is visited twice: cycles end."""
        queue: list[tuple[DnKey, Entry, tuple[str, ...]]] = [(key, root, ())]
        seen = {root.key}
        for group_key, group, via in queue:
            self.fault = self.fault or group_fault(group, self.known.settings)
            for reference in self.known.references(group_key):
                member = self._member(reference)
                if member is None:
                    continue
                if not is_group(member) or reference.key is None:
                    self._add_person(reference, member, via)
                elif not self.query.nested:
                    self._skip(reference.text, "is a group, and nested groups are not followed here")
                elif member.key not in seen:
                    seen.add(member.key)
                    queue.append((reference.key, member, (*via, member.dn)))

    def _member(self, reference: _Reference) -> Entry | None:
        if reference.key is None and not reference.user:
            self._skip(reference.text, "is not a distinguished name")
            return None
        if reference.key and not is_within(reference.key, self.known.base):
            self._skip(reference.text, f"lies outside the base {self.known.settings.base}")
            return None
        found = self.known.find(reference)
        if isinstance(found, Unread):
            self.fault = self.fault or f"member {reference.text}: {found.reason}"
        if isinstance(found, Missing):
            self._skip(reference.text, "is not in the directory, or this account may not read it")
        return found if isinstance(found, Entry) else None

    def _add_person(self, reference: _Reference, entry: Entry, via: tuple[str, ...]) -> None:
        if entry.key in self.people:
            return
        values = {name.lower(): single_value(entry, name.lower()) for name in self.query.attributes}
        lacking = sorted(name for name, value in values.items() if not value)
        if lacking:
            self._skip(reference.text, f"has no readable {', '.join(lacking)}")
        else:
            self.people[entry.key] = Member(entry.dn, values, via)

    def _skip(self, member: str, why: str) -> None:
        self.skipped[f"{member}: {why}"] = None


def _classes(entry: Entry) -> set[str]:
    return {raw.decode(errors="replace").lower() for raw in entry.attributes.get("objectclass", ())}


def _has_members(entry: Entry) -> bool:
    return any(entry.attributes.get(name) for name in ("member", "uniquemember", "memberuid"))


def is_group(entry: Entry) -> bool:
    classes = _classes(entry)
    return _has_members(entry) or bool(classes & _GROUP_CLASSES.keys() and not classes & _PERSON_CLASSES)


def group_fault(entry: Entry, settings: Directory) -> str:
    """Why the members of this entry can't be known, or ''.

    A group whose member attribute the server hides from this account (an ACL) looks like an empty one: LDAP has no way
    to tell the two apart. What guards against it is the limit on drops.
    """
    if entry.cut:
        return (
            f"{entry.dn}: expected the whole of `{entry.cut.split(';')[0]}`, found only the part `{entry.cut}`; "
            "raise the server's limit of values (MaxValRange)"
        )
    asked = {name.lower() for name in settings.member_attributes}
    if any(entry.attributes.get(name) for name in asked):
        return ""
    classes = _classes(entry)
    fitting = classes & _GROUP_CLASSES.keys()
    if not fitting:
        shown = ", ".join(sorted(classes)) or "none that this account may read"
        return (
            f"{entry.dn} is not a group: it has no members and its object classes are {shown}; correct the group's DN"
        )
    if not any(_GROUP_CLASSES[name] & asked for name in fitting):
        return f"{entry.dn} is a {', '.join(sorted(fitting))}: add its member attribute to memberAttributes"
    return ""


def single_value(entry: Entry, name: str) -> str:
    """The one value that stands for the attribute, or ''.

    Of several, the one that names the entry (is in its RDN); else the first in sorted order, so that the choice stays
    the same from run to run. A value that is not UTF-8 counts as missing.
    """
    values = sorted(filter(None, map(_text, entry.attributes.get(name, ()))))
    naming = {value for kind, value in entry.key[0] if kind == name}
    return next((value for value in values if fold(value) in naming), values[0] if values else "")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""
