"""A cluster's nodes in its targets' plans: which target shows them, and which problems are its findings."""

from __future__ import annotations

from collections.abc import Iterator

from pgvillage.core.errors import PgVillageError
from pgvillage.core.lookup import Lookups
from pgvillage.core.plan import Finding, System, TargetId
from pgvillage.core.topology import Topology
from pgvillage.estate.view import ClusterView, view_cluster
from pgvillage.usecases.estate import Scope, select_targets
from pgvillage.usecases.world import World

# Kind `parameter` says these of the primary already.
_OF_PARAMETERS = frozenset({"pending-restart", "file-error"})


def shows_nodes(target: TargetId, view: ClusterView) -> bool:
    """The engine's target does; without an engine the only one does, where there is more than one host."""
    spec = view.cluster.spec
    if spec.ha.engine != "none":
        return target.system is not System.POSTGRES
    return spec.connection is not None and len(spec.connection.hosts) > 1


def node_findings(topology: Topology | None) -> Iterator[Finding]:
    """The problems that are not `info`."""
    if topology is None:
        return
    primary = topology.primary
    for problem in topology.problems:
        said = problem.code in _OF_PARAMETERS and primary is not None and problem.node == primary.name
        if problem.severity != "info" and not said:
            yield Finding(problem.severity, problem.text, health=True)


async def nodes_all_the_same(world: World, target: TargetId, view: ClusterView) -> Topology | None:
    """The nodes of a target that could not be read: then it is worth the most. None where nothing could be asked."""
    if not shows_nodes(target, view):
        return None
    try:
        return await world.topology(view)
    except (PgVillageError, TimeoutError):
        return None  # why the target could not be read says it already


async def ask_cluster(world: World, name: str) -> Topology:
    """The nodes of one cluster, by its own name or a target's. Raises what makes it impossible, UsageError too."""
    checkout = world.checkout()
    manifests = world.manifests(checkout)
    targets = select_targets(manifests, Scope(targets=(name,)))
    view = view_cluster(manifests, targets[0].cluster, Lookups())
    return await world.topology(view, view.parameters)
