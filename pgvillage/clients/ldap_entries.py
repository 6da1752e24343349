"""An LDAP server's entries, found in few searches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from pgvillage.clients.directory import Entry, Found, Missing, Unread, sole
from pgvillage.clients.ldap_connection import INVALID_DN, NO_SUCH_OBJECT, SearchFailed, Session
from pgvillage.clients.ldap_dn import DnKey, InvalidDn, dn_key, fold, is_within
from pgvillage.settings import Directory

T = TypeVar("T")
# OpenLDAP takes 256 KiB from an anonymous client; encoding adds little to the text.
_FILTER_BYTES = 100_000
_FILTER_CLAUSES = 500
# Reads one by one of what no search has found: they tell best why, but take a round trip each.
_SINGLE_READS = 200


class LdapEntries:
    """Entries over one session.

    By DN: one search with `entryDN` for hundreds of entries (OpenLDAP looks each up in its DN index; 2,000 in 0.15 s);
    servers without `entryDN` (Active Directory) are searched by the naming attributes instead; what neither finds is
    read one by one, which also tells gone from referred and refused.
    """

    def __init__(self, session: Session, settings: Directory, attributes: Sequence[str]) -> None:
        self._session = session
        self._settings = settings
        self._attributes = attributes
        self._base = dn_key(settings.base)
        self._knows_entry_dn: bool | None = None
        self._continued = False
        self._reads = 0

    def base_fault(self) -> str:
        try:
            self._session.search(self._settings.base, "(objectClass=*)", "BASE", ["1.1"])
        except SearchFailed as failure:
            return f"the base can't be read: {failure}"
        return ""

    def by_dn(self, dns: Mapping[DnKey, str]) -> dict[DnKey, Found]:
        within = {key: dn for key, dn in dns.items() if is_within(key, self._base)}
        found: dict[DnKey, Found] = {}
        if self._knows_entry_dn is not False:
            found = self._search_keys({key: f"(entryDN={escape(dn)})" for key, dn in within.items()})
            if within:
                self._knows_entry_dn = any(isinstance(one, Entry) for one in found.values())
        if not self._knows_entry_dn:
            # A refusal counts for nothing here: it may be how a server answers to an attribute that it doesn't know.
            found = self._search_keys({key: _naming_filter(key) for key in within})
        rest = [key for key in dns if key not in found]
        found.update((key, self._read(dns[key])) for key in rest)
        return found

    def _search_keys(self, clauses: Mapping[DnKey, str]) -> dict[DnKey, Found]:
        """Only what was found or could not be read; the caller looks for the rest in another way."""
        found: dict[DnKey, Found] = {}
        for keys, search_filter in _chunks(clauses):
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
        for chunk, search_filter in _chunks({value: f"({name}={escape(value)})" for value in values}):
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

    def _search(self, search_filter: str, attributes: Sequence[str]) -> tuple[list[Entry], bool] | Unread:
        try:
            result = self._session.search(self._settings.base, search_filter, "SUBTREE", attributes)
        except SearchFailed as failure:
            return Unread(str(failure))
        self._continued = self._continued or result.continued
        return list(_parsed(result.entries)), result.continued

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
        return next(_parsed(result.entries), Missing())


def escape(value: str) -> str:
    """A filter's value with all but letters and digits as hex: ldap3 would split a clause at `>=`, `:=` or spaces."""
    if value.isascii() and value.isalnum():
        return value
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\{byte:02x}" for byte in value.encode())


def _naming_filter(key: DnKey) -> str:
    clauses = [f"({name}={escape(value)})" for name, value in key[0]]
    return clauses[0] if len(clauses) == 1 else f"(&{''.join(clauses)})"


def _chunks(clauses: Mapping[T, str]) -> Iterator[tuple[list[T], str]]:
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
