"""Validated documents with their places, and what is known of the documents that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pgvillage.core.errors import Diagnostic, Position
from pgvillage.estate.manifest import Cluster, Database, Estate, Group, Job, User
from pgvillage.estate.source_text import Positions

D_co = TypeVar("D_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Located(Generic[D_co]):
    """A document and where it stands."""

    document: D_co
    file: str
    positions: Positions

    def at(self, *path: str | int) -> Position:
        """Where this part stands (its key), or the nearest part around it that is written."""
        return self.positions.key(path)

    def fault(self, message: str, *path: str | int, hint: str = "", severity: str = "error") -> Diagnostic:
        """A diagnostic at the value of this part."""
        return self.positions.diagnose(message, path, hint=hint, severity=severity)


@dataclass
class Lost:
    """What documents that failed would have declared: a reference to it is no second fault."""

    everything: bool = False  # a file that can't be read may hold anything
    any_role: bool = False
    profiles: bool = False
    any_cluster: bool = False
    roles: set[str] = field(default_factory=set)
    clusters: set[str] = field(default_factory=set)
    databases: set[str] = field(default_factory=set)

    def add(self, kind: str, document: Mapping[str, Any]) -> None:
        """Note a document that failed; only what is plainly written in it is used."""
        metadata, spec = _mapping(document.get("metadata")), _mapping(document.get("spec"))
        written = (metadata.get("name"), spec.get("role"), spec.get("database"))
        names = {name for name in written if isinstance(name, str)}
        match kind:
            case "Estate":
                self.profiles = self.any_role = True
            case "Cluster":
                self.any_cluster = True
                self.clusters |= names
            case "Database":
                self.databases |= names
            case "User" | "Group":
                self.roles |= names | _logins(names, spec)
                # a group fed from a directory makes roles that no manifest names
                self.any_role = self.any_role or "directory" in _mapping(spec.get("members"))
        if not names:
            self.everything = True

    def role(self, name: str) -> bool:
        return self.everything or self.any_role or name in self.roles

    def cluster(self, name: str) -> bool:
        return self.everything or name in self.clusters

    def database(self, name: str) -> bool:
        return self.everything or name in self.databases

    def profile(self) -> bool:
        return self.everything or self.profiles


def _logins(names: set[str], spec: Mapping[str, Any]) -> set[str]:
    """The login roles of a rotation."""
    auth = _mapping(spec.get("auth"))
    if "rotate" not in auth:
        return set()
    roles = _mapping(auth["rotate"]).get("roles")
    written = {role for role in roles if isinstance(role, str)} if isinstance(roles, list) else set()
    return written | {f"{name}{end}" for name in names for end in ("_a", "_b")}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Manifests:
    """An estate: its documents by metadata.name."""

    estate: Located[Estate] | None = None
    clusters: Mapping[str, Located[Cluster]] = field(default_factory=dict)
    databases: Mapping[str, Located[Database]] = field(default_factory=dict)
    users: Mapping[str, Located[User]] = field(default_factory=dict)
    groups: Mapping[str, Located[Group]] = field(default_factory=dict)
    jobs: Mapping[str, Located[Job]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    root: Path = Path()
    lost: Lost = field(default_factory=Lost)
    # The SQL files that jobs name, as they were when the manifests were checked.
    scripts: Mapping[str, str] = field(default_factory=dict)
