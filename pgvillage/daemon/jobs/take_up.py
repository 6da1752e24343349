"""From a job that is due on a cluster to the runs that are noted: missed ones by policy, overlapping ones too."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from pgvillage.core.job_run import RunRecord, RunStatus
from pgvillage.daemon.jobs.applied import AppliedJob
from pgvillage.daemon.jobs.lanes import Kin, kin
from pgvillage.jobs.missed import Due, due
from pgvillage.running.contract import RunStore


@dataclass(frozen=True, slots=True)
class Taken:
    """`records` are those that nobody had noted before; `overlapped` the kinds whose run going on is to be ended.

    `skipped` counts scheduled times that nobody was there for, and that the policy lets go; at least that many if
    `more`.
    """

    records: tuple[RunRecord, ...] = ()
    overlapped: frozenset[Kin] = frozenset()
    skipped: int = 0
    more: bool = False


async def take_up(
    store: RunStore, job: AppliedJob, cluster: str, now: datetime, going_on: Collection[Kin], revision: str
) -> Taken:
    """Note what is due now. Raises StateError, ReadError: nothing is noted then, and the next try finds the same."""
    last = await store.cursor(job.name, cluster, now)
    found = due(job.schedules(), last, now, job.spec.missed, job.lateness)
    if now <= last or not (found.runs or found.skipped):
        return Taken()
    records = list(_records(job, cluster, now, found, going_on, revision))
    fresh = await store.take_up(job.name, cluster, now, records)
    replaced = {kin(each.key) for each in fresh} & set(going_on) if job.spec.overlap == "replace" else set()
    return Taken(tuple(fresh), frozenset(replaced), found.skipped, found.more)


def _records(
    job: AppliedJob, cluster: str, now: datetime, found: Due, going_on: Collection[Kin], revision: str
) -> Iterator[RunRecord]:
    for scheduled in found.runs:
        for key in job.keys(scheduled, cluster):
            if kin(key) in going_on and job.spec.overlap == "forbid":
                why = "the run before it was still going on"
                yield RunRecord(key, RunStatus.SKIPPED, now, ended=now, why=why, revision=revision)
            else:
                yield RunRecord(key, RunStatus.DUE, now, revision=revision)
