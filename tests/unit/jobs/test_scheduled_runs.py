"""Schedulers with runs as they are made: by the real clock, two on one store, one of them gone in the middle."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from prometheus_client import CollectorRegistry

from pgvillage.core.job_run import RunStatus
from pgvillage.core.job_work import WorkResult
from pgvillage.daemon.jobs.applied import AppliedJob, Cluster
from pgvillage.daemon.jobs.lanes import Lanes
from pgvillage.daemon.jobs.metrics import JobMetrics
from pgvillage.daemon.jobs.scheduler import Scheduler
from pgvillage.daemon.jobs.service import RealTime
from tests.unit.running.fakes import Stage, job_of, runner

_EVERY_SECOND = "{schedule: {every: 1s}, missed: all, overlap: queue, steps: [{name: a, sql: SELECT 1}]}"


def _scheduler(stage: Stage, owner: str, registry: CollectorRegistry) -> Scheduler:
    means = replace(stage.means(), owner=owner, now=lambda: datetime.now(UTC))
    lanes = Lanes(8, 2)
    metrics = JobMetrics(registry, lambda: lanes.running, lambda: lanes.waiting)
    scheduler = Scheduler(stage.store, runner(means), RealTime(), lanes, metrics)
    job = AppliedJob(job_of(_EVERY_SECOND), "v1", ("shop",), root=stage.root)
    scheduler.use("c1", Cluster({job.name: job}), "abc")
    return scheduler


async def _until_done(stage: Stage, count: int) -> None:
    async with asyncio.timeout(30):
        while sum(r.status is RunStatus.SUCCEEDED for r in stage.store.records.values()) < count:
            await asyncio.sleep(0.02)


def test_each_second_is_run_once_whoever_is_there(tmp_path: Path) -> None:
    async def story() -> None:
        stage, registry = Stage(tmp_path), CollectorRegistry()
        stuck = asyncio.Event()

        async def first_hangs(work: object) -> WorkResult:
            if not stuck.is_set():
                stuck.set()
                await asyncio.Event().wait()
            return WorkResult(rows=1)

        stage.ways.does["SELECT 1"] = first_hangs
        one = _scheduler(stage, "one", registry)
        life = asyncio.create_task(one.run())
        await asyncio.wait_for(stuck.wait(), 30)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        await one.stop(0)
        (hung,) = [r for r in stage.store.records.values() if r.attempt]
        assert hung.status is RunStatus.DUE, "one transaction: another may run it again"

        others = [_scheduler(stage, name, CollectorRegistry()) for name in ("two", "three")]
        lives = [asyncio.create_task(each.run()) for each in others]
        await _until_done(stage, 3)
        for each in lives:
            each.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        for scheduler in others:
            await scheduler.stop(20)
        done = [r for r in stage.store.records.values() if r.status is RunStatus.SUCCEEDED]
        times = sorted(r.key.scheduled for r in done)
        assert hung.key in {r.key for r in done}
        assert len(set(times)) == len(times)
        assert all(after - before == timedelta(seconds=1) for before, after in pairwise(times))
        sent = [work.run for work in stage.ways.sent]
        assert sorted(sent) == sorted([hung.key.id, *(r.key.id for r in done)]), "once each, and the hung one again"

    asyncio.run(story())
