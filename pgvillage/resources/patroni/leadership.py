"""Who leads a Patroni cluster, by its keys in etcd v3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from pgvillage.core.address import quote_part
from pgvillage.core.leadership import MOST_NODES, EngineKeys, Kept, Leadership, checked_addresses, host_port

_MEMBERS = "members/"
_MOST_BYTES = 1 << 20  # of one member's key; etcd takes no more in one value by itself


def patroni_keys(prefix: str, scope: str) -> EngineKeys:
    """`prefix` is Patroni's `namespace`, such as `service`."""
    return EngineKeys("patroni", f"/{prefix.strip('/')}/{scope}/", "leader", True, leadership_of, term_of)


def leadership_of(keys: Mapping[str, Kept]) -> Leadership:
    """Raises ValueError for what Patroni would not have written."""
    members = {name.removeprefix(_MEMBERS): kept for name, kept in keys.items() if name.startswith(_MEMBERS)}
    if len(members) > MOST_NODES:
        raise ValueError(f"it names {len(members)} members; at most {MOST_NODES} are looked at")
    parsed = {name: _member(name, kept.value) for name, kept in members.items()}
    leader = _text(keys["leader"].value, "leader") if "leader" in keys else ""
    return Leadership(
        engine="patroni",
        leader=leader,
        addresses=checked_addresses({name: address for name, (address, _) in parsed.items() if address}),
        system_identifier=_text(keys["initialize"].value, "initialize") if "initialize" in keys else "",
        timeline=parsed[leader][1] if leader in parsed else 0,
        term=term_of(keys.get("leader")),
    )


def term_of(kept: Kept | None) -> str:
    """The leader's key is renewed as long as it leads, and made anew by the next one."""
    return f"{_text(kept.value, 'leader')} since {kept.created}" if kept else ""


def _member(name: str, value: bytes) -> tuple[str, int]:
    """HOST:PORT, "" while it has told none, and its timeline."""
    where = f"members/{quote_part(name[:80])}"
    if len(value) > _MOST_BYTES:
        raise ValueError(f"{where} has {len(value)} bytes")
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{where} is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"{where}: expected a JSON object, found {type(found).__name__}")
    url, timeline = found.get("conn_url"), found.get("timeline", 0)
    if isinstance(timeline, bool) or not isinstance(timeline, int | None):
        raise ValueError(f"{where}: timeline: expected a whole number, found {type(timeline).__name__}")
    return _address(where, url), timeline or 0


def _address(where: str, url: object) -> str:
    if url is None:
        return ""
    if not isinstance(url, str):
        raise ValueError(f"{where}: conn_url: expected a text, found {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 5432
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("postgres", "postgresql"):
        raise ValueError(f"{where}: conn_url: expected postgres://HOST:PORT/…, found {quote_part(_shown(url))}")
    return host_port(host, port)


def _shown(url: str) -> str:
    """Nothing before an @: a user and a password may stand there."""
    return url.rpartition("@")[2][:80]


def _text(value: bytes, key: str) -> str:
    try:
        return value[:300].decode()
    except UnicodeDecodeError:
        raise ValueError(f"{key} is no text") from None
