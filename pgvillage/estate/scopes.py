"""What is declared on each cluster: roles and databases, each with the one place that declares it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pgvillage.core.errors import Diagnostic, Position
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.manifest import Cluster, Group, User
from pgvillage.estate.manifest.common import Selector
from pgvillage.estate.manifest.database import DatabaseFields
from pgvillage.estate.rotation import expanded
from pgvillage.estate.source_text import DocPath


@dataclass(frozen=True, slots=True)
class Claim:
    """One document's declaration of one object."""

    name: str
    located: Located[Any]
    path: DocPath
    absent: bool

    @property
    def position(self) -> Position:
        return self.located.at(*self.path)


@dataclass(frozen=True, slots=True)
class DatabaseClaim:
    """A database as written, inline or as a document; `path` leads to its fields."""

    claim: Claim
    spec: DatabaseFields
    path: DocPath
    clusters: tuple[str, ...]


@dataclass
class Scope:
    """One cluster."""

    located: Located[Cluster]
    external: frozenset[str]
    roles: dict[str, Claim] = field(default_factory=dict)
    databases: dict[str, Claim] = field(default_factory=dict)
    fed: bool = False  # a directory makes roles here that no manifest names


class Scopes:
    """Every cluster's scope, and the objects that two documents declare."""

    def __init__(self, manifests: Manifests) -> None:
        self.manifests = manifests
        self._selected: dict[frozenset[tuple[str, str]], tuple[str, ...]] = {}
        self._collisions: dict[tuple[str, Position, Position], Diagnostic] = {}
        estate = manifests.estate.document.spec if manifests.estate else None
        common = frozenset({"postgres", *(estate.defaults.external_roles if estate else ())})
        self.of = {
            name: Scope(located, common | frozenset(located.document.spec.external_roles))
            for name, located in manifests.clusters.items()
        }
        for located in self.roles:
            self._claim_role(located)
        for database in self.databases:
            for cluster in database.clusters:
                self._claim("database", self.of[cluster].databases, database.claim, cluster)

    @property
    def collisions(self) -> list[Diagnostic]:
        return list(self._collisions.values())

    @cached_property
    def roles(self) -> list[Located[User | Group]]:
        return [*expanded(self.manifests.users.values()), *self.manifests.groups.values()]

    @cached_property
    def databases(self) -> list[DatabaseClaim]:
        return [*self._inline(), *self._documents()]

    def selected(self, selector: Selector) -> tuple[str, ...]:
        """The names of the clusters that are there and match."""
        clusters = self.manifests.clusters
        if selector.names is not None:
            return tuple(dict.fromkeys(name for name in selector.names if name in clusters))
        key = frozenset((selector.labels or {}).items())
        if key not in self._selected:
            found = (name for name, c in clusters.items() if selector.matches(name, c.document.metadata.labels))
            self._selected[key] = tuple(found)
        return self._selected[key]

    def _inline(self) -> Iterator[DatabaseClaim]:
        for name, cluster in self.manifests.clusters.items():
            for index, spec in enumerate(cluster.document.spec.databases):
                path: DocPath = ("spec", "databases", index)
                claim = Claim(spec.name, cluster, (*path, "name"), spec.ensure == "absent")
                yield DatabaseClaim(claim, spec, path, (name,))

    def _documents(self) -> Iterator[DatabaseClaim]:
        for located in self.manifests.databases.values():
            spec = located.document.spec
            path = ("spec", "database") if spec.database else ("metadata", "name")
            claim = Claim(located.document.database, located, path, spec.ensure == "absent")
            yield DatabaseClaim(claim, spec, ("spec",), self.selected(spec.clusters))

    def _claim_role(self, located: Located[User | Group]) -> None:
        document, spec = located.document, located.document.spec
        path = ("spec", "role") if spec.role else ("metadata", "name")
        claim = Claim(document.role, located, path, spec.ensure == "absent")
        members = document.spec.members if isinstance(document, Group) else None
        fed = not claim.absent and members is not None and members.directory is not None
        for cluster in self.selected(spec.clusters):
            scope = self.of[cluster]
            scope.fed = scope.fed or fed
            self._claim("role", scope.roles, claim, cluster)

    def _claim(self, what: str, claims: dict[str, Claim], claim: Claim, cluster: str) -> None:
        first = claims.setdefault(claim.name, claim)
        if first is claim:
            return
        key = (what, first.position, claim.position)
        if key not in self._collisions:
            message = (
                f"{what} {claim.name} of cluster {cluster} is declared twice; the other one is at {first.position}"
            )
            fault = claim.located.fault(message, *claim.path, hint="an object has one owner: remove one of the two")
            self._collisions[key] = fault
