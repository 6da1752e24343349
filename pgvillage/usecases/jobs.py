"""Jobs as the estate has them: their schedules, what they reach, their next runs. No server is asked."""

from __future__ import annotations

import asyncio
import difflib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from pgvillage.core.errors import UsageError
from pgvillage.core.lookup import Lookups
from pgvillage.estate.job_schedule import schedules_of
from pgvillage.estate.job_words import schedule_words, zones_of
from pgvillage.estate.manifest import Job
from pgvillage.estate.view import ClusterView, view_cluster
from pgvillage.jobs.schedule import merged, next_runs, time_zone
from pgvillage.running.reach import reached, units
from pgvillage.usecases.world import World


@dataclass(frozen=True, slots=True)
class JobRow:
    """`runs` is how many runs one scheduled time makes. `next` is in the schedule's first time zone."""

    name: str
    schedule: str
    target: str
    clusters: tuple[str, ...]
    runs: int
    next: datetime | None
    zone: str


@dataclass(frozen=True, slots=True)
class NextRun:
    """A scheduled time; `local` by the clock of `zone`. `clusters` are those that it reaches."""

    job: str
    at: datetime
    local: datetime
    zone: str
    clusters: tuple[str, ...]


class JobsOfEstate:
    """Raises SourceError, ManifestError when made; UsageError for a cluster or a job that is not there."""

    def __init__(self, jobs: Iterable[Job], views: dict[str, ClusterView]) -> None:
        self._jobs = {job.metadata.name: job for job in jobs if job.spec.ensure == "present"}
        self._views = views

    @classmethod
    async def of(cls, world: World, revision: str | None = None) -> JobsOfEstate:
        checkout = await asyncio.to_thread(world.checkout, revision)
        manifests = world.manifests(checkout)
        views = {name: view_cluster(manifests, name, Lookups()) for name in manifests.clusters}
        return cls((each.document for each in manifests.jobs.values()), views)

    def rows(self, now: datetime, cluster: str | None = None) -> list[JobRow]:
        """By name; with `cluster` those that reach it."""
        return [self._row(job, now, cluster) for job in self._of(cluster, ())]

    def next(self, now: datetime, count: int, cluster: str | None = None, jobs: Sequence[str] = ()) -> list[NextRun]:
        """The next `count` scheduled times of all these jobs together, the earliest first."""
        found = heapq.merge(*(self._times(job, now, cluster) for job in self._of(cluster, jobs)), key=_order)
        return list(islice(found, count))

    def _row(self, job: Job, now: datetime, cluster: str | None) -> JobRow:
        zone = zones_of(job.spec)[0]
        following = next_runs(schedules_of(job.spec), now, 1)
        return JobRow(
            name=job.metadata.name,
            schedule=schedule_words(job.spec),
            target=job.spec.target,
            clusters=self._reached(job, cluster),
            runs=len(units(job, self._shown(cluster), now)),
            next=following[0].astimezone(time_zone(zone)) if following else None,
            zone=zone,
        )

    def _times(self, job: Job, now: datetime, cluster: str | None) -> Iterator[NextRun]:
        zone, clusters = zones_of(job.spec)[0], self._reached(job, cluster)
        clock = time_zone(zone)
        for at in merged(schedules_of(job.spec), now):
            yield NextRun(job.metadata.name, at, at.astimezone(clock), zone, clusters)

    def _of(self, cluster: str | None, names: Sequence[str]) -> list[Job]:
        for name in names:
            if name not in self._jobs:
                raise UsageError(f"no job {name!r} in the estate{_near(name, self._jobs)}")
        if cluster is not None and cluster not in self._views:
            raise UsageError(f"no cluster {cluster!r} in the estate{_near(cluster, self._views)}")
        wanted = [self._jobs[name] for name in sorted(names or self._jobs)]
        return [job for job in wanted if self._reached(job, cluster)]

    def _reached(self, job: Job, cluster: str | None) -> tuple[str, ...]:
        return tuple(reached(job, self._shown(cluster)))

    def _shown(self, cluster: str | None) -> dict[str, ClusterView]:
        return self._views if cluster is None else {cluster: self._views[cluster]}


def _order(run: NextRun) -> tuple[datetime, str]:
    return run.at, run.job


def _near(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names[:20]) or 'none'}"
