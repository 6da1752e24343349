"""Who is in a group: the expansion of groups over any directory's entries, without I/O of its own.

The rule: an answer is given only when it is complete. What could not be read makes a group unanswered; a member that
was looked for and is not there is left out, in words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pgvillage.clients.directory_known import Known, Reference
from pgvillage.clients.ldap_accounts import ATTRIBUTES as ACCOUNT_ATTRIBUTES
from pgvillage.clients.ldap_accounts import why_disabled
from pgvillage.clients.ldap_attributes import unknown_attributes
from pgvillage.clients.ldap_dn import DnKey, InvalidDn, dn_key, is_within, parent_dn
from pgvillage.clients.ldap_entry import Entries, Entry, Missing, Unread, single_value
from pgvillage.clients.ldap_groups import group_fault, is_computer, is_group, primary_members
from pgvillage.core.ldap_filter import InvalidFilter, attributes_of, parse_filter
from pgvillage.core.lookup import GroupAnswer, GroupQuery, Member, Unanswered
from pgvillage.settings import Directory

Answers = dict[GroupQuery, GroupAnswer | Unanswered]
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*\Z")


def attributes_to_read(settings: Directory, queries: Collection[GroupQuery]) -> list[str]:
    """Every attribute that answering needs, each once, and no other (by_user needs the `user_attribute` besides)."""
    names = {"objectclass", "objectsid", *ACCOUNT_ATTRIBUTES, *(name.lower() for name in settings.member_attributes)}
    asked = {name.lower() for query in queries for name in query.attributes if _ATTRIBUTE.match(name)}
    return sorted(names | asked)


def query_fault(query: GroupQuery, base: DnKey) -> str:
    """Why the question itself is wrong, or ''."""
    for name in query.attributes:
        if not _ATTRIBUTE.match(name):
            return f"{name!r} is not an attribute's name: expected letters, digits and '-'; correct the name template"
    named = query.group or query.base
    try:
        key = dn_key(named) if named else base
    except InvalidDn as error:
        what = "group" if query.group else "search base"
        return f"{named!r} is not a distinguished name: {error}; correct the {what} in the manifest"
    try:
        if query.filter:
            parse_filter(query.filter)
    except InvalidFilter as error:
        return f"{query.filter!r} is not a filter: {error}; correct it in the manifest"
    if not query.group and not is_within(key, base):
        return f"the search base {query.base} lies outside the directory's base; correct it in the manifest"
    return ""


def expand(settings: Directory, queries: Collection[GroupQuery], entries: Entries, now: datetime) -> Answers:
    """The answer to each question. Every entry is read once, whatever the number of groups it is in."""
    base_fault = entries.base_fault()
    if base_fault:
        return dict.fromkeys(queries, Unanswered(base_fault))
    base = dn_key(settings.base)
    faults = {query: query_fault(query, base) for query in queries}
    good = [query for query in queries if not faults[query]]
    answers: Answers = {query: Unanswered(fault, mistake=True) for query, fault in faults.items() if fault}
    known = Known(settings, entries, base)
    known.read_all([query for query in good if query.group])
    answers.update((query, _Walk(known, query, now).answer()) for query in good)
    return answers


@dataclass(slots=True)
class _Walk:
    """One question's way through what is known."""

    known: Known
    query: GroupQuery
    now: datetime
    people: dict[DnKey, tuple[Entry, tuple[str, ...]]] = field(default_factory=dict)
    skipped: dict[str, None] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    missing_users: int = 0
    found_users: int = 0
    fault: str = ""
    mistake: bool = False

    def answer(self) -> GroupAnswer | Unanswered:
        answer = self._of_group() if self.query.group else self._of_search()
        if isinstance(answer, GroupAnswer):
            return answer
        return Unanswered(f"{self.query.title}: {answer}", self.mistake)

    def _unknown(self, names: Iterable[str]) -> str:
        """What is wrong with attributes that the manifest names, or ''."""
        fault = unknown_attributes(names, self.known.entries)
        self.mistake = bool(fault)
        return fault

    def _of_group(self) -> GroupAnswer | str:
        key = dn_key(self.query.group)
        root = self.known.dns.get(key, Missing())
        if isinstance(root, Missing):
            return (
                "expected an entry, found none (or none that this account may read); "
                "correct the group's DN or the account's rights"
            )
        if isinstance(root, Unread):
            return root.reason
        self._follow(key, root)
        self.fault = self.fault or self._users_fault() or self._place_fault()
        found = len(self.people)
        self.fault = self.fault or self._keep_matching()
        return self.fault or self._members(root.dn, found - len(self.people))

    def _of_search(self) -> GroupAnswer | str:
        wanted = parse_filter(self.query.filter)
        base = self.query.base or self.known.settings.base
        unknown = self._unknown(attributes_of(wanted))
        if unknown:
            return unknown
        found = self.known.entries.search(base, wanted)
        if isinstance(found, Unread):
            return found.reason
        if not found:
            # Unlike a group, which is an entry of its own, nothing tells an empty search from a mistyped one.
            return f"expected people below {base}, found nobody; correct the filter or remove the group"
        self.people = {entry.key: (entry, ()) for entry in found}
        return self._members(base, 0)

    def _follow(self, key: DnKey, root: Entry) -> None:
        """Breadth first: `via` is a shortest chain. No group is visited twice: cycles end."""
        queue: list[tuple[DnKey, Entry, tuple[str, ...]]] = [(key, root, ())]
        seen = {root.key}
        for group_key, group, via in queue:
            fault = group_fault(group, self.known.settings) or self.known.backlink_fault(group_key)
            self.fault = self.fault or fault
            if primary := primary_members(group):
                self._skip(group.dn, primary)
            for reference in self.known.references(group_key):
                member = self._member(reference)
                if member is None:
                    continue
                if is_computer(member):
                    self._skip(member.dn, "is a computer; `search` finds these too")
                elif not is_group(member) or reference.key is None:
                    self.people.setdefault(member.key, (member, via))
                elif not self.query.nested:
                    self._skip(reference.text, "is a group, and nested groups are not followed here")
                elif member.key not in seen:
                    seen.add(member.key)
                    queue.append((reference.key, member, (*via, member.dn)))

    def _member(self, reference: Reference) -> Entry | None:
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
            if reference.key:
                self.missing.append(reference.text)
            self._skip(reference.text, "is not in the directory, or this account may not read it")
        if reference.user:
            self.missing_users += isinstance(found, Missing)
            self.found_users += isinstance(found, Entry)
        return found if isinstance(found, Entry) else None

    def _users_fault(self) -> str:
        """Where no memberUid leads anywhere, what they are looked up by may be mistyped."""
        if self.found_users or not self.missing_users:
            return ""
        fault = unknown_attributes([self.known.settings.user_attribute], self.known.entries)
        return fault and f"userAttribute of the settings: {fault}"

    def _place_fault(self) -> str:
        """Where nobody of the group is found, nor the place they are in, that part may be hidden from this account."""
        if self.people:
            return ""
        places = {dn_key(dn): dn for dn in map(parent_dn, self.missing) if dn}
        places.pop(self.known.base, None)  # was read
        found = self.known.entries.by_dn(places) if places else {}
        hidden = [dn for key, dn in places.items() if not isinstance(found.get(key), Entry)]
        if not hidden:
            return ""
        return (
            f"none of its members was found, and {hidden[0]}, where they should be, is not there or may not be read; "
            "let the account read it, or take them out of the group"
        )

    def _keep_matching(self) -> str:
        """Leave out people that the question's filter leaves out; why that can't be done, or ''."""
        if not self.query.filter or not self.people:
            return ""
        wanted = parse_filter(self.query.filter)
        unknown = self._unknown(attributes_of(wanted))
        if unknown:
            return unknown
        matching = self.known.entries.matching({key: entry.dn for key, (entry, _) in self.people.items()}, wanted)
        if isinstance(matching, Unread):
            return matching.reason
        if not matching:
            count = len(self.people)
            return f"expected people that fit the filter {self.query.filter}, found none among {count}; correct it"
        self.people = {key: one for key, one in self.people.items() if key in matching}
        return ""

    def _members(self, dn: str, unfit: int) -> GroupAnswer | str:
        members = [
            Member(
                entry.dn,
                {name: single_value(entry, name) for name in self.query.attributes},
                via,
                why_disabled(entry.attributes, self.now),
            )
            for entry, via in self.people.values()
        ]
        nowhere = [n for n in self.query.attributes if members and not any(m.attributes[n] for m in members)]
        if nowhere:
            return self._unknown(nowhere) or (
                f"none of its {len(members)} people has a readable {', '.join(nowhere)}; "
                "choose another attribute in the name template, or let the bind account read it"
            )
        whole: list[Member] = []
        for member in members:
            lacking = sorted(name for name, value in member.attributes.items() if not value)
            if lacking:
                self._skip(member.dn, f"has no readable {', '.join(lacking)}")
            else:
                whole.append(member)
        return GroupAnswer(dn, tuple(whole), tuple(self.skipped), unfit)

    def _skip(self, member: str, why: str) -> None:
        self.skipped[f"{member}: {why}"] = None
