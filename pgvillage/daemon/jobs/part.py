"""Jobs as a part of the daemon: where its runs are claimed, who runs them, and their end when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry

from pgvillage.clients.etcd import EtcdClient
from pgvillage.clients.job_store.in_etcd import EtcdRunStore
from pgvillage.clients.job_store.in_state import StateRunStore
from pgvillage.clients.state.state import State
from pgvillage.core.errors import PgVillageError
from pgvillage.core.job_run import RunRecord
from pgvillage.core.lookup import Lookups
from pgvillage.daemon.estate_feed import EstateFeed
from pgvillage.daemon.jobs.applied import AppliedJob
from pgvillage.daemon.jobs.lanes import Lanes
from pgvillage.daemon.jobs.metrics import JobMetrics
from pgvillage.daemon.jobs.scheduler import Scheduler
from pgvillage.daemon.jobs.service import JobService, RealTime
from pgvillage.estate.view import view_cluster
from pgvillage.running.contract import RunStore
from pgvillage.running.means import Order
from pgvillage.running.run import run_once
from pgvillage.settings import Settings
from pgvillage.wiring import RealWorld

log = structlog.get_logger("pgvillage.jobs")

_TIDY = 3600.0  # seconds between looks for ended runs that nobody needs to know of any more


class JobPart:
    """`service` hears looks; `run` is a task of the daemon."""

    def __init__(
        self, world: Callable[[], RealWorld], feed: EstateFeed, state: State, registry: CollectorRegistry, replica: str
    ) -> None:
        self._world, self._feed, self._state, self._replica = world, feed, state, replica
        settings = world().settings
        self._store = self._store_of(settings)
        lanes = Lanes(settings.jobs.parallel, settings.jobs.per_cluster)
        watcher = JobMetrics(registry, lambda: lanes.running, lambda: lanes.waiting)
        self.scheduler = Scheduler(self._store, self._run_one, RealTime(), lanes, watcher)
        self.service = JobService(self.scheduler, lambda: feed.good, self._now, applies=settings.serve.apply)

    def _store_of(self, settings: Settings) -> RunStore:
        """What replicas share the estate by also keeps their runs apart; alone, the state database does."""
        shared = settings.serve.replicas
        if shared is None:
            return StateRunStore(self._state.engine)
        self._etcd = EtcdClient(shared.etcd, settings.etcd[shared.etcd])
        return EtcdRunStore(self._etcd, shared.prefix, shared.lease)

    def use(self, settings: Settings) -> None:
        """New settings; where runs are claimed stays as it was at the start."""
        self.scheduler.limits(settings.jobs.parallel, settings.jobs.per_cluster)
        self.service.applies = settings.serve.apply

    async def run(self) -> None:
        """Until cancelled; runs that go on then have the settings' grace to end."""
        async with AsyncExitStack() as stack:
            if isinstance(self._store, EtcdRunStore):
                await stack.enter_async_context(self._etcd)
                await stack.enter_async_context(self._store)
            tidy = asyncio.create_task(self._tidy())
            try:
                await self.scheduler.run()
            finally:
                tidy.cancel()
                await self.scheduler.stop(self._world().settings.serve.grace)

    async def _run_one(self, job: AppliedJob, record: RunRecord) -> RunRecord:
        commit, cluster = self._feed.good, record.key.cluster
        assert commit is not None  # what is applied was seen in one
        view = view_cluster(commit.manifests, cluster, Lookups())
        means = self._world().job_means(job.job, {cluster: view}, self._store, self._state.job_runs, self._replica)
        return await run_once(means, Order(job.job, record.key, job.root, job.revision))

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDY)
            days = self._world().settings.serve.retention.runs
            try:
                await self._store.forget(self._now() - timedelta(days=days))
            except PgVillageError as error:
                log.warning("ended runs could not be forgotten", error=str(error))

    def _now(self) -> datetime:
        return self._world().now()
