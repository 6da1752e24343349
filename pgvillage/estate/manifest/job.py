"""Kind Job: scheduled steps with checks. Validated already; run by a later milestone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from pgvillage.estate.manifest.common import (
    DocumentName,
    Ensure,
    Metadata,
    ObjectName,
    Part,
    Scalar,
    Selector,
    given,
)
from pgvillage.estate.manifest.duration import Duration, ShortDuration
from pgvillage.estate.manifest.job_command import Check, JobStep, ParameterName, Retries
from pgvillage.estate.manifest.job_schedule import Schedule
from pgvillage.estate.manifest.user import SecretName


class DatabasePattern(Part):
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        description="Databases that the estate declares on the cluster; `*` stands for any characters, `?` for one."
    )


class JobAlert(Part):
    on: list[Literal["failure", "lateness", "recovery"]] = Field(min_length=1)
    channel: DocumentName = Field(description="A channel of the settings.")
    late_after: Duration = Field("5m", description="How late a run may begin before it is late.")


class JobSpec(Part):
    model_config = ConfigDict(json_schema_extra={"not": {"allOf": [given("schedule"), given("schedules")]}})

    clusters: Selector
    ensure: Ensure = "present"
    enabled: bool = Field(True, description="Whether the schedule counts; by hand it can be run anyway.")
    schedule: Schedule | None = Field(None, description="Without one it is run by hand only.")
    schedules: list[Schedule] | None = Field(None, min_length=1, description="Several, in place of `schedule`.")
    target: Literal["primary", "standby", "prefer-standby", "all", "any"] = Field(
        "primary", description="Which node of the cluster; `all` is each of them."
    )
    databases: list[ObjectName | DatabasePattern] = Field(
        default_factory=list, description="Each is a run of its own. Not needed where no SQL runs."
    )
    role: ObjectName | None = Field(
        None,
        description="What SQL runs as (SET ROLE). It can be left out, or be a superuser, if the settings allow it.",
    )
    parameters: dict[ParameterName, Scalar | SecretName] = Field(
        default_factory=dict, description="Values of `:name` in SQL; never put into its text."
    )
    steps: list[JobStep] = Field(min_length=1)
    checks: list[Check] = Field(default_factory=list)
    parallel: int = Field(1, ge=1, le=64, description="Steps of one run at a time.")
    statement_timeout: ShortDuration | None = None
    lock_timeout: ShortDuration | None = None
    max_runtime: Duration = Field("1h", description="A run that takes longer is ended, and has failed.")
    deadline: Duration | None = Field(None, description="A run that can't begin within this time is given up.")
    retries: Retries | None = Field(None, description="Of the whole run.")
    overlap: Literal["forbid", "queue", "replace"] = Field(
        "forbid", description="While a run goes on the next one is skipped, waits, or ends it."
    )
    missed: Literal["skip", "once", "all"] = Field(
        "once", description="Runs that nobody was there to begin: none, the latest, or all of them (100 at most)."
    )
    delivery: Literal["at-most-once", "at-least-once"] = Field(
        "at-most-once",
        description="A crashed run whose steps are not one transaction is reported, or is run again.",
    )
    alerts: list[JobAlert] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_list(self) -> JobSpec:
        if self.schedule is not None and self.schedules is not None:
            raise ValueError("write one of: schedule, schedules")
        return self


class Job(Part):
    """Scheduled steps with checks."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["Job"]
    metadata: Metadata
    spec: JobSpec
