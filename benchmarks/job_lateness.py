"""How late runs of jobs begin, by the real clock: 1,000 jobs in 300 databases of 30 clusters, each once a minute.

`python -m benchmarks.job_lateness [SECONDS]`. Runs go through claim, steps and end with a store and a server in memory:
what is measured is the scheduler and what runs a job, not PostgreSQL.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgvillage.core.job_run import OpenRun, RunRecord
from pgvillage.daemon.jobs.applied import AppliedJob, Cluster
from pgvillage.daemon.jobs.lanes import Lanes
from pgvillage.daemon.jobs.scheduler import Scheduler
from pgvillage.daemon.jobs.service import RealTime
from tests.unit.running.fakes import Heard, MemoryStore, Stage, job_of, runner

_JOBS, _CLUSTERS, _DATABASES = 1_000, 30, 10


class _Store(MemoryStore):
    """Finds a cluster's open runs without looking at all that ended, as a store with an index does."""

    async def open(self, clusters: Collection[str] | None = None) -> list[OpenRun]:
        for key in [key for key, record in self.records.items() if record.status.ended and key not in self.held]:
            del self.records[key]
        return await super().open(clusters)


class _Deaf(Heard):
    def _hear(self, heard: list[object], what: object) -> None:
        del heard, what


class _Watch:
    def __init__(self) -> None:
        self.lates: list[timedelta] = []
        self.over = 0

    def began(self, record: RunRecord, late: timedelta) -> None:
        del record
        self.lates.append(late)

    def ended(self, record: RunRecord) -> None:
        del record
        self.over += 1

    def skipped(self, job: str, cluster: str, count: int) -> None:
        del job, cluster, count


def _jobs(number: int) -> dict[str, AppliedJob]:
    databases = tuple(f"d{each}" for each in range(_DATABASES))
    found = {}
    for each in range(number, _JOBS, _CLUSTERS):
        job = job_of(f"{{schedule: {{cron: '{each % 60} * * * * *'}}, steps: [{{name: a, sql: SELECT 1}}]}}")
        job = job.model_copy(update={"metadata": job.metadata.model_copy(update={"name": f"job{each}"})})
        found[job.metadata.name] = AppliedJob(job, "v1", databases)
    return found


async def _measure(seconds: float, folder: Path) -> None:
    stage, watch = Stage(folder, store=_Store(), heard=_Deaf()), _Watch()
    means = replace(stage.means(), now=lambda: datetime.now(UTC))
    scheduler = Scheduler(stage.store, runner(means), RealTime(), Lanes(64, 8), watch)
    for number in range(_CLUSTERS):
        scheduler.use(f"c{number}", Cluster(_jobs(number)), "r1")
    before = time.process_time()
    life = asyncio.create_task(scheduler.run())
    await asyncio.sleep(seconds)
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    await scheduler.stop(10)
    lates = sorted(late.total_seconds() for late in watch.lates)
    middle, most = lates[len(lates) // 2], lates[len(lates) * 99 // 100]
    print(f"{len(lates)} runs begun in {seconds:g} s, {watch.over} ended")
    print(f"lateness: median {middle:.3f} s, 99th percentile {most:.3f} s, most {lates[-1]:.3f} s")
    print(f"CPU {100 * (time.process_time() - before) / seconds:.0f} % of a core")
    print(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(_measure(float(sys.argv[1]) if len(sys.argv) > 1 else 60, Path(made)))
