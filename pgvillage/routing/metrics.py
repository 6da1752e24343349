"""Metrics of the routing API: made when they are asked for, of the groups and nodes that there are then."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pgvillage.routing.monitor import Monitor


class RoutingMetrics(Collector):
    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._requests = Counter(
            "pgvillage_routing_requests", "Requests by end point and status.", ("endpoint", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.unsaved = Counter(
            "pgvillage_routing_memory_errors", "Times that the memory file was not written.", registry=self.registry
        )

    def asked(self, endpoint: str, status: int) -> None:
        """`endpoint` is one of ours, never what a client sent."""
        self._requests.labels(endpoint, str(status)).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("pgvillage_routing_node_up", "1 while a node is up.", labels=("group", "node"))
        role = GaugeMetricFamily(
            "pgvillage_routing_node_role", "1 for what a node is named as.", labels=("group", "node", "role")
        )
        lag = GaugeMetricFamily(
            "pgvillage_routing_node_lag_bytes", "What a standby has not replayed.", labels=("group", "node")
        )
        primaries = GaugeMetricFamily("pgvillage_routing_primary", "1 while a primary is named.", labels=("group",))
        split = GaugeMetricFamily(
            "pgvillage_routing_split_brain", "Nodes in doubt: above 0 no primary is named.", labels=("group",)
        )
        for name, watched in self._monitor.watched.items():
            primaries.add_metric((name,), int(bool(watched.group.primary(self._monitor.clock()))))
            split.add_metric((name,), len(watched.group.memory.doubts))
            for node in watched.group.nodes:
                sight = self._monitor.sight(name, node)
                if sight is None:
                    continue
                up.add_metric((name, node), int(sight.running))
                role.add_metric((name, node, sight.role), 1)
                if sight.lag is not None:
                    lag.add_metric((name, node), sight.lag)
        looks = CounterMetricFamily("pgvillage_routing_looks", "Looks at nodes by result.", labels=("result",))
        for result, count in self._monitor.looks.items():
            looks.add_metric((result,), count)
        yield from (up, role, lag, primaries, split, looks)
