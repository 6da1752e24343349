"""Address: the one key of everything — plans, ledger, metrics, chat, command line."""

from __future__ import annotations

import re
from sys import intern
from typing import NamedTuple

from pgvillage.core.errors import UsageError

_BARE = re.compile(r"[A-Za-z0-9_$*@-]+\Z")
_ESCAPES = {"\\": "\\\\", '"': '\\"'}


def quote_part(part: str) -> str:
    """One part of a name as it is shown: bare when harmless, else in double quotes with control characters escaped."""
    if _BARE.match(part):
        return part
    return f'"{"".join(map(_escape, part))}"'


def _escape(char: str) -> str:
    if char.isprintable():
        return _ESCAPES.get(char, char)
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


class Address(NamedTuple):
    """`cluster/kind/part.part`: `target` is the cluster's name, `name` the parts as PostgreSQL or etcd has them."""

    target: str
    kind: str
    name: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.target}/{self.kind}/{self.label}"

    @property
    def label(self) -> str:
        return ".".join(map(quote_part, self.name))


_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([^."]+)')
_UNESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)


def _unescape(body: str) -> str:
    """Raises ValueError for a character that Unicode does not have."""
    try:
        return _UNESCAPE.sub(lambda m: chr(int(m[1] or m[2], 16)) if (m[1] or m[2]) else m[3], body)
    except OverflowError as error:
        raise ValueError(body) from error


def parse_address(text: str) -> Address:
    """The inverse of `str(address)`.

    Raises UsageError when the text is not `cluster/kind/name`.
    """
    pieces = text.split("/", 2)
    if len(pieces) != 3 or not all(pieces):
        raise UsageError(f"{text!r} is not an address: expected CLUSTER/KIND/NAME, for example orders/role/etl")
    target, kind, label = pieces
    # a ledger has tens of thousands of addresses, of one target and few kinds
    target, kind = intern(target), intern(kind)
    if '"' not in label and (names := tuple(map(intern, label.split(".")))) and all(names):
        return Address(target, kind, names)  # nearly every name there is
    parts: list[str] = []
    at = 0
    while True:
        match = _PART.match(label, at)
        if not match:
            raise UsageError(f"{text!r} is not an address: cannot read the name from {label[at:]!r} on")
        try:
            parts.append(_unescape(match[1]) if match[1] is not None else match[2])
        except ValueError:
            raise UsageError(f"{text!r} is not an address: there is no such character in {match[0]}") from None
        at = match.end()
        if at == len(label):
            return Address(target, kind, tuple(parts))
        if label[at] != ".":
            raise UsageError(f"{text!r} is not an address: expected '.' before {label[at:]!r}")
        at += 1
