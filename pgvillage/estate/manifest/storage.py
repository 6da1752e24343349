"""What a Cluster holds besides databases: tablespaces and replication slots."""

from __future__ import annotations

import posixpath
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from pgvillage.estate.manifest.common import Ensure, ObjectName, Part, given, lacking


def _clean(path: str) -> str:
    if path != posixpath.normpath(path) or path == "/" or path.startswith("//"):
        raise ValueError(f"a location is a path as the server has it: write {posixpath.normpath('/' + path)}")
    return path


ServerPath = Annotated[
    str,
    StringConstraints(pattern=r"^/[^'\x00]+$", max_length=1000),
    AfterValidator(_clean),
    Field(
        description="An absolute path on the server, without a quote, `..` or a slash at its end.",
        json_schema_extra={"pattern": r"^(/(?!\.{1,2}(/|(?![\s\S])))[^/'\u0000]+)+(?![\s\S])"},
    ),
]
SlotName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9_]{1,63}$"),
    Field(description="Lower-case letters, digits and `_`; at most 63."),
]


class TablespaceSettings(Part):
    """Planner and I/O settings of a tablespace, by PostgreSQL's own names."""

    seq_page_cost: float | None = Field(None, ge=0, alias="seq_page_cost")
    random_page_cost: float | None = Field(None, ge=0, alias="random_page_cost")
    effective_io_concurrency: int | None = Field(None, ge=0, le=1000, alias="effective_io_concurrency")
    maintenance_io_concurrency: int | None = Field(None, ge=0, le=1000, alias="maintenance_io_concurrency")


class TablespaceSpec(Part):
    name: ObjectName
    location: ServerPath | None = Field(
        None, description="An empty folder on the server (and on every standby); needed to create it."
    )
    owner: ObjectName | None = Field(None, description="Left alone when unset.")
    comment: str | None = Field(None, description="Left alone when unset.")
    settings: TablespaceSettings | None = Field(None, description="Exact when given.")
    ensure: Ensure = "present"


class ReplicationSlotSpec(Part):
    """A physical slot, or with `plugin` and `database` a logical one. Nothing in it can change in place."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [given("plugin", "database"), lacking("plugin", "database", "twoPhase", "failover")]
        }
    )

    name: SlotName
    plugin: ObjectName | None = Field(None, description="The output plugin of a logical slot, as `pgoutput`.")
    database: ObjectName | None = Field(None, description="The database of a logical slot.")
    two_phase: bool | None = Field(None, description="Of a logical slot; PostgreSQL 14 and later.")
    failover: bool | None = Field(None, description="Of a logical slot; PostgreSQL 17 and later.")
    ensure: Ensure = "present"

    @model_validator(mode="after")
    def _one_type(self) -> ReplicationSlotSpec:
        if (self.plugin is None) != (self.database is None):
            raise ValueError("a logical slot has both `plugin` and `database`, a physical one has neither")
        if self.plugin is None and (self.two_phase is not None or self.failover is not None):
            raise ValueError("`twoPhase` and `failover` are for logical slots: add `plugin` and `database`")
        return self
