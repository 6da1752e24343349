"""Entries as read from a directory, and what every source of entries can be asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pgvillage.clients.ldap_dn import DnKey, InvalidDn, dn_key, fold
from pgvillage.core.ldap_filter import Filter


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

    def ahead(self, direct: Mapping[DnKey, str], nested: Mapping[DnKey, str]) -> Mapping[DnKey, Entry]:
        """Members of groups, direct or at any depth, where one search finds them; what it misses is looked up later."""
        ...

    def by_membership(self, groups: Mapping[DnKey, str]) -> Mapping[DnKey, Sequence[Entry] | Unread]:
        """Entries below the base whose `memberOf` names these groups."""
        ...

    def search(self, base: str, wanted: Filter) -> Sequence[Entry] | Unread:
        """All entries below `base` that fit."""
        ...

    def matching(self, dns: Mapping[DnKey, str], wanted: Filter) -> Collection[DnKey] | Unread:
        """Which of these entries fit."""
        ...

    def attribute_names(self) -> Collection[str] | None:
        """Every attribute that the directory knows, as it spells it; None when it does not tell."""
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


def named_groups(entry: Entry) -> Iterator[DnKey]:
    """The groups that the entry's `memberOf` names."""
    for raw in entry.attributes.get("memberof", ()):
        try:
            yield dn_key(raw.decode(errors="backslashreplace"))
        except InvalidDn:
            continue


def single_value(entry: Entry, name: str) -> str:
    """The one value that stands for the attribute, or ''.

    Of several, the one that names the entry (is in its RDN); else the first in sorted order, so that the choice stays
    the same from run to run. A value that is not UTF-8 counts as missing.
    """
    raw = entry.attributes.get(name, ())
    if len(raw) == 1:
        return _text(raw[0])
    values = sorted(filter(None, map(_text, raw)))
    naming = {value for kind, value in entry.key[0] if kind == name}
    return next((value for value in values if fold(value) in naming), values[0] if values else "")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""
