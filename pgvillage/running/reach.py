"""Which runs a Job makes at one scheduled time: clusters, their databases and, where each has its own, their nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

from pgvillage.core.run_key import RunKey
from pgvillage.estate.manifest import Job
from pgvillage.estate.manifest.common import ObjectName
from pgvillage.estate.manifest.job import DatabasePattern
from pgvillage.estate.view import ClusterView

Nodes = Mapping[str, Sequence[str]]


def units(job: Job, views: Mapping[str, ClusterView], scheduled: datetime, nodes: Nodes | None = None) -> list[RunKey]:
    """In order of cluster, database and node. `nodes` by cluster; those of its manifest where it is not named there.

    Views of clusters that the job does not select, or that are absent from `views`, make no run.
    """
    name = job.metadata.name
    found: list[RunKey] = []
    for cluster in reached(job, views):
        view = views[cluster]
        own = (nodes or {}).get(cluster, declared_nodes(view)) if job.spec.target == "all" else ("",)
        for database in databases(job, view) or ([] if job.spec.databases else [""]):
            found += [RunKey(name, scheduled, cluster, database, node) for node in own]
    return found


def reached(job: Job, views: Mapping[str, ClusterView]) -> list[str]:
    """Clusters by name or label, sorted; none for a Job that is absent."""
    if job.spec.ensure != "present":
        return []
    labels = {name: view.cluster.metadata.labels for name, view in views.items()}
    return sorted(name for name in views if job.spec.clusters.matches(name, labels[name]))


def databases(job: Job, view: ClusterView) -> list[str]:
    """Those that the estate declares on the cluster and that the Job names or fits, sorted."""
    declared = {each.name for each in view.databases if each.spec.ensure == "present"}
    return sorted(name for name in declared if any(_fits(name, wanted) for wanted in job.spec.databases))


def declared_nodes(view: ClusterView) -> Sequence[str]:
    """The hosts of its manifest; none where the HA engine names them."""
    connection = view.cluster.spec.connection
    return tuple(connection.hosts) if connection is not None else ()


def _fits(name: str, wanted: ObjectName | DatabasePattern) -> bool:
    if isinstance(wanted, str):
        return name == wanted
    return fnmatchcase(name, wanted.pattern.replace("[", "[[]"))  # of fnmatch's signs only * and ? are ours
