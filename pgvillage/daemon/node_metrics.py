"""Gauges of a cluster's nodes and its etcd: of one target they are made anew with every look that asked the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import Gauge

from pgvillage.core.topology import Topology
from pgvillage.report.words import show_text

_ROLES = ("primary", "standby", "unknown")
_SEVERITIES = ("error", "warning", "info")
_MOST = 64  # nodes: whoever writes the engine's state must not make series without end
_LONGEST = 80

Make = Callable[..., Gauge]
Sample = tuple[Gauge, tuple[str, ...], float]


class NodeMetrics:
    def __init__(self, gauge: Make) -> None:
        """`gauge` makes one by name, text and labels."""
        self._up = gauge("node_up", "1 when a node answered by SQL.", "target", "node")
        self._role = gauge("node_role", "1 for the role of a node, by its own word if it has one.",
                           "target", "node", "role")  # fmt: skip
        self._bytes = gauge("node_lag_bytes", "WAL that a node has not replayed.", "target", "node")
        self._seconds = gauge("node_lag_seconds", "Age of what a standby replayed last.", "target", "node")
        self._timeline = gauge("node_timeline", "The timeline that a node is on.", "target", "node")
        self._primaries = gauge("cluster_primaries", "Nodes that take writes; 1 is right.", "target")
        self._problems = gauge("cluster_problems", "What is wrong with a cluster.", "target", "severity")
        self._etcd_up = gauge("etcd_member_up", "1 when a member of the cluster's etcd answered.", "target", "member")
        self._etcd_quorum = gauge("etcd_quorum", "1 while the cluster's etcd has a quorum.", "target")
        self._etcd_leader = gauge("etcd_leader", "1 while the cluster's etcd has a leader.", "target")
        self._etcd_alarms = gauge("etcd_alarms", "Alarms of the cluster's etcd.", "target")
        self._etcd_size = gauge("etcd_db_size_bytes", "Size of the cluster's etcd.", "target")

    @property
    def every(self) -> tuple[Gauge, ...]:
        return tuple(each for each in vars(self).values() if isinstance(each, Gauge))

    def samples(self, target: str, found: Topology) -> Iterator[Sample]:
        primary = found.primary or (found.primaries[0] if len(found.primaries) == 1 else None)
        for node in found.nodes[:_MOST]:
            name = show_text(node.name, _LONGEST)
            yield self._up, (target, name), float(node.sql is not None)
            for role in _ROLES:
                yield self._role, (target, name, role), float(node.role == role)
            if node.sql is None:
                continue
            yield self._timeline, (target, name), float(node.sql.timeline)
            lag = node.lag(primary) if primary is not None and node is not primary else None
            if lag is not None:
                yield self._bytes, (target, name), float(lag)
            if node.sql.replay_seconds is not None:
                yield self._seconds, (target, name), node.sql.replay_seconds
        yield self._primaries, (target,), 1.0 if found.standby_cluster and not found.primaries else len(found.primaries)
        count: Counter[str] = Counter(problem.severity for problem in found.problems)
        for severity in _SEVERITIES:
            yield self._problems, (target, severity), float(count[severity])
        yield from self._etcd(target, found)

    def _etcd(self, target: str, found: Topology) -> Iterator[Sample]:
        store = found.store
        if store is None:
            return
        for member in store.members[:_MOST]:
            yield self._etcd_up, (target, show_text(member.name, _LONGEST)), float(not member.error)
        yield self._etcd_quorum, (target,), float(store.quorum)
        yield self._etcd_leader, (target,), float(bool(store.leader))
        yield self._etcd_alarms, (target,), float(len(store.alarms))
        yield self._etcd_size, (target,), float(store.db_size)
