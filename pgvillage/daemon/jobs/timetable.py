"""Which job is due next: one entry a version of a job, on however many clusters it runs."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from datetime import datetime

from pgvillage.daemon.jobs.applied import AppliedJob
from pgvillage.jobs.schedule import merged


class Timetable:
    """A heap of next instants. An entry of a version that nobody runs any more is dropped when it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._jobs: dict[str, AppliedJob] = {}
        self._clusters: dict[str, dict[str, AppliedJob]] = {}  # by version, then cluster
        self._next: dict[str, Iterator[datetime]] = {}

    def put(self, cluster: str, job: AppliedJob, now: datetime) -> None:
        key = _key(job)
        self._clusters.setdefault(key, {})[cluster] = job
        if key not in self._jobs:
            self._jobs[key] = job
            self._begin(key, now)

    def remove(self, cluster: str, job: AppliedJob) -> None:
        key = _key(job)
        there = self._clusters.get(key, {})
        there.pop(cluster, None)
        if not there:
            for known in (self._clusters, self._jobs, self._next):
                known.pop(key, None)

    def due(self, now: datetime) -> list[tuple[str, AppliedJob]]:
        """(cluster, job) of each job that has an instant not after `now`; later calls give its next ones."""
        found: list[tuple[str, AppliedJob]] = []
        while self._heap and self._heap[0][0] <= now:
            _, key = heapq.heappop(self._heap)
            if key not in self._next:
                continue
            found += self._clusters[key].items()
            self._begin(key, now)
        return found

    def next(self) -> datetime | None:
        while self._heap and self._heap[0][1] not in self._next:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def again(self, now: datetime) -> None:
        """The clock was set: every next instant is another one."""
        self._heap.clear()
        self._next.clear()  # they walk on from where they are
        for key in list(self._jobs):
            self._begin(key, now)

    def __len__(self) -> int:
        return len(self._jobs)

    def _begin(self, key: str, now: datetime) -> None:
        walk = self._next.get(key)
        found = next(walk, None) if walk is not None else None
        if found is None or found <= now:  # first time, or instants were slept through
            walk = self._next[key] = merged(self._jobs[key].schedules(), now)
            found = next(walk, None)
        if found is not None:
            heapq.heappush(self._heap, (found, key))


def _key(job: AppliedJob) -> str:
    return json.dumps((job.name, job.version))
