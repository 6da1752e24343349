"""LDAP search filters (RFC 4515): read strictly, written with every value escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Comparison = Literal["=", ">=", "<=", "~="]
_ITEM = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)?(?P<dn>:dn)?(?::(?P<rule>[A-Za-z0-9][A-Za-z0-9.-]*))?"
    r"(?P<sign>:=|>=|<=|~=|=)"
)
_ESCAPED = [chr(byte) if byte < 128 and chr(byte).isalnum() else f"\\{byte:02x}" for byte in range(256)]
_MAX_DEPTH = 50
_MAX_LENGTH = 10_000


class InvalidFilter(ValueError):
    """The text is not a filter; the message says where it goes wrong."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item. `parts` are the pieces between the stars: one is equality, ("", "") is presence."""

    name: str
    sign: Comparison
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """An extensible match, such as `userAccountControl:1.2.840.113556.1.4.803:=2`."""

    name: str
    rule: str
    of_dn: bool
    value: str


@dataclass(frozen=True, slots=True)
class Combined:
    sign: Literal["&", "|", "!"]
    filters: tuple[Filter, ...]


Filter = Item | Rule | Combined


def parse_filter(text: str) -> Filter:
    """Raises InvalidFilter. Nothing is guessed: no spaces between the parts, every bracket there."""
    if len(text) > _MAX_LENGTH:
        raise InvalidFilter(f"the filter is longer than {_MAX_LENGTH} characters")
    found, at = _filter(text, 0, 0)
    if at != len(text):
        raise InvalidFilter(f"expected the end at character {at + 1}, found {text[at : at + 12]!r}")
    return found


def _filter(text: str, at: int, depth: int) -> tuple[Filter, int]:
    if depth > _MAX_DEPTH:
        raise InvalidFilter(f"more than {_MAX_DEPTH} filters within each other")
    if text[at : at + 1] != "(":
        raise InvalidFilter(f"expected '(' at character {at + 1}, found {text[at : at + 12]!r}")
    sign = text[at + 1 : at + 2]
    if sign in ("&", "|", "!"):
        return _combined(text, at + 2, depth, sign)  # type: ignore[arg-type]
    found, at = _item(text, at + 1)
    return found, _closed(text, at)


def _closed(text: str, at: int) -> int:
    if text[at : at + 1] != ")":
        raise InvalidFilter(f"expected ')' at character {at + 1}, found {text[at : at + 12]!r}")
    return at + 1


def _combined(text: str, at: int, depth: int, sign: Literal["&", "|", "!"]) -> tuple[Filter, int]:
    inner: list[Filter] = []
    while text[at : at + 1] == "(":
        found, at = _filter(text, at, depth + 1)
        inner.append(found)
    if not inner or (sign == "!" and len(inner) > 1):
        wanted = "exactly one filter" if sign == "!" else "one filter or more"
        raise InvalidFilter(f"expected {wanted} after '{sign}' at character {at + 1}")
    return Combined(sign, tuple(inner)), _closed(text, at)


def _item(text: str, at: int) -> tuple[Filter, int]:
    found = _ITEM.match(text, at)
    if not found or not (found["name"] or found["rule"]):
        raise InvalidFilter(f"expected ATTRIBUTE=VALUE at character {at + 1}, found {text[at : at + 12]!r}")
    name, sign = found["name"] or "", found["sign"]
    if (sign == ":=") != bool(found["dn"] or found["rule"]) and not (sign == ":=" and name):
        raise InvalidFilter(f"expected ':=' after the matching rule at character {found.start('sign') + 1}")
    end = next((i for i in range(found.end(), len(text)) if text[i] in "()"), len(text))
    raw = text[found.end() : end]
    if sign == "=":
        parts = tuple(_unescaped(part, found.end()) for part in raw.split("*"))
        if "" in parts[1:-1]:
            raise InvalidFilter(f"two stars without anything between them at character {found.end() + 1}")
        return Item(name, "=", parts), end
    if "*" in raw:
        raise InvalidFilter(
            f"a star stands for anything after '=' only; write it as \\2a (character {found.end() + 1})"
        )
    value = _unescaped(raw, found.end())
    if sign == ":=":
        return Rule(name, found["rule"] or "", bool(found["dn"]), value), end
    return Item(name, sign, (value,)), end  # type: ignore[arg-type]


def _unescaped(raw: str, at: int) -> str:
    if "\0" in raw:
        raise InvalidFilter(f"a zero byte; write it as \\00 (from character {at + 1})")
    pieces = raw.split("\\")
    data = pieces[0].encode()
    for piece in pieces[1:]:
        code = piece[:2]
        if not re.fullmatch(r"[0-9A-Fa-f]{2}", code):
            raise InvalidFilter(f"expected two hexadecimal digits after '\\', found {code!r} (from character {at + 1})")
        data += bytes.fromhex(code) + piece[2:].encode()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidFilter(f"a value that is not UTF-8 (from character {at + 1})") from None


def escape(value: str) -> str:
    """A filter's value with all but letters and digits as hex: ldap3 would split a clause at `>=`, `:=` or spaces."""
    if value.isascii() and value.isalnum():
        return value
    return "".join(map(_ESCAPED.__getitem__, value.encode()))


def readable(value: str) -> str:
    """A filter's value with only what RFC 4515 asks for as hex, for people to read."""
    return "".join(f"\\{ord(char):02x}" if char in "\\*()\0" else char for char in value)


def write_filter(found: Filter) -> str:
    """The filter for the wire: the same meaning, in one spelling."""
    if isinstance(found, Combined):
        return f"({found.sign}{''.join(map(write_filter, found.filters))})"
    if isinstance(found, Rule):
        rule = f":{found.rule}" if found.rule else ""
        return f"({found.name}{':dn' if found.of_dn else ''}{rule}:={escape(found.value)})"
    return f"({found.name}{found.sign}{'*'.join(map(escape, found.parts))})"


def attributes_of(found: Filter) -> Iterator[str]:
    """The attributes that the filter names, as written; matching rules without one name none."""
    if isinstance(found, Combined):
        for inner in found.filters:
            yield from attributes_of(inner)
    elif found.name:
        yield found.name
