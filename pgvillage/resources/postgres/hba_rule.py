"""One rule of pg_hba.conf, the same from a manifest and from pg_hba_file_rules."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pgvillage.core.address import quote_part
from pgvillage.estate.manifest.cluster import HbaRule

_SECRET = re.compile(r"passwd|secret", re.IGNORECASE)
_NAME = re.compile(r'\s*(\+?)("(?:[^"]|"")*"|[^,"]*)\s*(?:,|\Z)')


class Rule(NamedTuple):
    """What decides. Of an option that may be a secret the value is a hash, and `str()` shows not even that."""

    type: str
    databases: tuple[str, ...]
    roles: tuple[str, ...]
    address: str
    method: str
    options: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        words = [self.type, ",".join(map(quote_part, self.databases)), ",".join(map(_role, self.roles))]
        words += [self.address] if self.address else []
        options = (f"{name}=…" if _SECRET.search(name) else f"{name}={value}" for name, value in self.options)
        return " ".join([*words, self.method, *options])


def written_rule(rule: HbaRule) -> Rule:
    return Rule(
        rule.type,
        _names(rule.database),
        _names(rule.role),
        _address(rule.address),
        rule.method,
        _options(rule.options.items()),
    )


def live_rule(columns: Sequence[Any]) -> Rule:
    """From type to options as pg_hba_file_rules has them."""
    type_, databases, roles, address, netmask, method, options = columns
    pairs = [option.partition("=")[::2] for option in options or ()]
    where = _address(f"{address}/{netmask}" if address and netmask else address)
    return Rule(type_, tuple(sorted(databases)), tuple(sorted(roles)), where, method, _options(pairs))


def _names(text: str) -> tuple[str, ...]:
    """`a, "b,c", +d` as three names; quotes are dropped, as the server shows them."""
    found, at = [], 0
    while at < len(text):
        match = _NAME.match(text, at)
        if match is None or match.end() == at:
            return (text,)
        at = match.end()
        name = match[2].strip()
        found.append(match[1] + (name[1:-1].replace('""', '"') if name.startswith('"') else name))
    return tuple(sorted(found))


def _address(text: str | None) -> str:
    if text is None or text in ("all", "samehost", "samenet"):
        return text or ""
    host, _, mask = text.replace(" ", "/").partition("/")
    try:
        if ":" in mask:  # ipaddress reads no IPv6 netmask
            mask = str(int(ipaddress.IPv6Address(mask)).bit_count())
        return str(ipaddress.ip_network(f"{host}/{mask}" if mask else host, strict=False))
    except ValueError:
        return text.lower()  # a host's name, or the end of one


def _options(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, _hashed(value) if _SECRET.search(name) else value) for name, value in pairs))


def _hashed(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _role(name: str) -> str:
    return f"+{quote_part(name[1:])}" if name.startswith("+") else quote_part(name)
