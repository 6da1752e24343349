"""Metrics of a replica's sharing, asked when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pgvillage.daemon.replicas import Replicas


class ReplicaMetrics(Collector):
    def __init__(self, replicas: Replicas, registry: CollectorRegistry) -> None:
        self._replicas = replicas
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        found, counts = self._replicas, self._replicas.counts
        yield _gauge("claims_held", "Targets that are this replica's.", found.held)
        yield _gauge("replicas", "Replicas that live, as this one last saw.", len(found.members))
        yield _gauge("replica_may_write", "1 while this replica's lease holds by its own clock.", found.may_write)
        yield _gauge("lease_age_seconds", "Since etcd last renewed the lease; +Inf without one.", found.lease_age)
        yield _gauge("etcd_reachable", "1 when etcd renewed the lease as it was last asked to.", found.reachable)
        moves = CounterMetricFamily(
            "pgvillage_claim_moves", "Claims taken, given up, and asked of other replicas.", labels=["move"]
        )
        for move, count in (("claimed", counts.claimed), ("given_up", counts.given_up), ("asked", counts.asked)):
            moves.add_metric([move], count)
        yield moves
        yield CounterMetricFamily("pgvillage_leases_lost", "Leases that etcd ended.", value=counts.leases_lost)
        yield CounterMetricFamily("pgvillage_sharing_errors", "What etcd did not do for sharing.", value=counts.errors)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pgvillage_{name}", what, value=value)
