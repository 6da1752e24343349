"""The groups that the routing API answers for: the clusters of the estate, followed commit by commit."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from pgvillage.clients.pg_connect import Endpoint
from pgvillage.clients.pg_node_answer import PgProbe
from pgvillage.core.errors import PgVillageError, SettingsError, UsageError
from pgvillage.core.lookup import Lookups
from pgvillage.core.node_name import node_name, node_names
from pgvillage.daemon.estate_feed import EstateFeed
from pgvillage.daemon.faults import words
from pgvillage.estate.loader import Manifests
from pgvillage.estate.view import ClusterView, view_cluster
from pgvillage.routing.monitor import Probe
from pgvillage.settings import Routing
from pgvillage.wiring import RealWorld

log = structlog.get_logger("pgvillage.routing")


@dataclass(frozen=True)
class Place:
    """Where one node is asked; two that are equal are the same, credential included."""

    endpoint: Endpoint
    connecting: float
    asking: float

    def probe(self) -> PgProbe:
        return PgProbe(self.endpoint, self.connecting, self.asking)


def probe_of(place: object) -> Probe:
    assert isinstance(place, Place)
    return place.probe()


class Clusters:
    """`names` are the only ones that count; all with a connection when empty."""

    def __init__(self, world: RealWorld, names: Sequence[str]) -> None:
        self._world, self._names = world, tuple(names)
        self._known: dict[str, Mapping[str, Place]] = {}
        self.feed = EstateFeed(lambda: world, lambda: world.source().head())

    async def groups(self) -> Mapping[str, Mapping[str, Place]]:
        """Of the newest good commit; {} before there is one. Raises UsageError for a name that is not there."""
        if self.feed.good is None:
            return {}
        manifests = self.feed.good.manifests
        chosen = self._chosen(manifests)
        found = await asyncio.gather(*(self._places(view_cluster(manifests, name, Lookups())) for name in chosen))
        self._known = dict(zip(chosen, found, strict=True))
        return self._known

    def _chosen(self, manifests: Manifests) -> list[str]:
        there = [name for name, each in sorted(manifests.clusters.items()) if each.document.spec.connection is not None]
        for name in self._names:
            if name not in there:
                near = difflib.get_close_matches(name, there, 1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(there) or 'none'}"
                raise UsageError(f"--clusters {name}: no cluster with a connection of this name in the estate; {hint}")
        return [name for name in there if not self._names or name in self._names]

    async def _places(self, view: ClusterView) -> Mapping[str, Place]:
        """Where nobody names the hosts they are those of the HA engine; while it can't be asked, those of before."""
        try:
            endpoint = self._endpoint(view)
            hosts = node_names(endpoint.hosts) if endpoint.hosts else await self._hosts_of_engine(view)
        except PgVillageError as error:
            log.warning("nodes not known", group=view.name, **words(error))
            return self._known.get(view.name, {})
        limits = self._routing.timeouts
        return {
            name: Place(replace(endpoint, hosts=(host,)), limits.connect, limits.query) for name, host in hosts.items()
        }

    async def _hosts_of_engine(self, view: ClusterView) -> Mapping[str, str]:
        topology = await self._world.topology(view)
        return {node_name(node.name): node.address for node in topology.nodes if node.address}

    def _endpoint(self, view: ClusterView) -> Endpoint:
        endpoint = self._world.endpoint(view)
        name = self._routing.credential
        if name is None:
            return endpoint
        credential = self._world.settings.credentials.get(name)
        if credential is None:
            raise SettingsError(f"routing.credential: the settings know no credential {name!r}")
        return replace(endpoint, credential_name=name, credential=credential)

    @property
    def _routing(self) -> Routing:
        return self._world.settings.routing
