"""Metrics of the reconciler, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pgvillage.core.change import Change
from pgvillage.core.plan import Plan, Status
from pgvillage.core.run import Run


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seen: set[str] = set()  # targets that were read
        self._info = self._gauge("target_info", "A target that is looked after.", "target", "system")
        self._observed = self._gauge(
            "last_observed_timestamp_seconds", "When a target was last read in full.", "target"
        )
        self._drift = self._gauge("drift_changes", "Changes made by hand.", "target", "risk", "origin")
        self._pending = self._gauge("pending_changes", "Changes that are not applied.", "target", "origin", "held")
        self._reachable = self._gauge("target_reachable", "1 when the last reading succeeded.", "target")
        self._applies = self._counter("apply", "Applies by their result.", "target", "result")
        self._blocked = self._counter("gate_blocked", "Plans that policy blocked.", "target", "rule")
        self._deliveries = self._counter("notify_deliveries", "Messages to chat by their result.", "channel", "result")
        self._cycles = self._counter("cycle", "Rounds of the loop by their result.", "result")
        self.lag = self._gauge("loop_lag_seconds", "How late the last round began.")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"pgvillage_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"pgvillage_{name}", text, labels, registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def planned(self, plan: Plan) -> None:
        """Gauges are made anew, so that a target that is gone from the estate is gone here too."""
        names = {str(target.target) for target in plan.targets}
        for gone in self._seen - names:
            self._observed.remove(gone)
        self._seen &= names
        for gauge in (self._info, self._drift, self._pending, self._reachable):
            gauge.clear()
        for target in plan.targets:
            name = str(target.target)
            reachable = target.status is Status.PLANNED
            self._info.labels(name, str(target.target.system)).set(1)
            self._reachable.labels(name).set(int(reachable))
            if reachable and target.observed_at is not None:
                self._observed.labels(name).set(target.observed_at.timestamp())
                self._seen.add(name)
            for change in target.changes:
                self._count(name, change)
            for gate in target.gates:
                if not gate.open:
                    self._blocked.labels(name, gate.rule).inc()

    def _count(self, name: str, change: Change) -> None:
        if change.origin == "drift":
            self._drift.labels(name, str(change.risk), str(change.origin)).inc()
        self._pending.labels(name, str(change.origin), "true" if change.held else "false").inc()

    def ran(self, run: Run) -> None:
        for target in run.targets:
            self._applies.labels(str(target.target), target.outcome.replace(" ", "_")).inc()

    def delivered(self, channel: str, result: str) -> None:
        self._deliveries.labels(channel, result).inc()

    def cycled(self, result: str) -> None:
        self._cycles.labels(result).inc()
