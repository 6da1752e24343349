"""Kind Job: scheduled SQL with checks. Validated already; run by a later milestone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from pgvillage.estate.manifest.cluster import Cron
from pgvillage.estate.manifest.common import Ensure, Metadata, ObjectName, Part, Scalar, Selector, exactly_one

StepName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"),
    Field(description="Lower-case letters, digits, `_` and `-`, a letter or digit at both ends; at most 63."),
]


class Schedule(Part):
    cron: Cron
    time_zone: str = Field(
        "UTC", pattern=r"^[A-Za-z0-9_+/-]{1,64}$", description="An IANA time zone, such as Europe/Amsterdam."
    )


class SqlText(Part):
    model_config = ConfigDict(json_schema_extra=exactly_one("sql", "file"))

    name: StepName
    sql: str | None = Field(None, min_length=1)
    file: str | None = Field(None, min_length=1, description="A file of the estate repository.")

    @model_validator(mode="after")
    def _one_text(self) -> SqlText:
        if (self.sql is None) == (self.file is None):
            raise ValueError("needs exactly one of: sql, file")
        return self


class JobStep(SqlText):
    needs: list[StepName] = Field(default_factory=list)


class Expectation(Part):
    model_config = ConfigDict(json_schema_extra=exactly_one("value", "rows"))

    value: Scalar | None = None
    rows: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_way(self) -> Expectation:
        if (self.value is None) == (self.rows is None):
            raise ValueError("expect exactly one of: value, rows")
        return self


class Check(SqlText):
    expect: Expectation


class JobSpec(Part):
    clusters: Selector
    ensure: Ensure = "present"
    schedule: Schedule
    target: Literal["primary", "standby", "prefer-standby", "all", "any"] = "primary"
    databases: list[ObjectName] = Field(min_length=1)
    steps: list[JobStep] = Field(min_length=1)
    checks: list[Check] = Field(default_factory=list)


class Job(Part):
    """Scheduled SQL with checks."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["Job"]
    metadata: Metadata
    spec: JobSpec
