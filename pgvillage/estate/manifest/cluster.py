"""Kind Cluster: a PostgreSQL cluster, deployed by something else (`connection`) or by PgVillage (`nodes`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pgvillage.estate.manifest.common import DocumentName, Metadata, Part, Scalar
from pgvillage.estate.manifest.database import InlineDatabase
from pgvillage.settings import CorrectMode, SslMode

HostPort = Annotated[
    str,
    StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|/[^:\x00]{1,90})(:[0-9]{1,5})?$"),
]  # fmt: skip
GoDuration = Annotated[str, StringConstraints(pattern=r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$")]
Cron = Annotated[str, StringConstraints(pattern=r"^(@[a-z]+|\S+(\s+\S+){4,5})$")]


class Connection(Part):
    hosts: list[HostPort] = Field(
        min_length=1, description="HOST:PORT; the primary among them is found, never declared."
    )
    credential: str = Field(description="A credential of the settings.")
    sslmode: SslMode | None = Field(None, description="At least what the credential asks for.")


class Node(Part):
    name: DocumentName
    address: str


class Synchronous(Part):
    min: int = Field(1, ge=1, le=64)
    max: int = Field(1, ge=1, le=64)

    @model_validator(mode="after")
    def _ordered(self) -> Synchronous:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is larger than max ({self.max})")
        return self


class Timings(Part):
    """stolon's intervals, as Go durations."""

    sleep_interval: GoDuration | None = None
    request_timeout: GoDuration | None = None
    convergence_timeout: GoDuration | None = None
    init_timeout: GoDuration | None = None
    sync_timeout: GoDuration | None = None
    db_wait_ready_timeout: GoDuration | None = None
    fail_interval: GoDuration | None = None
    dead_keeper_removal_interval: GoDuration | None = None
    proxy_check_interval: GoDuration | None = None
    proxy_timeout: GoDuration | None = None


class HighAvailability(Part):
    engine: Literal["none", "stolon", "patroni"] = "none"
    etcd: str | None = Field(None, description="An etcd of the settings.")
    cluster: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="The cluster's name in etcd; metadata.name when unset.",
    )
    synchronous: Synchronous | Literal[False] | None = Field(
        None, description="Synchronous replication; `false` switches it off, unset leaves it alone."
    )
    timings: Literal["default", "fast"] | Timings | None = Field(
        None, description="A profile or single intervals; unset leaves them alone."
    )

    @model_validator(mode="after")
    def _consistent(self) -> HighAvailability:
        if self.engine == "none" and (self.etcd or self.cluster or self.synchronous or self.timings):
            raise ValueError("etcd, cluster, synchronous and timings need an engine: stolon or patroni")
        return self


class HbaRule(Part):
    type: Literal["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"]
    database: str = Field(min_length=1)
    role: str = Field(min_length=1)
    address: str | None = None
    method: Literal["scram-sha-256", "cert", "ldap", "md5", "peer", "ident", "gss", "pam", "radius", "reject", "trust"]
    options: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _address_fits(self) -> HbaRule:
        if (self.type == "local") == (self.address is not None):
            raise ValueError("a `local` rule has no address, every other rule needs one")
        return self


class Postgres(Part):
    version: int | None = Field(None, ge=13, le=18, description="Major version.")
    parameters: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.$]{0,62}$")], Scalar | None] = (
        Field(default_factory=dict, description="Server parameters; null resets one.")
    )
    hba: list[HbaRule] | None = None


PrivilegeClass = Literal["database", "schema", "table", "sequence"]
PRIVILEGE_CLASSES: tuple[PrivilegeClass, ...] = ("database", "schema", "table", "sequence")


class Authority(Part):
    """What PgVillage is complete about. What lies outside is left alone and, where it matters, reported."""

    roles: Literal["listed", "none"] = Field("listed", description="Attributes of declared roles are exact.")
    memberships: Literal["listed", "none"] = Field("listed", description="Memberships of declared roles are exact.")
    privileges: list[PrivilegeClass] = Field(
        default_factory=lambda: list(PRIVILEGE_CLASSES),
        description="Classes in which the privileges of declared roles are exact.",
    )
    public: Literal["listed"] = Field("listed", description="PUBLIC is exact only where a Database declares it.")


class Keep(Part):
    full: int = Field(ge=1)


class Verify(Part):
    restore: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[hdw]$")]


class Backup(Part):
    store: str
    schedule: Cron
    from_: Literal["primary", "standby"] = Field("standby", alias="from")
    keep: Keep | None = None
    verify: Verify | None = None


class Vip(Part):
    address: str
    via: Literal["haproxy", "keepalived"] = "haproxy"


class Connect(Part):
    vip: Vip | None = None


class ClusterPolicy(Part):
    correct: CorrectMode | None = Field(None, description="Drift correction; the Estate's when unset.")


class ClusterSpec(Part):
    connection: Connection | None = None
    nodes: list[Node] | None = Field(None, min_length=1)
    witness: str | None = None
    ha: HighAvailability = HighAvailability()
    authority: Authority | None = None
    policy: ClusterPolicy = ClusterPolicy()
    postgres: Postgres = Postgres()
    databases: list[InlineDatabase] = Field(default_factory=list)
    backup: Backup | None = None
    connect: Connect | None = None

    @model_validator(mode="after")
    def _one_place(self) -> ClusterSpec:
        if (self.connection is None) == (self.nodes is None):
            raise ValueError("a cluster needs exactly one of: connection, nodes")
        if self.witness is not None and (self.nodes is None or len(self.nodes) != 2):
            raise ValueError("a witness goes with exactly two nodes")
        if self.connection and self.ha.engine == "stolon" and self.ha.etcd is None:
            raise ValueError("engine stolon on a connection needs `etcd`, an etcd of the settings")
        return self


class Cluster(Part):
    """A PostgreSQL cluster."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["Cluster"]
    metadata: Metadata
    spec: ClusterSpec
