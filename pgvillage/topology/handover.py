"""What came of a switchover or a failover, and when it is over: judged from the nodes' own words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pgvillage.core.outage import Outage
from pgvillage.core.topology import Node, Topology
from pgvillage.topology.readiness import Readiness


@dataclass(frozen=True, slots=True)
class Handover:
    """`seconds` until the new primary was verified, `whole` until the standbys followed it, or waiting ended.

    `missing` says which standbys don't follow, in words.
    """

    readiness: Readiness
    before: Topology
    after: Topology
    seconds: float
    whole: float
    outages: tuple[Outage, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def leader(self) -> str:
        return self.after.primary.name if self.after.primary is not None else ""


def not_yet(before: Topology, now: Topology, old: str) -> str:
    """Why there is no verified new primary, "" when there is one: it takes writes, the engine says that it leads, and
    it is this cluster.
    """
    if len(now.primaries) > 1:
        return f"{' and '.join(node.name for node in now.primaries)} both take writes"
    primary = now.primary
    if primary is None and now.primaries:
        found = now.primaries[0].name
        says = f"{now.engine} says that {now.leader} leads" if now.leader else f"{now.engine} does not say so yet"
        return f"{found} takes writes, but {says}"
    if primary is None or primary.sql is None:
        return "no node takes writes"
    if primary.name == old:
        return f"{old} is still the primary"
    if before.system_identifier and primary.sql.system_identifier != before.system_identifier:
        return f"{primary.name} has the data of another cluster (system identifier {primary.sql.system_identifier})"
    return ""


def missing_standbys(before: Topology, now: Topology, old: str, *, old_returns: bool) -> Iterator[str]:
    """Standbys that don't stream from the new primary, of those that were there; the old primary when it is to come
    back.
    """
    primary = now.primary
    expected = {node.name for node in before.nodes if node.sql is not None and node.sql.recovering}
    if old_returns:
        expected.add(old)
    for node in now.nodes:
        if node.name in expected and node is not primary:
            why = _absent(node, primary)
            if why:
                yield f"{node.name} {why}"
    for name in sorted(expected - {node.name for node in now.nodes}):
        yield f"{name} is no longer a node of the cluster"


def _absent(node: Node, primary: Node | None) -> str:
    if node.sql is None:
        return f"does not answer by SQL ({node.error})" if node.error else "does not answer by SQL"
    if not node.sql.recovering:
        return "is no standby: it takes writes"
    if not node.sql.streaming:
        return "does not stream"
    if primary is not None and primary.sql is not None and node.sql.timeline < primary.sql.timeline:
        return f"is on timeline {node.sql.timeline} still"
    if node.engine is not None and node.engine.healthy is False:
        return f"follows, and is not well for its engine ({node.engine.state})"
    return ""
