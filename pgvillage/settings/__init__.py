"""Settings: what stands beside the reconciler and never in the estate repository (pgvillage.yaml)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints, model_validator

from pgvillage.settings.api import Api
from pgvillage.settings.chat import Channel, Mention, Service
from pgvillage.settings.common import (
    SSL_MODES,
    AppRole,
    ApproveMode,
    ClientCertificate,
    CorrectMode,
    Generate,
    Name,
    PlainSource,
    SecretSource,
    Section,
    Sops,
    SslMode,
    Stores,
    TlsFiles,
    Vault,
)
from pgvillage.settings.dashboard import DashboardSettings
from pgvillage.settings.directory import Directory, Domain, LdapBind, MemberAttribute, address_and_port
from pgvillage.settings.forge import CommentKind, Forge, ForgeKind, Hook, Signatures
from pgvillage.settings.jobs import Jobs
from pgvillage.settings.routing import Routing
from pgvillage.settings.serve import Replicas, Retention, Serve

__all__ = [
    "SSL_MODES",
    "Api",
    "AppRole",
    "ApproveMode",
    "Ceilings",
    "Channel",
    "ClientCertificate",
    "CommentKind",
    "CorrectMode",
    "Credential",
    "DashboardSettings",
    "Directory",
    "Domain",
    "Etcd",
    "Forge",
    "ForgeKind",
    "Generate",
    "Hook",
    "Jobs",
    "LdapBind",
    "LimitCeiling",
    "MemberAttribute",
    "Mention",
    "Name",
    "PatroniApi",
    "PlainSource",
    "Replicas",
    "Repository",
    "Retention",
    "Routing",
    "SecretSource",
    "Section",
    "Serve",
    "Service",
    "Settings",
    "Signatures",
    "Sops",
    "SslMode",
    "Stores",
    "Timeouts",
    "TlsFiles",
    "Vault",
    "address_and_port",
]


class Repository(Section):
    """The estate repository."""

    url: str = Field(description="Local path, file://, https:// or ssh:// URL (or git@host:path).")
    branch: str | None = Field(None, description="Branch to follow; the remote's default branch when nothing is named.")
    tag: str | None = None
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")] | None = None
    path: str = Field("", description="Subfolder of the repository that holds the estate.")
    token: SecretSource | None = Field(None, description="Access token for https.")
    username: str = Field("oauth2", description="User name sent with the token.")
    ssh_key: Path | None = Field(None, alias="sshKey", description="Private key for ssh.")
    known_hosts: Path | None = Field(
        None, alias="knownHosts", description="Pinned host keys for ssh; required for ssh."
    )
    cache: Path | None = Field(None, description="Folder of the clone; beside the state when unset.")
    timeout: float = Field(60, gt=0, le=3600, description="Seconds allowed for one git operation over the network.")
    max_file_size: int = Field(1 << 20, alias="maxFileSize", gt=0, description="Bytes; a larger manifest is refused.")
    max_files: int = Field(20_000, alias="maxFiles", gt=0)
    signatures: Signatures | None = None

    @model_validator(mode="after")
    def _one_revision(self) -> Repository:
        if sum(value is not None for value in (self.branch, self.tag, self.commit)) > 1:
            raise ValueError("name at most one of: branch, tag, commit")
        return self


class Credential(Section):
    """How to log in to the hosts that match `hosts`, and to no others."""

    user: str
    password: SecretSource | None = None
    hosts: list[str] = Field(
        min_length=1,
        description="Patterns of host:port this credential may be sent to, for example `pg*.prod.example:5432`; "
        "`*` does not cross a dot. A path to a socket folder is written as it is.",
    )
    sslmode: SslMode = Field("verify-full", description="The least a manifest may ask for.")
    sslrootcert: str | None = Field(None, description="CA file, or `system`.")
    sslcert: Path | None = None
    sslkey: Path | None = None
    database: str = Field("postgres", description="The maintenance database: lock, ledger and cluster-wide objects.")


class Etcd(Section):
    """An etcd cluster that an HA engine keeps its state in."""

    endpoints: list[str] = Field(min_length=1, description="http:// or https:// URLs, tried in order.")
    tls: TlsFiles = TlsFiles()
    user: str | None = None
    password: SecretSource | None = None
    timeout: float = Field(5, gt=0, le=300, description="Seconds for each request.")
    prefix: str = Field("stolon/cluster", description="Where stolon keeps its clusters.")
    patroni_prefix: str = Field(
        "service", alias="patroniPrefix", description="Where Patroni keeps its clusters: its `namespace`."
    )


class PatroniApi(Section):
    """How to log in to the REST API of Patroni's members that match `hosts`, and to no others."""

    hosts: list[str] = Field(
        min_length=1, description="Patterns of host:port that this may be sent to, for example `pg*.prod.example:8008`."
    )
    user: str | None = None
    password: SecretSource | None = None
    tls: TlsFiles = TlsFiles()
    members: list[str] = Field(
        default_factory=list,
        description="URLs of members, for clusters that name no etcd; with etcd they are found there.",
    )
    timeout: float = Field(10, gt=0, le=300, description="Seconds for each request.")

    @model_validator(mode="after")
    def _both_or_none(self) -> PatroniApi:
        if (self.user is None) != (self.password is None):
            raise ValueError("name both user and password, or neither")
        return self


class LimitCeiling(Section):
    count: int | None = Field(None, ge=0)
    share: int | None = Field(None, ge=0, le=100, description="Per cent.")


class Ceilings(Section):
    """What no manifest can raise."""

    correct: CorrectMode = "all"
    approve: ApproveMode = Field("gated", description="The least that a manifest may ask for.")
    drop: LimitCeiling = LimitCeiling()
    revoke: LimitCeiling = LimitCeiling()


class Timeouts(Section):
    """Seconds."""

    connect: float = Field(10, gt=0, le=300)
    read: float = Field(60, gt=0, le=3600, description="All reading of one target.")
    statement: float = Field(300, gt=0, le=86_400)
    lock: float = Field(10, gt=0, le=3600, description="Waiting for a lock of a database object.")
    writer: float = Field(30, ge=0, le=3600, description="Waiting for another applier of the same target.")
    failover: float = Field(
        60,
        ge=0,
        le=3600,
        description="Waiting for the new primary when the old one was lost in the middle of an apply.",
    )
    stale_writer: float = Field(
        60, alias="staleWriter", gt=1, le=3600, description="A silent applier's sessions are ended after this."
    )


class Settings(Section):
    """pgvillage.yaml: everything that a merge request must not be able to change."""

    repository: Repository
    credentials: dict[Name, Credential] = Field(default_factory=dict)
    secrets: dict[str, SecretSource] = Field(
        default_factory=dict, description="Secrets that manifests name; the key `*` stands for every other name."
    )
    vaults: dict[Name, Vault] = Field(default_factory=dict)
    sops: Sops | None = None
    directories: dict[Name, Directory] = Field(default_factory=dict)
    etcd: dict[Name, Etcd] = Field(default_factory=dict)
    patroni: dict[Name, PatroniApi] = Field(
        default_factory=dict, description="Logins to the REST API of Patroni's members, that clusters name as `ha.api`."
    )
    channels: dict[Name, Channel] = Field(default_factory=dict)
    webhooks: dict[Name, Hook] = Field(
        default_factory=dict, description="Pushes that make the daemon look at the repository at once."
    )
    forge: Forge = Forge()
    ceilings: Ceilings = Ceilings()
    timeouts: Timeouts = Timeouts()
    parallel: int = Field(8, ge=1, le=256, description="Targets read or written at a time.")
    state: Path | None = Field(None, description="Folder for the repository's cache and the daemon's memory.")
    serve: Serve = Serve()
    jobs: Jobs = Jobs()
    api: Api = Api()
    dashboard: DashboardSettings = DashboardSettings()
    routing: Routing = Routing()

    @model_validator(mode="after")
    def _known_credentials(self) -> Settings:
        for pattern, name in self.jobs.credentials.items():
            if name not in self.credentials:
                near = difflib.get_close_matches(name, self.credentials, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"jobs.credentials.{pattern}: there is no credential {name!r}{hint}")
        return self

    @model_validator(mode="after")
    def _bind_sources(self) -> Settings:
        stores = Stores(vaults=self.vaults, sops=self.sops)
        own = {id(source) for source in self.secrets.values()}
        for source in _sources(self):
            source.bind(stores)
            if source.generate is not None and id(source) not in own:
                raise ValueError("`generate` has its place under `secrets`: only passwords of roles are generated")
        return self


def _sources(node: object) -> Iterator[SecretSource]:
    if isinstance(node, SecretSource):
        yield node
    elif isinstance(node, BaseModel):
        for name in type(node).model_fields:
            yield from _sources(getattr(node, name))
    elif isinstance(node, dict | list):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _sources(each)
