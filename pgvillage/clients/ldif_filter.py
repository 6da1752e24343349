"""LDAP filters on entries of a file: equality, substrings and presence; what needs a schema is refused."""

from __future__ import annotations

import re

from pgvillage.clients.ldap_dn import InvalidDn, dn_key, fold
from pgvillage.clients.ldap_entry import Entry
from pgvillage.core.ldap_filter import Combined, Filter, Rule


def cannot_judge(wanted: Filter) -> str:
    """Why a file can't tell which entries fit, or ''."""
    if isinstance(wanted, Combined):
        return next(filter(None, map(cannot_judge, wanted.filters)), "")
    if isinstance(wanted, Rule):
        return f"a file can't be searched by the matching rule {wanted.rule or 'of ' + wanted.name}; ask a server"
    return "" if wanted.sign == "=" else f"a file can't be searched with {wanted.sign}; ask a server"


def fits(entry: Entry, wanted: Filter) -> bool:
    if isinstance(wanted, Combined):
        inner = (fits(entry, one) for one in wanted.filters)
        return all(inner) if wanted.sign == "&" else any(inner) if wanted.sign == "|" else not next(inner)
    assert not isinstance(wanted, Rule)
    values = [raw.decode(errors="replace") for raw in entry.attributes.get(wanted.name.lower(), ())]
    if len(wanted.parts) == 1:
        return any(_same(value, wanted.parts[0]) for value in values)
    pattern = re.compile(".*".join(re.escape(fold(part)) for part in wanted.parts), re.DOTALL)
    return any(pattern.fullmatch(fold(value)) for value in values)


def _same(value: str, wanted: str) -> bool:
    if fold(value) == fold(wanted):
        return True
    if "=" not in value:
        return False
    try:
        return dn_key(value) == dn_key(wanted)
    except InvalidDn:
        return False
