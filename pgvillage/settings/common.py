"""What every section of the settings is made of: names, strictness, where secret values come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SSL_MODES: tuple[SslMode, ...] = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
CorrectMode = Literal["off", "safe", "all"]
ApproveMode = Literal["none", "gated", "all"]


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


class TlsFiles(Section):
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class ClientCertificate(Section):
    cert: Path
    key: Path
