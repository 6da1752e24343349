"""pg_hba.conf under Patroni: the manifest's rules as lines, with what the engine needs, and never locking us out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from pgvillage.core.topology import Topology
from pgvillage.estate.manifest.cluster import HbaRule

_PLAIN = re.compile(r"[A-Za-z0-9_.$+/-]+")
_TOKEN = re.compile(r'\s*(\+?)("(?:[^"]|"")*"|[^,"]*)\s*(?:,|\Z)')
_KEYWORDS = ("all", "sameuser", "samerole", "samegroup")
REPLICATION = "replication"


def line_of(rule: HbaRule) -> str:
    """One line as pg_hba.conf has it. Raises ValueError for what can't stand in one line."""
    words = [rule.type, _listed(rule.database), _listed(rule.role)]
    words += [_word(rule.address)] if rule.address is not None else []
    words += [rule.method, *(f"{name}={_quoted(value)}" for name, value in sorted(rule.options.items()))]
    line = " ".join(words)
    if any(not char.isprintable() for char in line):
        raise ValueError("a rule is one line; it holds a line break or another control character")
    return line


def engine_rules(
    topology: Topology, rules: Sequence[HbaRule], replication: str | None, rewind: str | None
) -> list[HbaRule]:
    """What standbys and pg_rewind need of every member's address, where the manifest's rules do not let them in."""
    wanted = [(REPLICATION, replication)] if replication else []
    wanted += [("postgres", rewind)] if rewind else []
    return [
        _needed(database, _as_name(role), host)
        for database, role in wanted
        for host in hosts_of(topology)
        if not lets_in(rules, database, role, host)
    ]


def _needed(database: str, role: str, host: str) -> HbaRule:
    written = REPLICATION if database == REPLICATION else "all"
    return HbaRule(type="host", database=written, role=role, address=_as_network(host), method="scram-sha-256")


def hosts_of(topology: Topology) -> list[str]:
    """The members' hosts, each once, without port or brackets."""
    hosts = [node.address.rpartition(":")[0].strip("[]") for node in topology.nodes if node.address]
    return sorted(set(hosts))


def replication_role(topology: Topology) -> str | None:
    """The role that standbys stream as, by the primary's own word; None where nobody streams, or several do."""
    names = {node.name for node in topology.nodes}
    roles = {
        sender.role
        for node in topology.nodes
        if node.sql is not None
        for sender in node.sql.senders
        if sender.name in names and sender.role
    }
    return roles.pop() if len(roles) == 1 else None


def lets_in(rules: Iterable[HbaRule], database: str, role: str, host: str | None) -> bool:
    """Does the first rule that fits let this one in? Without a host: does any, from anywhere."""
    for rule in rules:
        if not (_names(rule.database, database, role) and _names(rule.role, role, role)):
            continue
        if host is None:
            if rule.method != "reject":
                return True
        elif rule.address is not None and _covers(rule.address, host):
            return rule.method != "reject"
    return False


def engine_enters(rules: Sequence[HbaRule], topology: Topology) -> bool:
    """Patroni logs in to its own node by a socket or by TCP from the node itself; who its superuser is it alone knows,
    so that any role counts.
    """
    for rule in rules:
        near = rule.address is None or any(_covers(rule.address, h) for h in ("127.0.0.1", "::1", *hosts_of(topology)))
        if near and rule.method != "reject" and _names(rule.database, "postgres", None):
            return True
    return False


def _names(text: str, wanted: str, role: str | None) -> bool:
    """Whether a field of a rule fits this database or role. A group (`+name`) may hold it, so it counts."""
    for group, raw in tokens(text):
        quoted = raw.startswith('"')
        name = raw[1:-1].replace('""', '"') if quoted else raw
        if group or name.startswith("/"):
            return True
        if not quoted and name in _KEYWORDS:
            # `all` means every database, but no replication connection
            if wanted != REPLICATION and (name == "all" or role == wanted):
                return True
            continue
        if name == wanted and (wanted != REPLICATION or not quoted):
            return True
    return False


def tokens(text: str) -> list[tuple[str, str]]:
    """`a, "b,c", +d` as ("", a), ("", "b,c" with its quotes), ("+", d)."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            return [("", _quoted(text))]
        at = match.end()
        found.append((match[1], match[2].strip()))
    return found


def _listed(text: str) -> str:
    return ",".join(group + (name if name.startswith('"') else _word(name)) for group, name in tokens(text))


def _word(text: str) -> str:
    return text if _PLAIN.fullmatch(text) or re.fullmatch(r"[0-9A-Fa-f:./]+", text) else _quoted(text)


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _as_name(role: str) -> str:
    """A role of this very name, whatever it is like."""
    return role if re.fullmatch(r"[a-z_][a-z0-9_]*", role) and role not in _KEYWORDS else _quoted(role)


def _as_network(host: str) -> str:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    return f"{host}/{found.max_prefixlen}"


def _covers(address: str, host: str) -> bool:
    if address in ("all", "samehost", "samenet"):
        return address != "samehost" or host in ("127.0.0.1", "::1")
    try:
        where, _, mask = address.replace(" ", "/").partition("/")
        return ipaddress.ip_address(host) in ipaddress.ip_network(f"{where}/{mask}" if mask else where, strict=False)
    except ValueError:
        low = address.lower()
        return host.lower() == low or (low.startswith(".") and host.lower().endswith(low))
