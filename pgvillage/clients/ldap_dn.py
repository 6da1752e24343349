"""Distinguished names (RFC 4514) as comparable keys."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

Ava = tuple[str, str]
DnKey = tuple[tuple[Ava, ...], ...]
"""One tuple of sorted (type, value) pairs per RDN, the leaf first; types and values are folded."""

_TYPE = re.compile(r" *([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+) *= *")
_HEX_VALUE = re.compile(r"#((?:[0-9A-Fa-f]{2})+) *(?=[,+]|\Z)")
_PART = re.compile(r'\\([0-9A-Fa-f]{2})|\\([ "#+,;<=>\\])|([^\\",+;<>\0]+)')
_UID_SUFFIX = re.compile(r"#'[01]*'B\Z")
_STRING_TAGS = {0x04, 0x0C, 0x13, 0x16}
# The names that servers print for what a DN may spell in another way.
_SYNONYMS = {
    "commonname": "cn", "2.5.4.3": "cn", "surname": "sn", "2.5.4.4": "sn", "userid": "uid",
    "0.9.2342.19200300.100.1.1": "uid", "domaincomponent": "dc", "0.9.2342.19200300.100.1.25": "dc",
    "organizationalunitname": "ou", "2.5.4.11": "ou", "organizationname": "o", "2.5.4.10": "o",
    "countryname": "c", "2.5.4.6": "c", "localityname": "l", "2.5.4.7": "l",
}  # fmt: skip


class InvalidDn(ValueError):
    """The text is not a distinguished name; the message says where it goes wrong."""


def fold(value: str) -> str:
    """A value as caseIgnoreMatch compares it.

    `lower` and not `casefold`: servers hold 'strasse' and 'straße' for two people.
    """
    return value.lower() if value.isascii() and "  " not in value else _fold_slowly(value)


def _fold_slowly(value: str) -> str:
    return re.sub(" +", " ", unicodedata.normalize("NFKC", value).lower())


@lru_cache(maxsize=65_536)
def dn_key(text: str) -> DnKey:
    """The key of a DN: equal for DNs that differ only in case, spacing, escapes or the order within an RDN.

    Raises InvalidDn. The empty DN is refused too: no entry that matters here has it.
    """
    rdns: list[tuple[Ava, ...]] = []
    rdn: list[Ava] = []
    at = 0
    while True:
        ava, at = _read_ava(text, at)
        rdn.append(ava)
        separator = text[at : at + 1]
        if separator != "+":
            rdns.append(tuple(sorted(rdn)))
            rdn = []
        if not separator:
            return tuple(rdns)
        if separator not in ",+":
            raise InvalidDn(f"unescaped {separator!r} at character {at + 1}")
        at += 1


def parent_dn(text: str) -> str:
    """The DN of the entry above, in the words of `text`; empty at the top. Raises InvalidDn."""
    at = 0
    while True:
        _, at = _read_ava(text, at)
        separator = text[at : at + 1]
        at += 1
        if separator != "+":
            return text[at:].lstrip(" ")


def _read_ava(text: str, at: int) -> tuple[Ava, int]:
    found = _TYPE.match(text, at)
    if not found:
        raise InvalidDn(f"expected ATTRIBUTE=VALUE at character {at + 1}")
    name = found[1].lower()
    name = _SYNONYMS.get(name, name)
    encoded = _HEX_VALUE.match(text, found.end())
    if encoded:
        return (name, _from_ber(bytes.fromhex(encoded[1]))), encoded.end()
    value, at = _read_value(text, found.end())
    return (name, value), at


def _read_value(text: str, at: int) -> tuple[str, int]:
    parts: list[bytes] = []
    kept = 0  # an escaped space at the end belongs to the value, a bare one doesn't
    length = 0
    if text.startswith("#", at):
        raise InvalidDn(f"a value that starts with '#' is not hexadecimal at character {at + 1}")
    while found := _PART.match(text, at):
        code, escaped, plain = found.groups()
        part = bytes.fromhex(code) if code else (escaped or plain).encode()
        parts.append(part)
        length += len(part)
        kept = length - (len(part) - len(part.rstrip(b" ")) if plain else 0)
        at = found.end()
    return _folded(b"".join(parts)[:kept]), at


def _folded(raw: bytes) -> str:
    try:
        return fold(raw.decode())
    except UnicodeDecodeError:
        return "#" + raw.hex()  # not text: equal only to the same bytes


def _from_ber(raw: bytes) -> str:
    if len(raw) >= 2 and raw[0] in _STRING_TAGS and raw[1] < 0x80 and len(raw) == raw[1] + 2:
        return _folded(raw[2:])
    return "#" + raw.hex()


def is_within(key: DnKey, base: DnKey) -> bool:
    return len(key) >= len(base) and key[len(key) - len(base) :] == base


def without_uid(name_and_uid: str) -> str:
    """The DN of a uniqueMember value, which may end in a bit string (RFC 4517, Name and Optional UID)."""
    return _UID_SUFFIX.sub("", name_and_uid)
