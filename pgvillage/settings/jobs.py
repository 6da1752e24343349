"""Settings of jobs: what a merge request can't allow itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from pgvillage.settings.common import Section

HostPattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.*-]+:([0-9]{1,5}|\*)$")]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Jobs(Section):
    """What jobs of the estate may do."""

    local_shell: bool = Field(
        False, alias="localShell", description="Whether steps may run programs where PgVillage runs."
    )
    http: list[HostPattern] = Field(
        default_factory=list,
        description="Patterns of host:port that steps may call, for example `hooks.example:443`; `*` does not cross a "
        "dot.",
    )
    superuser: list[NonEmpty] = Field(
        default_factory=list,
        description="Names of Jobs that may run SQL as a superuser, or as the credential's own user by naming no role; "
        "`*` stands for any characters.",
    )
    credentials: dict[NonEmpty, NonEmpty] = Field(
        default_factory=dict,
        description="Names of credentials that the SQL of jobs logs in with, by patterns of clusters' names (`*` "
        "stands for any characters; the first that fits counts). Make each a member of the jobs' roles and nothing "
        "more. Elsewhere the cluster's own is used, and refused if it is a superuser or may become one, unless "
        "`superuser` lists the job.",
    )
    parallel: int = Field(8, ge=1, le=256, description="Runs at a time in all.")
    per_cluster: int = Field(2, alias="perCluster", ge=1, le=64, description="Runs at a time on one cluster.")
    output: int = Field(65_536, ge=1_024, le=16 << 20, description="Bytes of a step's output that are kept.")
