"""Metrics of the reconciler, in a registry of their own. What is about a target goes when the target goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pgvillage import __version__
from pgvillage.core.change import Origin
from pgvillage.core.plan import Plan, Status, TargetPlan
from pgvillage.core.run import TargetRun
from pgvillage.core.status import TargetStatus
from pgvillage.daemon.look import Look
from pgvillage.daemon.node_metrics import NodeMetrics
from pgvillage.daemon.turns import Turns

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """A Listener; what is no look is told by the call that names it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._labels: dict[str, set[tuple[Gauge | Counter, tuple[str, ...]]]] = {}
        self._drift_since: dict[str, datetime] = {}
        self._open: dict[str, int] = {}
        self._of_targets()
        self._nodes = NodeMetrics(self._gauge)
        self._of_the_daemon()

    def _of_targets(self) -> None:
        self._info = self._gauge("target_info", "A target that is looked after.", "target", "system")
        self._observed = self._gauge(
            "last_observed_timestamp_seconds", "When a target was last read in full.", "target"
        )
        self._condition = self._gauge(
            "target_condition", "1 for what holds: ready, sync and health of a target.", "target", "condition", "status"
        )
        self._suspended = self._gauge("target_suspended", "1 while nothing is applied by somebody's word.", "target")
        self._drift = self._gauge("drift_changes", "Changes made by hand.", "target", "risk", "origin")
        self._age = self._gauge("drift_age_seconds", "How long a target has drift.", "target")
        self._pending = self._gauge("pending_changes", "Changes that are not applied.", "target", "origin", "held")
        self._reachable = self._gauge("target_reachable", "1 when the last reading succeeded.", "target")
        self._applies = self._counter("apply", "Applies by their result.", "target", "result")
        self._waits = self._gauge("target_blocked", "1 while a gate holds back a target's plan.", "target")
        self._blocked = self._counter("gate_blocked", "Looks at plans that policy blocks.", "target", "rule")

    def _of_the_daemon(self) -> None:
        info = self._gauge("build_info", "Which PgVillage this is.", "version", "python")
        info.labels(__version__, f"{sys.version_info[0]}.{sys.version_info[1]}").set(1)
        self.valid = self._gauge("estate_valid", "1 while the newest commit is in force, 0 while it is not valid.")
        self._deliveries = self._counter("notify_deliveries", "Messages to chat by their result.", "channel", "result")
        self._undelivered = self._gauge("notify_undelivered", "Messages that wait for their channel.", "channel")
        self._oldest = self._gauge("notify_oldest_seconds", "How long the oldest waits.", "channel")
        self._looks = self._counter("looks", "Full looks by their result.", "result")
        self._duration = Histogram(
            "pgvillage_look_seconds", "How long full looks take.", buckets=_SECONDS, registry=self.registry
        )
        self.lag = self._gauge("loop_lag_seconds", "How late the last look began.")
        self._waiting = self._gauge("looks_waiting", "Targets that wait for their turn.")
        self._working = self._gauge("looks_working", "Targets that are looked at or written to now.")
        self._cheap = self._counter("fingerprint_looks", "Cheap looks.")
        self._alarms = self._counter("fingerprint_alarms", "Cheap looks that brought a full look forward.")
        self._connections = self._gauge("watch_connections", "Connections that cheap looks keep open.")
        self._state_errors = self._counter("state_errors", "Calls that the state database did not do.")
        self._listener_errors = self._counter("listener_errors", "Looks that a part failed to hear.", "part")
        self._hooks = self._counter("webhook_deliveries", "Webhooks by what became of them.", "hook", "result")
        self._reloads = self._counter("settings_reloads", "Settings that were read again by their result.", "result")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"pgvillage_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"pgvillage_{name}", text, labels, registry=self.registry)

    def text(self) -> bytes:
        now = datetime.now(UTC)
        for target, since in self._drift_since.items():
            self._age.labels(target).set(max(0.0, (now - since).total_seconds()))
        return generate_latest(self.registry)

    async def looked(self, look: Look) -> None:
        self.planned(look.plan)
        self._status(look.status)
        if look.applied is not None:
            self.ran(look.applied)

    async def keep(self, targets: Collection[str]) -> None:
        for gone in set(self._labels) - set(targets):
            self._forget(gone, self._labels.pop(gone))
            self._drift_since.pop(gone, None)

    def planned(self, plan: Plan) -> None:
        """Gauges of these targets are made anew, so that what is gone from a plan is gone here too."""
        for target in plan.targets:
            name = str(target.target)
            fresh: tuple[Gauge, ...] = (self._info, self._drift, self._pending, self._condition)
            if target.topology is not None or target.status is Status.PLANNED:
                fresh += self._nodes.every
            self._forget(name, {entry for entry in self._labels.get(name, set()) if entry[0] in fresh})
            self._planned(name, target)

    def _planned(self, name: str, target: TargetPlan) -> None:
        reached = target.status is Status.PLANNED
        self._at(self._info, name, str(target.target.system)).set(1)
        self._at(self._reachable, name).set(int(reached))
        if reached and target.observed_at is not None:
            self._at(self._observed, name).set(target.observed_at.timestamp())
        for gauge, labels, value in self._nodes.samples(name, target.topology) if target.topology is not None else ():
            self._at(gauge, *labels).set(value)
        for change in target.changes:
            if change.origin is Origin.DRIFT:
                self._at(self._drift, name, str(change.risk), str(change.origin)).inc()
            self._at(self._pending, name, str(change.origin), "true" if change.held else "false").inc()
        self._at(self._waits, name).set(int(target.blocked))
        for gate in target.gates:
            if not gate.open:
                self._remember(self._blocked, name, gate.rule)
                self._blocked.labels(name, gate.rule).inc()

    def _status(self, status: TargetStatus) -> None:
        name = status.target
        for condition in ("ready", "sync", "health"):
            self._at(self._condition, name, condition, str(getattr(status, condition))).set(1)
        self._at(self._suspended, name).set(int(status.suspension is not None))
        if status.drift_since is not None:
            self._drift_since[name] = status.drift_since
        else:
            self._drift_since.pop(name, None)
            self._at(self._age, name).set(0)

    def ran(self, run: TargetRun) -> None:
        labels = (str(run.target), run.outcome.replace(" ", "_"))
        self._remember(self._applies, *labels)
        self._applies.labels(*labels).inc()

    def _at(self, gauge: Gauge, *labels: str) -> Gauge:
        self._remember(gauge, *labels)
        return gauge.labels(*labels)

    def _remember(self, metric: Gauge | Counter, *labels: str) -> None:
        self._labels.setdefault(labels[0], set()).add((metric, labels))

    def _forget(self, name: str, entries: Iterable[tuple[Gauge | Counter, tuple[str, ...]]]) -> None:
        for metric, labels in list(entries):
            metric.remove(*labels)
            self._labels.get(name, set()).discard((metric, labels))

    def delivered(self, channel: str, result: str) -> None:
        self._deliveries.labels(channel, result).inc()

    def undelivered(self, waiting: Mapping[str, tuple[int, float]]) -> None:
        """Of every channel: how many messages wait, and for how many seconds the oldest."""
        for channel, (count, age) in waiting.items():
            self._undelivered.labels(channel).set(count)
            self._oldest.labels(channel).set(age)

    def working_by(self, turns: Callable[[], Turns]) -> None:
        """Whose turns to count when somebody asks; new settings can bring others."""
        self._waiting.set_function(lambda: turns().waiting)
        self._working.set_function(lambda: turns().working)

    def began(self, late: float) -> float:
        """A full look begins `late` seconds after it was due; the time to give back to `ended`."""
        self.lag.set(max(0.0, late))
        return time.monotonic()

    def ended(self, began: float, *, good: bool) -> None:
        self._duration.observe(time.monotonic() - began)
        self._looks.labels("ok" if good else "failed").inc()

    def fingerprint(self, target: str, *, alarm: bool) -> None:
        del target  # of each target it would be one series too many
        (self._alarms if alarm else self._cheap).inc()

    def connected(self, target: str, count: int) -> None:
        self._open[target] = count
        if not count:
            del self._open[target]
        self._connections.set(sum(self._open.values()))

    def hooked(self, hook: str, result: str) -> None:
        """`hook` is empty for one that the settings do not have."""
        self._hooks.labels(hook, result).inc()

    def state_failed(self) -> None:
        self._state_errors.inc()

    def listener_failed(self, part: str) -> None:
        self._listener_errors.labels(part).inc()

    def reloaded(self, *, good: bool) -> None:
        self._reloads.labels("ok" if good else "refused").inc()
