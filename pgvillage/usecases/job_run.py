"""Runs a Job now or for one of its times, from a command: which runs that makes, and each of them to its end."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgvillage.core.errors import PgVillageError, UsageError
from pgvillage.core.job_run import RunRecord, RunStatus, RunTaken
from pgvillage.core.lookup import Lookups
from pgvillage.core.run_key import RunKey
from pgvillage.estate.job_schedule import schedules_of
from pgvillage.estate.manifest import Job
from pgvillage.estate.view import ClusterView, view_cluster
from pgvillage.jobs.missed import newest
from pgvillage.jobs.schedule import next_runs, runs_between
from pgvillage.running.means import Means, Order, Stop
from pgvillage.running.reach import declared_nodes, reached, units
from pgvillage.running.run import run_once
from pgvillage.usecases.world import World

_BACK = timedelta(days=366 * 5)  # how far back a latest time is looked for: 29 February
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """`at` None is the newest time of the schedule; `by_hand` now, whatever the schedule says."""

    job: str
    by: str
    clusters: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    at: datetime | None = None
    by_hand: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to run. `views` are those of its clusters."""

    job: Job
    scheduled: datetime
    keys: tuple[RunKey, ...]
    views: dict[str, ClusterView]
    root: Path
    revision: str

    def order(self, key: RunKey) -> Order:
        return Order(self.job, key, self.root, self.revision)


@dataclass(frozen=True, slots=True)
class Ran:
    """`taken`: somebody else runs it, or has. `error`: why nothing is known of how it went, "" else."""

    key: RunKey
    record: RunRecord | None
    taken: bool = False
    error: str = ""

    @property
    def fine(self) -> bool:
        """It did what it should, or somebody is at it."""
        good = (RunStatus.SUCCEEDED, RunStatus.SKIPPED)
        going = self.taken and self.record is not None and not self.record.status.ended
        return not self.error and (going or (self.record is not None and self.record.status in good))


async def prepare(world: World, asked: Asked) -> Prepared:
    """Reads the estate, and for `target: all` the nodes. Raises UsageError, ManifestError, SourceError, ReadError."""
    checkout = await asyncio.to_thread(world.checkout, None)
    manifests = await asyncio.to_thread(world.manifests, checkout)
    located = manifests.jobs.get(asked.job)
    if located is None or located.document.spec.ensure != "present":
        raise UsageError(f"no job {asked.job!r} in the estate; {_hint(asked.job, manifests.jobs)}")
    job = located.document
    # No directory is asked: who is in which group makes no run.
    views = {name: view_cluster(manifests, name, Lookups()) for name in manifests.clusters}
    views = {name: views[name] for name in _chosen("cluster", asked.clusters, reached(job, views))}
    scheduled = _scheduled(job, asked, world.now())
    keys = units(job, views, scheduled, await _nodes(world, job, views))
    found = sorted({key.database for key in keys})
    wanted = set(_chosen("database", asked.databases, found))
    keys = [key for key in keys if key.database in wanted]
    if not keys:
        raise UsageError(f"job {asked.job} makes no run: the estate declares none of its databases there")
    return Prepared(job, scheduled, tuple(keys), views, checkout.root, checkout.revision)


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known)) or 'none'}"


def _chosen(what: str, wanted: tuple[str, ...], found: list[str]) -> list[str]:
    for name in wanted:
        if name not in found:
            raise UsageError(f"the job reaches no {what} {name!r}; {_hint(name, found)}")
    return [name for name in found if not wanted or name in wanted]


def _scheduled(job: Job, asked: Asked, now: datetime) -> datetime:
    if asked.by_hand:
        return now.astimezone(UTC)
    name, schedules = job.metadata.name, schedules_of(job.spec)
    if not schedules:
        why = "is not enabled" if not job.spec.enabled else "has no schedule"
        raise UsageError(f"job {name} {why}: --now runs it by hand")
    if asked.at is None:
        found = newest(schedules, now - _BACK, now, 1)
        if not found:
            raise UsageError(f"job {name} has never been due yet: --now runs it by hand")
        return found[0].astimezone(UTC)
    if not list(runs_between(schedules, asked.at - _TICK, asked.at)):
        following = next_runs(schedules, asked.at, 1)
        hint = f"the next one is {following[0].isoformat()}" if following else "no time comes after it"
        raise UsageError(f"--at {asked.at.isoformat()} is no time of job {name}'s schedule; {hint}")
    return asked.at.astimezone(UTC)


async def _nodes(world: World, job: Job, views: dict[str, ClusterView]) -> dict[str, list[str]]:
    if job.spec.target != "all":
        return {}
    found: dict[str, list[str]] = {}
    for name, view in views.items():
        hosts = declared_nodes(view) or await world.engine_hosts(name, view.cluster)
        found[name] = list(hosts)
    return found


async def run_all(
    means: Callable[[str], Means], prepared: Prepared, asked: Asked, limits: tuple[int, int], stop: Stop
) -> list[Ran]:
    """Every run to its end, so many at a time in all and on one cluster (`limits`); `means` by cluster."""
    whole, each = asyncio.Semaphore(limits[0]), {name: asyncio.Semaphore(limits[1]) for name in prepared.views}

    async def one(key: RunKey) -> Ran:
        async with each[key.cluster], whole:
            return await _run(means(key.cluster), prepared.order(key), asked, stop)

    return list(await asyncio.gather(*(one(key) for key in prepared.keys)))


async def _run(means: Means, order: Order, asked: Asked, stop: Stop) -> Ran:
    key = order.key
    try:
        await _note(means, order, asked)
        while True:
            record = await run_once(means, order, again=asked.again, stop=stop)
            if record.status is not RunStatus.DUE or stop.asked.is_set():
                return Ran(key, record)
            await _wait(means, record, stop)
    except RunTaken as taken:
        return Ran(key, taken.record, taken=True)
    except PgVillageError as error:
        return Ran(key, None, error=str(error))


async def _note(means: Means, order: Order, asked: Asked) -> None:
    """The cursor stays where the daemon, if there is one, has it: a run that is known is not noted again."""
    key, now = order.key, means.now()
    record = RunRecord(key, RunStatus.DUE, now, by=asked.by if asked.by_hand else "", revision=order.revision)
    cursor = await means.store.cursor(key.job, key.cluster, now)
    await means.store.take_up(key.job, key.cluster, cursor, [record])


async def _wait(means: Means, record: RunRecord, stop: Stop) -> None:
    """Until the next try. Who stops it ends the run in that try, before a step begins."""
    seconds = (record.not_before - means.now()).total_seconds() if record.not_before is not None else 0
    try:
        await asyncio.wait_for(stop.asked.wait(), max(0.0, seconds))
    except TimeoutError:
        return
