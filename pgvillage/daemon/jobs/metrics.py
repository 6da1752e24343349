"""Metrics of jobs; they carry names of the estate alone, never what a run printed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pgvillage.core.job_run import RunRecord, RunStatus

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)


class JobMetrics:
    """A Watcher of the scheduler."""

    def __init__(self, registry: CollectorRegistry, running: Callable[[], int], due: Callable[[], int]) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"pgvillage_job_{name}", text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pgvillage_job_{name}", text, labels, registry=registry)

        self._success = gauge("last_success_timestamp_seconds", "When a job last succeeded.", "job", "cluster")
        self._failure = gauge("last_failure_timestamp_seconds", "When a job last did not.", "job", "cluster")
        self._runs = counter("runs", "Runs that ended, by how.", "job", "cluster", "status")
        self._missed = counter("missed", "Scheduled times that nobody was there for.", "job", "cluster")
        self._lateness = Histogram(
            "pgvillage_job_lateness_seconds", "From a run's time to its begin.", (), buckets=_SECONDS, registry=registry
        )
        gauge("running", "Runs that go on.").set_function(running)
        gauge("due", "Runs that wait for their turn.").set_function(due)

    def began(self, record: RunRecord, late: timedelta) -> None:
        del record
        self._lateness.observe(max(0.0, late.total_seconds()))

    def ended(self, record: RunRecord) -> None:
        key, at = record.key, record.ended
        self._runs.labels(key.job, key.cluster, record.status.value).inc()
        if at is None or record.status in (RunStatus.SKIPPED, RunStatus.CANCELLED):
            return
        which = self._success if record.status is RunStatus.SUCCEEDED else self._failure
        which.labels(key.job, key.cluster).set(at.timestamp())

    def skipped(self, job: str, cluster: str, count: int) -> None:
        self._missed.labels(job, cluster).inc(count)
