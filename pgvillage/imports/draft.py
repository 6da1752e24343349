"""What has been understood of a foreign file so far: roles, databases, grants, settings; documents come from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pgvillage.imports.grants import Grants
from pgvillage.imports.reading import Node

Document = dict[str, Any]


@dataclass(eq=False)
class RoleDraft:
    """`spec` holds keys of the manifest as they will be written."""

    name: str
    node: Node
    login: bool = False
    spec: Document = field(default_factory=dict)
    member_of: dict[str, Document] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "User" if self.login or "auth" in self.spec or "validUntil" in self.spec else "Group"


@dataclass(eq=False)
class DatabaseDraft:
    """`spec` holds keys of the manifest; schemas and extensions are by name."""

    name: str
    node: Node
    spec: Document = field(default_factory=dict)
    schemas: dict[str, Document] = field(default_factory=dict)
    extensions: dict[str, Document] = field(default_factory=dict)
    public: Document = field(default_factory=dict)


@dataclass(eq=False)
class Server:
    """How to connect, as far as the file says; `password` is a SecretSource."""

    hosts: list[str] = field(default_factory=list)
    user: str = ""
    database: str = ""
    sslmode: str = ""
    sslrootcert: str = ""
    password: Document | None = None


@dataclass(eq=False)
class Draft:
    """The estate of one cluster, and what goes into the settings.

    `clusters` are for files about several: the hosts of each by its name, with nothing else in common than the login.
    """

    tool: str
    root: Node
    server: Server = field(default_factory=Server)
    roles: dict[str, RoleDraft] = field(default_factory=dict)
    databases: dict[str, DatabaseDraft] = field(default_factory=dict)
    grants: Grants = field(default_factory=Grants)
    cluster: Document = field(default_factory=dict)  # more of the Cluster's spec
    heir: str = ""
    secrets: dict[str, Document] = field(default_factory=dict)
    directories: dict[str, Document] = field(default_factory=dict)
    clusters: dict[str, list[str]] = field(default_factory=dict)
    settings: dict[str, Document] = field(default_factory=dict)  # whole sections

    def role(self, name: str, node: Node) -> RoleDraft:
        """The role of this name, made now if it is new."""
        node.reading.spend(1)
        return self.roles.setdefault(name, RoleDraft(name, node))

    def database(self, name: str, node: Node) -> DatabaseDraft:
        node.reading.spend(1)
        return self.databases.setdefault(name, DatabaseDraft(name, node))

    def secret(self, role: str, node: Node) -> Document:
        """A new secret for this role's password: `{secret: NAME}`; the report says where its value is to go."""
        name = secret_name(role, self.secrets)
        variable = variable_of(name)
        self.secrets[name] = {"env": variable}
        node.note(
            "a password stands here; it is not copied",
            f"put its value into the environment variable {variable} (secret `{name}` of the settings), "
            "or change where that secret comes from",
        )
        return {"secret": name}

    def secret_of(self, role: str, variable: str) -> Document:
        """A new secret whose value stands in this environment variable already."""
        name = secret_name(role, self.secrets)
        self.secrets[name] = {"env": variable}
        return {"secret": name}


def secret_name(role: str, taken: Iterable[str]) -> str:
    """A name that settings take, from a role's name; each once."""
    used = {variable_of(name) for name in taken}
    base = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in role).strip("-_")[:100] or "role"
    name, number = base, 2
    while variable_of(name) in used:
        name, number = f"{base}-{number}", number + 1
    return name


def variable_of(secret: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in secret).upper() + "_PASSWORD"
