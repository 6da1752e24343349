"""Jobs as one part of the daemon: it listens to looks, and the scheduler runs what they show to be applied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from pgvillage.core.lookup import Lookups
from pgvillage.core.plan import System, TargetPlan
from pgvillage.core.state import state_fingerprint
from pgvillage.daemon.estate_feed import Commit
from pgvillage.daemon.jobs.applied import AppliedJob, Cluster, applied_there
from pgvillage.daemon.jobs.scheduler import Scheduler
from pgvillage.daemon.look import Look
from pgvillage.estate.view import ClusterView, view_cluster
from pgvillage.resources.postgres.job import job_state
from pgvillage.running.reach import databases, declared_nodes


class JobService:
    """A Listener. `applies` is False for a daemon that only looks: it runs no job either."""

    def __init__(
        self, scheduler: Scheduler, commit: Callable[[], Commit | None], now: Callable[[], datetime], *, applies: bool
    ) -> None:
        self._scheduler, self._commit, self._now, self.applies = scheduler, commit, now, applies
        self._known: dict[str, Cluster] = {}

    async def looked(self, look: Look) -> None:
        plan, commit = look.plan.targets[0], self._commit()
        if plan.target.system is not System.POSTGRES or commit is None or commit.revision != look.plan.revision:
            return  # the look at the newer commit comes next
        name = plan.target.cluster
        jobs = applied_there(plan, declared_jobs(commit, name, _nodes(plan)))
        known = self._known.get(name, Cluster()).jobs if jobs is None else jobs
        self._known[name] = Cluster(known, self._still(look, plan))
        self._scheduler.use(name, self._known[name], commit.revision)

    async def keep(self, targets: Collection[str]) -> None:
        self._known = {name: found for name, found in self._known.items() if name in targets}
        self._scheduler.keep(targets)

    def _still(self, look: Look, plan: TargetPlan) -> str:
        suspension = look.status.suspension
        if not self.applies:
            return "this daemon only looks (serve.apply is off)"
        if suspension is not None and suspension.holds(self._now()):
            return f"suspended by {suspension.by}: {suspension.reason}"
        return f"it can't be read: {plan.error}" if plan.error else ""


def declared_jobs(commit: Commit, cluster: str, nodes: Sequence[str] | None) -> dict[str, AppliedJob]:
    """Of the manifests, by name. `nodes` are those that the cluster has, None where nobody says but the manifest."""
    view = view_cluster(commit.manifests, cluster, Lookups())
    present = (located.document for located in view.jobs if located.document.spec.ensure == "present")
    return {
        job.metadata.name: AppliedJob(
            job=job,
            version=state_fingerprint(job_state(job.spec, view)),
            databases=tuple(databases(job, view)) or (() if job.spec.databases else ("",)),
            nodes=tuple(_own(view, nodes) if job.spec.target == "all" else ("",)),
            root=commit.checkout.root,
            revision=commit.revision,
        )
        for job in present
    }


def _own(view: ClusterView, nodes: Sequence[str] | None) -> Sequence[str]:
    return nodes if nodes is not None else declared_nodes(view)


def _nodes(plan: TargetPlan) -> list[str] | None:
    return sorted(node.name for node in plan.topology.nodes) if plan.topology and plan.topology.nodes else None


class RealTime:
    """The clocks of this machine. Made in the event loop."""

    def __init__(self) -> None:
        self.steady = asyncio.get_running_loop().time

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
