"""From looks to what the scheduler may run: what is applied, and nothing where a target stands still."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Origin, Source
from pgvillage.core.job_run import RunRecord, RunStatus
from pgvillage.core.plan import Plan, Status, System, TargetId, TargetPlan
from pgvillage.core.run_key import RunKey
from pgvillage.core.status import Suspension, TargetStatus
from pgvillage.daemon.estate_feed import Commit
from pgvillage.daemon.jobs.metrics import JobMetrics
from pgvillage.daemon.jobs.service import JobService
from pgvillage.daemon.look import Look
from tests.resources.case import manifests_of
from tests.unit.jobs.scheduler_case import EPOCH, Case

_JOB = """\
kind: Job
metadata: {{name: {name}}}
spec:
  clusters: {{names: [c]}}
  schedule: {{every: 1h}}
  databases: [app]
  role: worker
  steps: [{{name: s, sql: "select 1"}}]
"""
_USER = "kind: User\nmetadata: {name: worker}\nspec: {clusters: {names: [c]}}\n"
_CHANGE = Change(Address("c", "job", ("two",)), Action.CREATE, None, None, (), Origin.GIT, Source())
_PLAN = TargetPlan(TargetId("c"), Status.PLANNED)


@dataclass(frozen=True)
class _Files:
    root: Path = Path("/estate")
    revision: str = "r1"
    dirty: bool = False
    subject: str = ""
    refused: str = ""


def _service(case: Case, *, applies: bool = True) -> JobService:
    text = "\n---\n".join([_JOB.format(name="one"), _JOB.format(name="two"), _USER])
    manifests = manifests_of(text)
    commit = Commit(_Files(), manifests, (TargetId("c"),))
    return JobService(case.scheduler, lambda: commit, case.time.now, applies=applies)


def _look(plan: TargetPlan = _PLAN, revision: str = "r1", suspension: Suspension | None = None) -> Look:
    return Look("c", Plan(revision, (plan,)), replace(TargetStatus("c"), suspension=suspension), {})


def _began(*looks: Look, applies: bool = True) -> list[str]:
    async def story() -> list[str]:
        case = Case(EPOCH)
        service = _service(case, applies=applies)
        for look in looks:
            await service.looked(look)
        await case.until(EPOCH + timedelta(hours=1, minutes=1))
        return [f"{record.key.job}/{record.key.database}" for record, _ in case.seen.began]

    return asyncio.run(story())


def test_what_is_applied_runs_and_what_is_pending_does_not() -> None:
    assert _began(_look()) == ["one/app", "two/app"]
    assert _began(_look(replace(_PLAN, changes=(_CHANGE,)))) == ["one/app"]
    assert _began(_look(replace(_PLAN, changes=(_CHANGE._replace(held="approve"),)))) == ["one/app"]


def test_looks_that_say_nothing_of_this_commit_are_passed_over() -> None:
    assert _began(_look(revision="r0")) == []
    assert _began(_look(replace(_PLAN, target=TargetId("c", System.STOLON)))) == []


def test_nothing_begins_where_a_target_stands_still_or_is_blind() -> None:
    held = Suspension("ann", "migration", EPOCH, None)
    assert _began(_look(suspension=held)) == []
    assert _began(_look(), _look(suspension=held), _look()) == ["one/app", "two/app"]
    blind = TargetPlan(TargetId("c"), Status.UNREACHABLE, error="no route")
    assert _began(_look(), _look(blind)) == []
    assert _began(_look(), _look(blind), _look()) == ["one/app", "two/app"]
    assert _began(_look(), applies=False) == []


def test_metrics_tell_the_last_success_and_every_end() -> None:
    registry = CollectorRegistry()
    metrics = JobMetrics(registry, lambda: 3, lambda: 5)
    record = RunRecord(RunKey("j", EPOCH, "c"), RunStatus.SUCCEEDED, EPOCH, ended=EPOCH)
    metrics.began(record, timedelta(seconds=2))
    for status in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.SKIPPED):
        metrics.ended(replace(record, status=status))
    metrics.skipped("j", "c", 4)
    labels = {"job": "j", "cluster": "c"}
    value = registry.get_sample_value
    assert value("pgvillage_job_last_success_timestamp_seconds", labels) == EPOCH.timestamp()
    assert value("pgvillage_job_runs_total", {**labels, "status": "failed"}) == 1
    assert value("pgvillage_job_missed_total", labels) == 4
    assert value("pgvillage_job_lateness_seconds_bucket", {"le": "1.0"}) == 0
    assert value("pgvillage_job_lateness_seconds_bucket", {"le": "2.5"}) == 1
    assert (value("pgvillage_job_running"), value("pgvillage_job_due")) == (3, 5)
