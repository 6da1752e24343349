"""LDIF content records (RFC 2849), and a file of them as a directory."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pgvillage.clients.ldap_dn import DnKey, InvalidDn, dn_key, fold, is_within
from pgvillage.clients.ldap_entry import Entry, Found, Missing, Unread, named_groups, sole
from pgvillage.clients.ldif_filter import cannot_judge, fits
from pgvillage.core.errors import SourceError
from pgvillage.core.ldap_filter import Filter
from pgvillage.settings import Directory

_LINE = re.compile(rb"([A-Za-z0-9][A-Za-z0-9.-]*)((?:;[A-Za-z0-9=-]+)*):([:<]?) *(.*)\Z", re.DOTALL)
_MAX_BYTES = 256 << 20
Line = tuple[int, bytes]
_REFERRED = Unread("a part of the answer is in another directory, which is not asked; narrow the base")


def read_ldif(data: bytes, name: str) -> dict[DnKey, Entry]:
    """All entries of the text; `name` says in errors which file it is.

    Raises SourceError with the line: anything that is not a plain content record is refused, never passed over.
    """
    try:
        return _entries(data)
    except _Fault as fault:
        raise SourceError(f"{name}:{fault.line}: {fault.what}") from None


class _Fault(Exception):
    def __init__(self, line: int, what: str) -> None:
        self.line = line
        self.what = what
        super().__init__(what)


def _unfolded(data: bytes) -> Iterator[Line]:
    """Logical lines with the number of their first physical one; comments (folded ones too) are left out."""
    number, parts = 0, list[bytes]()
    for at, raw in enumerate(data.split(b"\n"), 1):
        line = raw.removesuffix(b"\r")
        if line.startswith(b" "):
            if not parts or not parts[0]:
                raise _Fault(at, "a continuation (leading space) with nothing to continue")
            parts.append(line[1:])
            continue
        if parts and not parts[0].startswith(b"#"):
            yield number, b"".join(parts)
        number, parts = at, [line]
    if parts and not parts[0].startswith(b"#"):
        yield number, b"".join(parts)


def _records(data: bytes) -> Iterator[list[Line]]:
    record: list[Line] = []
    first = True
    for number, line in _unfolded(data):
        if first and line:
            first = False
            if line.lower().startswith(b"version:"):
                if line[8:].strip() != b"1":
                    raise _Fault(number, f"expected LDIF version 1, found {_show(line[8:].strip())}")
                continue
        if line:
            record.append((number, line))
        elif record:
            yield record
            record = []
    if record:
        yield record


def _entries(data: bytes) -> dict[DnKey, Entry]:
    entries: dict[DnKey, Entry] = {}
    for record in _records(data):
        entry = _entry(record)
        if entry.key in entries:
            raise _Fault(record[0][0], f"a second entry for {entry.dn}")
        entries[entry.key] = entry
    return entries


def _entry(record: list[Line]) -> Entry:
    number, line = record[0]
    name, raw = _pair(number, line)
    if name != "dn":
        raise _Fault(number, f"expected `dn:` at the start of a record, found {_show(line)}")
    try:
        dn = raw.decode()
        key = dn_key(dn)
    except UnicodeDecodeError:
        raise _Fault(number, "the dn is not UTF-8") from None
    except InvalidDn as error:
        raise _Fault(number, f"{dn!r} is not a distinguished name: {error}") from None
    attributes: dict[str, list[bytes]] = {}
    for at, text in record[1:]:
        name, raw = _pair(at, text)
        if name == "changetype" or (name == "control" and at == record[1][0]):
            raise _Fault(at, f"`{name}` makes this a change record; expected an export of entries")
        if name == "dn":
            raise _Fault(at, "a second `dn:` in one record; put an empty line between records")
        attributes.setdefault(name, []).append(raw)
    return Entry(dn, key, {name: tuple(values) for name, values in attributes.items()})


def _pair(number: int, line: bytes) -> tuple[str, bytes]:
    found = _LINE.match(line)
    if not found:
        raise _Fault(number, f"expected `attribute: value`, found {_show(line)}")
    name, _options, kind, value = found.groups()
    if kind == b"<":
        raise _Fault(number, f"`{name.decode()}` points to a URL; expected the value itself")
    if kind == b":":
        try:
            value = base64.b64decode(value.rstrip(b" "), validate=True)
        except binascii.Error as error:
            raise _Fault(number, f"`{name.decode()}` is not base64: {error}") from None
    return name.decode().lower(), value


def _show(line: bytes) -> str:
    # Short: an export may hold password hashes.
    return repr(line[:24].decode(errors="backslashreplace"))


class LdifEntries:
    """A file of entries that answers like a directory does, referrals included."""

    def __init__(self, entries: Mapping[DnKey, Entry], settings: Directory) -> None:
        self._entries = entries
        self._base_text = settings.base
        self._base = dn_key(settings.base)
        self._referrals = {key for key, entry in entries.items() if _is_referral(entry)}
        self._users: dict[str, list[Entry]] = {}
        for key, entry in entries.items():
            if is_within(key, self._base) and not self._referred(key):
                for raw in entry.attributes.get(settings.user_attribute.lower(), ()):
                    self._users.setdefault(fold(raw.decode(errors="replace")), []).append(entry)
        self._open = any(is_within(key, self._base) for key in self._referrals)

    def base_fault(self) -> str:
        # An export may leave out the entry of the base itself.
        if any(is_within(key, self._base) for key in self._entries):
            return ""
        return f"expected entries below the base {self._base_text}, found none in the file; correct the base"

    def by_dn(self, dns: Mapping[DnKey, str]) -> dict[DnKey, Found]:
        return {key: self._one(key) for key in dns}

    def by_user(self, values: Collection[str]) -> dict[str, Found]:
        return {value: sole(value, self._users.get(value, ()), incomplete=self._open) for value in values}

    def ahead(self, direct: Mapping[DnKey, str], nested: Mapping[DnKey, str]) -> dict[DnKey, Entry]:  # noqa: ARG002
        return {}

    def by_membership(self, groups: Mapping[DnKey, str]) -> dict[DnKey, list[Entry] | Unread]:
        members: dict[DnKey, list[Entry] | Unread] = {key: [] for key in groups}
        if self._open:
            return dict.fromkeys(groups, _REFERRED)
        for entry in self._below(self._base):
            for key in named_groups(entry):
                found = members.get(key)
                if isinstance(found, list):
                    found.append(entry)
        return members

    def search(self, base: str, wanted: Filter) -> list[Entry] | Unread:
        if fault := cannot_judge(wanted):
            return Unread(fault)
        return _REFERRED if self._open else [e for e in self._below(dn_key(base)) if fits(e, wanted)]

    def matching(self, dns: Mapping[DnKey, str], wanted: Filter) -> set[DnKey] | Unread:
        if fault := cannot_judge(wanted):
            return Unread(fault)
        return {key for key in dns if isinstance(entry := self._one(key), Entry) and fits(entry, wanted)}

    def attribute_names(self) -> set[str]:
        """Those that any entry of the file has."""
        return {name for entry in self._entries.values() for name in entry.attributes}

    def _below(self, base: DnKey) -> Iterator[Entry]:
        return (e for key, e in self._entries.items() if is_within(key, base) and not self._referred(key))

    def _one(self, key: DnKey) -> Found:
        if self._referred(key):
            return Unread("found a referral to another directory, which is not followed; name a DN of this one")
        return self._entries.get(key, Missing())

    def _referred(self, key: DnKey) -> bool:
        return bool(self._referrals) and any(key[at:] in self._referrals for at in range(len(key)))


def _is_referral(entry: Entry) -> bool:
    return b"referral" in {raw.lower() for raw in entry.attributes.get("objectclass", ())}


def ldif_directory(path: Path, settings: Directory) -> LdifEntries:
    """The file as a directory. Raises SourceError when it can't be read or is not LDIF."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path}: cannot read the LDIF file: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise SourceError(f"{path}: the LDIF file is larger than {_MAX_BYTES >> 20} MiB")
    return LdifEntries(read_ldif(data, str(path)), settings)
