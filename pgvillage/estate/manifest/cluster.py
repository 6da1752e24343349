"""Kind Cluster: a PostgreSQL cluster, deployed by something else (`connection`) or by PgVillage (`nodes`)."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonValue

from pgvillage.estate.manifest.common import (
    DocumentName,
    Metadata,
    ObjectName,
    Part,
    Scalar,
    exactly_one,
    given,
    lacking,
)
from pgvillage.estate.manifest.database import InlineDatabase
from pgvillage.estate.manifest.ha import HighAvailability
from pgvillage.estate.manifest.storage import ReplicationSlotSpec, TablespaceSpec
from pgvillage.settings import CorrectMode, SslMode

HostPort = Annotated[
    str,
    StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|/[^:\x00]{1,90})(:[0-9]{1,5})?$"),
    Field(description="HOST:PORT, [IPv6]:PORT, or a socket's folder from `/` on."),
]  # fmt: skip
Cron = Annotated[
    str,
    StringConstraints(pattern=r"^(@[a-z]+|\S+(\s+\S+){4,5})$"),
    Field(description="Five or six cron fields, such as `15 2 * * *`, or a word such as `@daily`."),
]
ParameterName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.$]{0,62}$"),
    Field(description="A server parameter's name: letters, digits, `_`, `.` and `$`."),
]


Interface = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,15}$"),
    Field(description="A network interface: letters, digits, `.`, `_` and `-`; at most 15."),
]
WebAddress = Annotated[
    str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\[\]:-]+$"), Field(description="http(s)://HOST:PORT.")
]


class Connection(Part):
    hosts: list[HostPort] = Field(
        default_factory=list,
        description="HOST:PORT; the primary among them is found, never declared. With an HA engine they may be left "
        "out: they are then those that the engine keeps in etcd.",
    )
    credential: str = Field(description="A credential of the settings.")
    sslmode: SslMode | None = Field(None, description="At least what the credential asks for.")


class Node(Part):
    name: DocumentName
    address: str


class HbaRule(Part):
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"type": {"const": "local"}}},
            "then": lacking("address"),
            "else": given("address"),
        }
    )

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
    parameters: dict[ParameterName, Scalar | None] = Field(
        default_factory=dict, description="Server parameters; null resets one."
    )
    hba: list[HbaRule] | None = None


PrivilegeClass = Literal[
    "database", "schema", "table", "column", "sequence", "function", "type", "language", "foreignDataWrapper",
    "foreignServer", "largeObject", "tablespace", "parameter",
]  # fmt: skip
PRIVILEGE_CLASSES: tuple[PrivilegeClass, ...] = get_args(PrivilegeClass)


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
    restore: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[hdw]$")] = Field(
        description="How often a restore is tried: 12h, 7d, 4w."
    )


class Backup(Part):
    store: str
    schedule: Cron
    from_: Literal["primary", "standby"] = Field("standby", alias="from")
    keep: Keep | None = None
    verify: Verify | None = None


class Vip(Part):
    """An address that moves to where clients should go."""

    address: str = Field(description="ADDRESS/PREFIX, for example 10.1.0.10/24.")
    via: Literal["haproxy", "keepalived"] = "haproxy"
    interface: Interface | None = Field(None, description="Where keepalived puts it.")
    router_id: int | None = Field(None, ge=1, le=255, description="keepalived's virtual_router_id on this network.")


class HaProxy(Part):
    """HAProxy before the cluster: one port leads to the primary, another spreads reads over standbys."""

    port: int = Field(5000, ge=1, le=65535)
    standby_port: int = Field(5001, ge=1, le=65535)
    max_lag: int | None = Field(None, ge=0, description="Bytes; a standby that lacks more gets no reads.")
    check_port: int = Field(
        8008, ge=1, le=65535, description="Patroni's REST API on every node: what HAProxy asks without `routing`."
    )


class Connect(Part):
    """How clients reach the cluster; `dsn`, `render` and the routing API read it."""

    vip: Vip | None = None
    haproxy: HaProxy | None = None
    proxy: list[HostPort] | None = Field(None, min_length=1, description="Where stolon-proxy listens.")
    routing: WebAddress | None = Field(None, description="Where PgVillage's routing API listens: what HAProxy asks.")


class ClusterPolicy(Part):
    correct: CorrectMode | None = Field(None, description="Drift correction; the Estate's when unset.")


_PLACE_RULES: list[JsonValue] = [
    exactly_one("connection", "nodes"),
    {
        "if": given("witness"),
        "then": {"required": ["nodes"], "properties": {"nodes": {"type": "array", "minItems": 2, "maxItems": 2}}},
    },
    {
        "if": {
            "required": ["connection", "ha"],
            "properties": {
                "connection": {"type": "object"},
                "ha": {"type": "object", "required": ["engine"], "properties": {"engine": {"const": "stolon"}}},
            },
        },
        "then": {"properties": {"ha": given("etcd")}},
    },
    {
        "if": {
            "required": ["connection", "ha"],
            "properties": {
                "connection": {"type": "object"},
                "ha": {"type": "object", "required": ["engine"], "properties": {"engine": {"const": "patroni"}}},
            },
        },
        "then": {"properties": {"ha": {"anyOf": [given("etcd"), given("api")]}}},
    },
    {
        "if": {"required": ["connection"], "properties": {"connection": {"type": "object"}}},
        "then": {
            "anyOf": [
                {"properties": {"connection": {"required": ["hosts"], "properties": {"hosts": {"minItems": 1}}}}},
                {"required": ["ha"], "properties": {"ha": given("etcd")}},
            ]
        },
    },
]


class ClusterSpec(Part):
    model_config = ConfigDict(json_schema_extra={"allOf": _PLACE_RULES})

    connection: Connection | None = Field(None, description="A cluster that something else deploys.")
    nodes: list[Node] | None = Field(None, min_length=1, description="A cluster that PgVillage deploys.")
    witness: str | None = None
    ha: HighAvailability = HighAvailability()
    authority: Authority | None = None
    policy: ClusterPolicy = ClusterPolicy()
    postgres: Postgres = Postgres()
    databases: list[InlineDatabase] = Field(default_factory=list)
    tablespaces: list[TablespaceSpec] = Field(default_factory=list, description="Others are left alone.")
    replication_slots: list[ReplicationSlotSpec] = Field(default_factory=list, description="Others are left alone.")
    external_roles: list[ObjectName] = Field(
        default_factory=list, description="Roles that exist on the cluster and are managed elsewhere."
    )
    backup: Backup | None = None
    connect: Connect | None = None

    @model_validator(mode="after")
    def _one_place(self) -> ClusterSpec:
        if (self.connection is None) == (self.nodes is None):
            raise ValueError("a cluster needs exactly one of: connection, nodes")
        if self.witness is not None and (self.nodes is None or len(self.nodes) != 2):
            raise ValueError("a witness goes with exactly two nodes")
        if self.connection:
            self._found_by(self.connection)
        return self

    def _found_by(self, connection: Connection) -> None:
        """Where the nodes of a cluster that something else deploys are known from."""
        if self.ha.engine == "stolon" and self.ha.etcd is None:
            raise ValueError("engine stolon on a connection needs `etcd`, an etcd of the settings")
        if self.ha.engine == "patroni" and self.ha.etcd is None and self.ha.api is None:
            raise ValueError("engine patroni on a connection needs `etcd` or `api`, of the settings")
        if not connection.hosts and self.ha.etcd is None:
            raise ValueError("a connection needs `hosts`, unless an HA engine's etcd names them")


class Cluster(Part):
    """A PostgreSQL cluster."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["Cluster"]
    metadata: Metadata
    spec: ClusterSpec
