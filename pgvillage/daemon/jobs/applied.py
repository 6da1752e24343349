"""Which jobs were applied to a cluster, as its last look found them: those and no others run there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pgvillage.core.plan import Status, TargetPlan
from pgvillage.core.run_key import RunKey
from pgvillage.estate.job_schedule import schedules_of
from pgvillage.estate.manifest.duration import duration_of
from pgvillage.estate.manifest.job import Job, JobSpec
from pgvillage.jobs.missed import Lateness
from pgvillage.jobs.schedule import Schedule


@dataclass(frozen=True)
class AppliedJob:
    """A Job on one cluster. `databases` and `nodes` each are a run of their own; one of "" where there is none.

    Equal ones say the same: `version` is what the ledger keeps. `root` is the checkout of `revision`.
    """

    job: Job = field(compare=False)
    version: str
    databases: tuple[str, ...] = ("",)
    nodes: tuple[str, ...] = ("",)
    root: Path = field(default=Path(), compare=False)
    revision: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.job.metadata.name

    @property
    def spec(self) -> JobSpec:
        return self.job.spec

    def schedules(self) -> list[Schedule]:
        return schedules_of(self.spec)

    @property
    def lateness(self) -> Lateness:
        deadline = duration_of(self.spec.deadline) if self.spec.deadline is not None else None
        return Lateness(deadline=deadline)

    def keys(self, scheduled: datetime, cluster: str) -> list[RunKey]:
        return [RunKey(self.name, scheduled, cluster, d, n) for d in self.databases for n in self.nodes]


@dataclass(frozen=True)
class Cluster:
    """What a cluster's last look says of its jobs. `still`: why no run may begin there now, "" when it may."""

    jobs: Mapping[str, AppliedJob] = field(default_factory=dict)
    still: str = ""


def applied_there(plan: TargetPlan, declared: Mapping[str, AppliedJob]) -> dict[str, AppliedJob] | None:
    """The declared jobs that have no change pending; None where the target was not read: what was known stays."""
    if plan.status is not Status.PLANNED:
        return None
    pending = {change.address.name[0] for change in plan.changes if change.address.kind == "job"}
    return {name: job for name, job in declared.items() if name not in pending}
