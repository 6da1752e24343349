"""Who leads a Patroni cluster, by its keys in etcd v3."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pgvillage.core.leadership import EngineKeys, Kept, Leadership, checked_addresses
from pgvillage.resources.patroni.members import parse_keys, topology_of

_NO_TIME = datetime.fromtimestamp(0, UTC)  # nobody looks at when


def patroni_keys(prefix: str, scope: str) -> EngineKeys:
    """`prefix` is Patroni's `namespace`, such as `service`."""
    return EngineKeys("patroni", f"/{prefix.strip('/')}/{scope}/", "leader", True, leadership_of, term_of)


def leadership_of(keys: Mapping[str, Kept]) -> Leadership:
    """Members that have told no address that could be one are left out. Raises ValueError."""
    state = parse_keys({name: kept.value for name, kept in keys.items()})
    nodes = {node.name: node for node in topology_of("", state, _NO_TIME).nodes}
    leader = nodes.get(state.leader)
    return Leadership(
        engine="patroni",
        leader=state.leader,
        addresses=checked_addresses({name: node.address for name, node in nodes.items() if node.address}),
        system_identifier=state.system_identifier,
        timeline=leader.engine.timeline if leader is not None and leader.engine is not None else 0,
        term=term_of(keys.get("leader")),
    )


def term_of(kept: Kept | None) -> str:
    """The leader's key is renewed as long as it leads, and made anew by the next one."""
    return f"{kept.value[:300]!r} since {kept.created}" if kept else ""
