"""One cluster's share of the estate: which documents reach it, with defaults applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pgvillage.core.change import Source
from pgvillage.core.lookup import GroupQuery, Lookups
from pgvillage.core.plan import Finding
from pgvillage.core.rotation import Rotation
from pgvillage.estate.loader import Located, Manifests
from pgvillage.estate.manifest import Cluster, Group, Job, User
from pgvillage.estate.manifest.cluster import Authority
from pgvillage.estate.manifest.common import PrivilegeSet, Selector
from pgvillage.estate.manifest.database import DatabaseFields
from pgvillage.estate.manifest.estate import Policy, UserDefaults
from pgvillage.estate.people import People, gather_people, query_of
from pgvillage.estate.rotation import expanded, rotations

BUILT_IN_PROFILES: Mapping[str, PrivilegeSet] = {
    "reader": PrivilegeSet(database=["CONNECT"], schema=["USAGE"], table=["SELECT"], sequence=["SELECT"]),
    "writer": PrivilegeSet(
        database=["CONNECT"],
        schema=["USAGE"],
        table=["SELECT", "INSERT", "UPDATE", "DELETE"],
        sequence=["USAGE", "SELECT", "UPDATE"],
    ),
    "owner": PrivilegeSet(database=["ALL"], schema=["ALL"], table=["ALL"], sequence=["ALL"]),
}


@dataclass(frozen=True, slots=True)
class DeclaredDatabase:
    name: str
    spec: DatabaseFields
    located: Located[object]
    path: tuple[str | int, ...]

    def source(self, *path: str | int) -> Source:
        return source_of(self.located, *self.path, *path)


@dataclass(frozen=True)
class ClusterView:
    """Everything the estate says about one cluster; pure data for the kinds to expand."""

    name: str
    located: Located[Cluster]
    authority: Authority
    policy: Policy
    correct: str
    parameters: Mapping[str, str | bool | int | float | None]
    databases: tuple[DeclaredDatabase, ...]
    users: tuple[Located[User], ...]
    groups: tuple[Located[Group], ...]
    jobs: tuple[Located[Job], ...]
    profiles: Mapping[str, PrivilegeSet]
    default_heir: str | None
    user_defaults: UserDefaults
    people: People
    findings: tuple[Finding, ...]
    rotations: tuple[Rotation, ...] = ()
    # Look at every kind of object, also where no manifest declares any (for writing manifests of what is there).
    survey: bool = False
    # The texts of SQL files that jobs name.
    scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def cluster(self) -> Cluster:
        return self.located.document

    @cached_property
    def role_documents(self) -> tuple[Located[User] | Located[Group], ...]:
        """Users and groups: every document that declares a role."""
        return (*self.users, *self.groups)

    @cached_property
    def declared_roles(self) -> frozenset[str]:
        """Every role that a manifest or a directory names as its own on this cluster, tombstones included."""
        documents = {d.document.role for d in self.role_documents}
        return frozenset(documents | set(self.people.by_role))


def source_of(located: Located[object], *path: str | int) -> Source:
    position = located.at(*path)
    return Source(position.file, position.line)


def group_queries(manifests: Manifests, clusters: Mapping[str, Located[Cluster]]) -> frozenset[GroupQuery]:
    """What has to be asked of directories before these clusters can be planned."""
    return frozenset(
        query
        for located in manifests.groups.values()
        if (query := query_of(located.document)) is not None
        and any(_selects(located.document.spec.clusters, cluster) for cluster in clusters.values())
    )


def _selects(selector: Selector, cluster: Located[Cluster]) -> bool:
    metadata = cluster.document.metadata
    return selector.matches(metadata.name, metadata.labels)


def view_cluster(manifests: Manifests, name: str, lookups: Lookups) -> ClusterView:
    """The view of the cluster `name`; every reference in it has been checked by the loader."""
    located = manifests.clusters[name]
    spec = located.document.spec
    estate = manifests.estate.document.spec if manifests.estate else None
    defaults = estate.defaults if estate else None
    policy = estate.policy if estate else Policy()
    written = [u for u in manifests.users.values() if _selects(u.document.spec.clusters, located)]
    users = tuple(expanded(written))
    groups = tuple(g for g in manifests.groups.values() if _selects(g.document.spec.clusters, located))
    people = gather_people(groups, users, lookups, name)
    return ClusterView(
        name=name,
        located=located,
        authority=spec.authority or (defaults.authority if defaults else None) or Authority(),
        policy=policy,
        correct=spec.policy.correct or policy.correct,
        parameters={**(defaults.parameters if defaults else {}), **spec.postgres.parameters},
        databases=_databases(manifests, located),
        users=users,
        groups=groups,
        jobs=tuple(j for j in manifests.jobs.values() if _selects(j.document.spec.clusters, located)),
        profiles={**BUILT_IN_PROFILES, **(estate.profiles if estate else {})},
        default_heir=defaults.heir if defaults else None,
        user_defaults=defaults.user if defaults else UserDefaults(),
        people=people,
        findings=people.findings,
        rotations=rotations(written),
        scripts=manifests.scripts,
    )


def _databases(manifests: Manifests, cluster: Located[Cluster]) -> tuple[DeclaredDatabase, ...]:
    inline = [
        DeclaredDatabase(spec.name, spec, cluster, ("spec", "databases", index))
        for index, spec in enumerate(cluster.document.spec.databases)
    ]
    documents = [
        DeclaredDatabase(d.document.database, d.document.spec, d, ("spec",))
        for d in manifests.databases.values()
        if _selects(d.document.spec.clusters, cluster)
    ]
    return (*inline, *documents)
