"""An LDAP server's entries, found in few searches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TypeVar

from pgvillage.clients.ldap_attributes import unknown_attributes
from pgvillage.clients.ldap_connection import INVALID_DN, NO_SUCH_OBJECT, Session
from pgvillage.clients.ldap_dn import DnKey, InvalidDn, dn_key, fold, is_within, parent_dn
from pgvillage.clients.ldap_entry import Entry, Found, Missing, Unread, named_groups, sole
from pgvillage.clients.ldap_failure import SearchFailed
from pgvillage.clients.ldap_server import ServerFacts, read_attribute_names, read_facts
from pgvillage.core.ldap_filter import Filter, escape, write_filter
from pgvillage.settings import Directory

T = TypeVar("T")
_IN_CHAIN = "1.2.840.113556.1.4.1941"
# OpenLDAP takes 256 KiB from an anonymous client; encoding adds little to the text.
_FILTER_BYTES = 100_000
_FILTER_CLAUSES = 500
# From so many entries below one parent on, a list of its children is tried, and of at most so many times as many.
_WORTH_A_LIST = 100
_LIST_FACTOR = 2
# Reads one by one of what no search has found: they tell best why, but take a round trip each.
_SINGLE_READS = 200


class LdapEntries:
    """Entries over one session.

    By DN: one search with `entryDN` for hundreds of entries (OpenLDAP looks each up in its DN index; 2,000 in 0.15 s),
    `distinguishedName` on Active Directory; servers that know neither are searched by the naming attributes instead;
    what is not found is read one by one, which also tells gone from referred and refused.
    """

    def __init__(self, session: Session, settings: Directory, attributes: Sequence[str]) -> None:
        self._session = session
        self._settings = settings
        self._attributes = attributes
        self._base = dn_key(settings.base)
        self._knows_entry_dn: bool | None = None
        self._continued = False
        self._reads = 0

    @cached_property
    def facts(self) -> ServerFacts:
        return read_facts(self._session)

    @cached_property
    def _names(self) -> frozenset[str] | None:
        return read_attribute_names(self._session, self.facts)

    def attribute_names(self) -> frozenset[str] | None:
        return self._names

    def base_fault(self) -> str:
        try:
            self._session.search(self._settings.base, "(objectClass=*)", "BASE", ["1.1"])
        except SearchFailed as failure:
            return f"the base can't be read: {failure}"
        return ""

    def ahead(self, direct: Mapping[DnKey, str], nested: Mapping[DnKey, str]) -> dict[DnKey, Entry]:
        """On Active Directory: all groups at any depth by its chain rule, then everybody in any of them.

        Two searches and not the one that the rule allows: it is tried on each entry that the rest of the filter leaves,
        which takes 3 s for 2,000 people where groups alone take 0.02 s and a plain `memberOf` is in an index.
        """
        if not self.facts.active_directory:
            return {}
        rules = {key: f"(memberOf:{_IN_CHAIN}:={escape(dn)})" for key, dn in nested.items()}
        groups = self._all(rules, "(objectCategory=group)")
        dns = {**direct, **nested, **{key: entry.dn for key, entry in groups.items()}}
        return self._all({key: f"(memberOf={escape(dn)})" for key, dn in dns.items()}) | groups

    def _all(self, clauses: Mapping[DnKey, str], besides: str = "") -> dict[DnKey, Entry]:
        found: dict[DnKey, Entry] = {}
        for _, search_filter in chunks(clauses):
            entries = self._search(f"(&{besides}{search_filter})" if besides else search_filter, self._attributes)
            if not isinstance(entries, Unread):  # a refusal costs time only: members are looked up one list at a time
                found.update((entry.key, entry) for entry in entries[0])
        return found

    def by_membership(self, groups: Mapping[DnKey, str]) -> dict[DnKey, list[Entry] | Unread]:
        answer: dict[DnKey, list[Entry] | Unread] = {}
        if unknown := unknown_attributes(["memberOf"], self):
            return dict.fromkeys(groups, Unread(f"memberAttributes has memberOf, and {unknown}"))
        for keys, search_filter in chunks({key: f"(memberOf={escape(dn)})" for key, dn in groups.items()}):
            entries = self._search(search_filter, sorted({*self._attributes, "memberof"}))
            if isinstance(entries, Unread) or entries[1]:
                fault = entries if isinstance(entries, Unread) else self._only_referred()
                answer.update(dict.fromkeys(keys, fault))
                continue
            members: dict[DnKey, list[Entry]] = {key: [] for key in keys}
            for entry in entries[0]:
                for key in named_groups(entry):
                    members.get(key, []).append(entry)
            answer.update(members)
        return answer

    def search(self, base: str, wanted: Filter) -> list[Entry] | Unread:
        entries = self._search(write_filter(wanted), self._attributes, base)
        if isinstance(entries, Unread):
            return entries
        return self._only_referred() if entries[1] else entries[0]

    def matching(self, dns: Mapping[DnKey, str], wanted: Filter) -> set[DnKey] | Unread:
        text = write_filter(wanted)
        by_dn = self._dn_attribute and self._knows_entry_dn is not False
        clauses = {k: f"({self._dn_attribute}={escape(dn)})" if by_dn else _naming_filter(k) for k, dn in dns.items()}
        found: set[DnKey] = set()
        for _, search_filter in chunks(clauses):
            entries = self._search(f"(&{text}{search_filter})", ["1.1"])
            if isinstance(entries, Unread):
                return entries
            found.update(entry.key for entry in entries[0])
        return found & dns.keys()

    def _only_referred(self) -> Unread:
        return Unread(
            f"{self._session.uri}: a part of the answer is in another directory, which is not asked; narrow the base"
        )

    @property
    def _dn_attribute(self) -> str:
        return "distinguishedName" if self.facts.active_directory else "entryDN"

    def by_dn(self, dns: Mapping[DnKey, str]) -> dict[DnKey, Found]:
        within = {key: dn for key, dn in dns.items() if is_within(key, self._base)}
        found = self._listed(within)
        left = {key: dn for key, dn in within.items() if key not in found}
        if left and found:
            known = next(iter(found))  # one that is there tells what the server can look up by
            left[known] = within[known]
        found |= self._by_name(left)
        rest = [key for key in dns if key not in found]
        found.update((key, self._read(dns[key])) for key in rest)
        return found

    def _listed(self, dns: Mapping[DnKey, str]) -> dict[DnKey, Found]:
        """Many entries below one parent by a list of its children: no filter has to be written, sent and tried.

        Given up where the parent holds many more than are asked for, or the server does not let us list it.
        """
        by_parent: dict[DnKey, list[DnKey]] = defaultdict(list)
        for key in dns:
            by_parent[key[1:]].append(key)
        found: dict[DnKey, Found] = {}
        for keys in by_parent.values():
            if len(keys) < _WORTH_A_LIST:
                continue
            try:
                parent = parent_dn(dns[keys[0]])
                result = self._session.children(parent, self._attributes, _LIST_FACTOR * len(keys))
            except SearchFailed:
                continue
            asked = set(keys)
            entries = _parsed(result.entries) if result is not None else ()
            found.update((entry.key, self._whole(entry)) for entry in entries if entry.key in asked)
        return found

    def _by_name(self, dns: Mapping[DnKey, str]) -> dict[DnKey, Found]:
        found: dict[DnKey, Found] = {}
        if self._knows_entry_dn is not False:
            found = self._search_keys({key: f"({self._dn_attribute}={escape(dn)})" for key, dn in dns.items()})
            if dns:
                self._knows_entry_dn = any(isinstance(one, Entry) for one in found.values())
        if not self._knows_entry_dn:
            # A refusal counts for nothing here: it may be how a server answers to an attribute that it doesn't know.
            found = self._search_keys({key: _naming_filter(key) for key in dns})
        return found

    def _search_keys(self, clauses: Mapping[DnKey, str]) -> dict[DnKey, Found]:
        """Only what was found or could not be read; the caller looks for the rest in another way."""
        found: dict[DnKey, Found] = {}
        for keys, search_filter in chunks(clauses):
            entries = self._search(search_filter, self._attributes)
            if isinstance(entries, Unread):
                found.update(dict.fromkeys(keys, entries))
            else:
                asked = set(keys)
                found.update((entry.key, entry) for entry in entries[0] if entry.key in asked)
        return found

    def by_user(self, values: Collection[str]) -> dict[str, Found]:
        name = self._settings.user_attribute.lower()
        attributes = sorted({*self._attributes, name})
        answer: dict[str, Found] = {}
        for chunk, search_filter in chunks({value: f"({name}={escape(value)})" for value in values}):
            entries = self._search(search_filter, attributes)
            if isinstance(entries, Unread):
                answer.update(dict.fromkeys(chunk, entries))
                continue
            by_value: dict[str, list[Entry]] = {}
            for entry in entries[0]:
                for raw in entry.attributes.get(name, ()):
                    by_value.setdefault(fold(raw.decode(errors="replace")), []).append(entry)
            answer.update((value, sole(value, by_value.get(value, ()), incomplete=entries[1])) for value in chunk)
        return answer

    def _search(
        self, search_filter: str, attributes: Sequence[str], base: str = ""
    ) -> tuple[list[Entry], bool] | Unread:
        """The entries, and whether the server pointed to others for more."""
        try:
            result = self._session.search(base or self._settings.base, search_filter, "SUBTREE", attributes)
        except SearchFailed as failure:
            return Unread(str(failure))
        self._continued = self._continued or result.continued
        return [self._whole(entry) for entry in _parsed(result.entries)], result.continued

    def _whole(self, entry: Entry) -> Entry:
        """With all values of an attribute that came in part (Active Directory gives 1,500 at a time)."""
        while entry.cut:
            name, _, options = entry.cut.partition(";")
            last = options.rpartition("-")[2]
            if not last.isdigit():
                return replace(entry, cut="")
            try:
                result = self._session.search(entry.dn, "(objectClass=*)", "BASE", [f"{name};range={int(last) + 1}-*"])
            except SearchFailed:
                return entry
            more = next(_parsed(result.entries), None)
            if more is None or not more.attributes.get(name) or more.cut == entry.cut:
                return entry
            joined = entry.attributes.get(name, ()) + more.attributes[name]
            entry = replace(entry, attributes={**entry.attributes, name: joined}, cut=more.cut)
        return entry

    def _read(self, dn: str) -> Found:
        self._reads += 1
        if self._reads > _SINGLE_READS:
            if self._knows_entry_dn and not self._continued:
                return Missing()  # the server looked it up by DN, in all that the base holds
            return Unread(
                f"{self._session.uri}: expected the entry of {dn}, found none by search, and {_SINGLE_READS} such "
                "entries were read one by one already; clean up the groups' members that are gone"
            )
        try:
            result = self._session.search(dn, "(objectClass=*)", "BASE", self._attributes)
        except SearchFailed as failure:
            return Missing() if failure.code in {NO_SUCH_OBJECT, INVALID_DN} else Unread(str(failure))
        if result.continued:
            return Unread(f"{self._session.uri}: {dn}: found a referral to another directory, which is not followed")
        found = next(_parsed(result.entries), None)
        return self._whole(found) if found else Missing()


def _naming_filter(key: DnKey) -> str:
    clauses = [f"({name}={escape(value)})" for name, value in key[0]]
    return clauses[0] if len(clauses) == 1 else f"(&{''.join(clauses)})"


def chunks(clauses: Mapping[T, str]) -> Iterator[tuple[list[T], str]]:
    rest = iter(clauses.items())
    while chunk := list(_bounded(rest)):
        yield [key for key, _ in chunk], f"(|{''.join(clause for _, clause in chunk)})"


def _bounded(rest: Iterable[tuple[T, str]]) -> Iterator[tuple[T, str]]:
    size = 0
    for pair in islice(rest, _FILTER_CLAUSES):
        yield pair
        size += len(pair[1])
        if size > _FILTER_BYTES:
            return


def _parsed(entries: Iterable[tuple[bytes, dict[str, list[bytes]]]]) -> Iterator[Entry]:
    for raw_dn, raw_attributes in entries:
        try:
            dn = raw_dn.decode()
            key = dn_key(dn)
        except (UnicodeDecodeError, InvalidDn):
            continue  # matches nothing that was asked; it is then looked for by itself
        yield _entry(dn, key, raw_attributes)


def _entry(dn: str, key: DnKey, raw: Mapping[str, list[bytes] | None]) -> Entry:
    attributes: dict[str, tuple[bytes, ...]] = {}
    cut = ""
    for described, values in raw.items():
        name, _, options = described.lower().partition(";")
        if "range=" in options:
            cut = described  # Active Directory gives large attributes in parts
        attributes[name] = attributes.get(name, ()) + tuple(values or ())
    return Entry(dn, key, attributes, cut)
