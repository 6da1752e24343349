"""Settings: what stands beside the reconciler and never in the estate repository (pgvillage.yaml)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SSL_MODES: tuple[SslMode, ...] = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
CorrectMode = Literal["off", "safe", "all"]
MemberAttribute = Literal["member", "uniqueMember", "memberUid", "memberOf"]


def _domain(text: str) -> str:
    labels = text.removesuffix(".").split(".")
    if len(text) > 240 or not all(
        re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", each) for each in labels
    ):
        raise ValueError(
            "expected a domain in letters, digits, - and dots, such as corp.example; no _ldap._tcp before it"
        )
    return text


Domain = Annotated[str, AfterValidator(_domain)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class PlainSource(Section):
    """Where the value that opens a secret store comes from: one of `env`, `file`, `command`."""

    env: str | None = Field(None, description="Environment variable that holds the value.")
    file: str | None = Field(None, description="File that holds the value; one trailing newline is dropped.")
    command: list[str] | None = Field(
        None, min_length=1, description="Argument list of a program that prints the value; no shell."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.env, self.file, self.command)) != 1:
            raise ValueError("a secret needs exactly one of: env, file, command")
        return self


class AppRole(Section):
    role_id: str = Field(alias="roleId", min_length=1)
    secret_id: PlainSource = Field(alias="secretId")
    mount: str = Field("approle", description="Where the auth method is mounted.")


class Vault(Section):
    """A HashiCorp Vault (or OpenBao) with a KV store, version 2."""

    address: str = Field(description="https:// URL; http:// only on this machine.")
    token: PlainSource | None = None
    approle: AppRole | None = None
    namespace: str | None = None
    mount: str = Field("secret", min_length=1, description="Where the KV store is mounted.")
    ca: Path | None = Field(None, description="CA file that the server's certificate must chain to.")
    timeout: float = Field(5, gt=0, le=60, description="Seconds for each request.")

    @model_validator(mode="after")
    def _one_way_in(self) -> Vault:
        if (self.token is None) == (self.approle is None):
            raise ValueError("a vault needs exactly one of: token, approle")
        return self


class Sops(Section):
    """What opens SOPS files."""

    identity: PlainSource = Field(description="The age identity (AGE-SECRET-KEY-1…); a key file as age-keygen writes.")


class Generate(Section):
    """The first apply that needs the secret makes it, and stores it where it is then read."""

    length: int = Field(32, ge=16, le=512, description="Characters: letters, digits, `-` and `_`.")


class Stores(Section):
    """The secret stores of the settings, as sources see them."""

    vaults: dict[Name, Vault] = Field(default_factory=dict)
    sops: Sops | None = None


class SecretSource(PlainSource):
    """Where a secret's value comes from: one of `env`, `file`, `command`, `vault`, `sops`.

    `{name}` stands for the secret's name.
    """

    vault: Annotated[str, StringConstraints(pattern=r"^[^#\s][^#]*#[^#]+$")] | None = Field(
        None, description="PATH#KEY in a KV store of `vaults`."
    )
    store: Name | None = Field(None, description="Which of `vaults`; not needed when there is one.")
    sops: Annotated[str, StringConstraints(pattern=r"^[^#]+#[^#]+$")] | None = Field(
        None, description="FILE#KEY in a SOPS file (YAML or JSON, encrypted with age); `a/b` is b within a."
    )
    generate: Generate | None = Field(
        None, description="Under `secrets` alone, for a `file`, `vault` or `sops` whose place is still empty."
    )
    _stores: Stores = PrivateAttr(default_factory=Stores)

    @property
    def stores(self) -> Stores:
        return self._stores

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        places = (self.env, self.file, self.command, self.vault, self.sops)
        if sum(value is not None for value in places) != 1:
            raise ValueError("a secret needs exactly one of: env, file, command, vault, sops")
        if self.store is not None and self.vault is None:
            raise ValueError("`store` names the vault of `vault: PATH#KEY`")
        if self.generate is not None and (self.env is not None or self.command is not None):
            raise ValueError("a secret is generated into a file, vault or sops, never into env or command")
        return self

    def bind(self, stores: Stores) -> None:
        """Tell the source which stores there are. ValueError when it names one that there is not."""
        if self.sops is not None and stores.sops is None:
            raise ValueError("a secret is in a SOPS file, and `sops: {identity: …}` is missing in the settings")
        known = ", ".join(sorted(stores.vaults)) or "none"
        if self.vault is not None and self.store is None and len(stores.vaults) != 1:
            raise ValueError(f"a secret is in a vault and does not say in which: add `store`; there are {known}")
        if self.store is not None and self.store not in stores.vaults:
            raise ValueError(f"the settings know no vault {self.store!r}; there are {known}")
        self._stores = stores


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


class TlsFiles(Section):
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class LdapBind(Section):
    """Who to be: a DN with its password, whom the client certificate names, or whose Kerberos ticket we have."""

    dn: str | None = None
    password: SecretSource | None = None
    external: bool = Field(False, description="SASL EXTERNAL: the client certificate of `tls` says who we are.")
    gssapi: bool = Field(
        False, description="SASL GSSAPI: the Kerberos ticket says who we are; needs pgvillage[kerberos]."
    )

    @model_validator(mode="after")
    def _one_way(self) -> LdapBind:
        simple = self.dn is not None or self.password is not None
        if self.external + self.gssapi + simple > 1:
            raise ValueError("a bind is either external, or gssapi, or by dn and password")
        if not (self.external or self.gssapi) and (self.dn is None or self.password is None):
            raise ValueError("a bind needs dn and password, or external: true, or gssapi: true")
        return self


class ClientCertificate(Section):
    cert: Path
    key: Path


def address_and_port(text: str) -> tuple[str, int]:
    """Of IP, IP:PORT or [IPv6]:PORT; the port is 53 unless it says another. Raises ValueError for anything else."""
    address, colon, port = text.rpartition(":")
    if not colon or (":" in address and not address.endswith("]")):
        address, port = text, "53"
    number = int(port) if port.isascii() and port.isdecimal() else 0
    if not 0 < number < 65_536:
        raise ValueError(f"expected a port of 1 to 65535, found {port!r}")
    return str(ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))), number


class Directory(Section):
    """An LDAP directory, or an LDIF file in its place."""

    uris: list[str] = Field(default_factory=list, description="ldaps:// or ldap:// URLs, tried in order.")
    srv: Domain | None = Field(
        None,
        description="A domain whose DNS names the servers: _ldaps._tcp, or else _ldap._tcp; only servers in it.",
    )
    resolver: str | None = Field(
        None, description="The DNS server that `srv` asks, as IP or IP:PORT; the system's own when unset."
    )
    ldif: Path | None = Field(None, description="An LDIF file as the directory, for offline use.")
    base: str = Field(description="Base DN; members outside it are not followed.")
    bind: LdapBind | None = Field(None, description="Simple bind or SASL EXTERNAL; anonymous when unset.")
    start_tls: bool = Field(True, alias="startTls", description="StartTLS on ldap:// URLs.")
    ca: Path | None = Field(None, description="CA file that the server's certificate must chain to.")
    tls: ClientCertificate | None = Field(None, description="The certificate that we show to the server.")
    timeout: float = Field(10, gt=0, le=300, description="Seconds for connecting and for each answer.")
    page_size: int = Field(500, alias="pageSize", gt=0, le=10_000)
    member_attributes: tuple[MemberAttribute, ...] = Field(
        ("member", "uniqueMember", "memberUid"), alias="memberAttributes"
    )
    user_attribute: str = Field("uid", alias="userAttribute", description="What `memberUid` values refer to.")

    @model_validator(mode="after")
    def _one_place(self) -> Directory:
        if bool(self.uris) + (self.srv is not None) + (self.ldif is not None) != 1:
            raise ValueError("a directory needs exactly one of: uris, srv, ldif")
        if self.resolver is not None:
            if self.srv is None:
                raise ValueError("resolver is the DNS server for srv, which is not set")
            address_and_port(self.resolver)
        if self.bind and self.bind.external and self.tls is None:
            raise ValueError("bind.external needs a client certificate: tls: {cert, key}")
        return self


class Etcd(Section):
    """An etcd cluster that an HA engine keeps its state in."""

    endpoints: list[str] = Field(min_length=1, description="http:// or https:// URLs, tried in order.")
    tls: TlsFiles = TlsFiles()
    user: str | None = None
    password: SecretSource | None = None
    timeout: float = Field(5, gt=0, le=300, description="Seconds for each request.")
    prefix: str = Field("stolon/cluster", description="Where stolon keeps its clusters.")


class Webhook(Section):
    """A chat end point for drift reports."""

    url: SecretSource = Field(description="The URL is a secret: who has it can post.")
    format: Literal["json", "slack"] = "json"


class LimitCeiling(Section):
    count: int | None = Field(None, ge=0)
    share: int | None = Field(None, ge=0, le=100, description="Per cent.")


class Ceilings(Section):
    """What no manifest can raise."""

    correct: CorrectMode = "all"
    drop: LimitCeiling = LimitCeiling()
    revoke: LimitCeiling = LimitCeiling()


class Timeouts(Section):
    """Seconds."""

    connect: float = Field(10, gt=0, le=300)
    read: float = Field(60, gt=0, le=3600, description="All reading of one target.")
    statement: float = Field(300, gt=0, le=86_400)
    lock: float = Field(10, gt=0, le=3600, description="Waiting for a lock of a database object.")
    writer: float = Field(30, ge=0, le=3600, description="Waiting for another applier of the same target.")
    stale_writer: float = Field(
        60, alias="staleWriter", gt=1, le=3600, description="A silent applier's sessions are ended after this."
    )


class Serve(Section):
    """The daemon."""

    listen: str = Field("127.0.0.1:8432", description="ADDRESS:PORT of /healthz, /readyz and /metrics.")
    poll: float = Field(60, gt=0, description="Seconds between looks at the repository.")
    observe: float = Field(300, gt=0, description="Seconds between observations of a target, with jitter.")
    apply: bool = Field(True, description="Apply by policy; false only observes and reports.")
    grace: float = Field(
        20, ge=0, le=3600, description="Seconds that a running apply has to end when asked to stop; then it rolls back."
    )
    notify: list[Name] = Field(default_factory=list, description="Channels that get drift reports.")


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
    channels: dict[Name, Webhook] = Field(default_factory=dict)
    ceilings: Ceilings = Ceilings()
    timeouts: Timeouts = Timeouts()
    parallel: int = Field(8, ge=1, le=256, description="Targets read or written at a time.")
    state: Path | None = Field(None, description="Folder for the repository's cache and the daemon's memory.")
    serve: Serve = Serve()

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
    elif isinstance(node, dict):
        for each in node.values():
            yield from _sources(each)
