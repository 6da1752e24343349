"""Where clients find a cluster: by manifest and settings, and by etcd where the manifest leaves hosts out."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgvillage.core.client_target import ClientTarget, ClientTls, Role
from pgvillage.core.errors import UsageError
from pgvillage.estate.loader import Manifests
from pgvillage.estate.manifest import Cluster
from pgvillage.estate.manifest.cluster import Connect, HaProxy, Vip
from pgvillage.settings import SSL_MODES, Settings
from pgvillage.usecases.world import World

DEFAULT_PORT = 5432
_AS_FOUND = ClientTls("")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asks for; "" is what manifest and settings say. `direct` passes by a proxy of the manifest."""

    role: Role = Role.PRIMARY
    database: str = ""
    user: str = ""
    tls: ClientTls = _AS_FOUND
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """`through` is the proxy on the way, or ""."""

    target: ClientTarget
    through: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    hosts: tuple[tuple[str, int], ...]
    through: str = ""
    warnings: tuple[str, ...] = ()


async def client_target(world: World, cluster: str, wishes: Wishes, revision: str | None = None) -> Found:
    """Raises SourceError, ManifestError, UsageError for a cluster that is not there, with the nearest name, and
    ReadError where only etcd could name the hosts and can't be asked.
    """
    checkout = await asyncio.to_thread(world.checkout, revision)
    manifests = world.manifests(checkout)
    document = _cluster(manifests, cluster)
    way = await _way(world, document, wishes)
    database = wishes.database or _database(document)
    tls = _tls(document, world.settings, wishes.tls)
    return Found(ClientTarget(cluster, way.hosts, wishes.role, database, wishes.user, tls), way.through, way.warnings)


def _cluster(manifests: Manifests, name: str) -> Cluster:
    if name in manifests.clusters:
        return manifests.clusters[name].document
    near = difflib.get_close_matches(name, manifests.clusters, 1)
    known = ", ".join(sorted(manifests.clusters)) or "none"
    raise UsageError(
        f"no cluster {name!r} in the estate; " + (f"did you mean {near[0]}?" if near else f"known: {known}")
    )


async def _way(world: World, cluster: Cluster, wishes: Wishes) -> _Way:
    """By the address in front of the cluster where there is one for this role, else its nodes."""
    connect = None if wishes.direct else cluster.spec.connect
    vip = connect.vip if connect else None
    if connect is not None and connect.haproxy is not None and vip is not None:
        ports, address = connect.haproxy, _bare(vip)
        through = f"HAProxy at {vip.address.partition('/')[0]}"
        return _Way(tuple((address, port) for port in _ports(ports, wishes.role)), through)
    if vip is not None and wishes.role is Role.PRIMARY:
        return _Way(((_bare(vip), DEFAULT_PORT),), f"{vip.via} at {vip.address}")
    if connect is not None and connect.proxy and wishes.role is Role.PRIMARY:
        return _Way(tuple(map(_host_port, connect.proxy)), "stolon-proxy")
    nodes = tuple(map(_host_port, await _nodes(world, cluster)))
    return _Way(nodes, "", tuple(_passed_by(connect, wishes.role)) if connect else ())


async def _nodes(world: World, cluster: Cluster) -> Sequence[str]:
    connection = cluster.spec.connection
    if connection is None:
        return [node.address for node in cluster.spec.nodes or ()]
    return connection.hosts or await world.engine_hosts(cluster.metadata.name, cluster)


def _passed_by(connect: Connect, role: Role) -> Iterator[str]:
    """What stands in the manifest and does not lead where this role wants to go."""
    named = f"for role {role} the nodes are named"
    if connect.vip is not None:
        yield f"the address {connect.vip.address.partition('/')[0]} ({connect.vip.via}) leads to the primary: {named}"
    elif connect.haproxy is not None:
        yield f"connect.haproxy has ports and no address (connect.vip): {named}"
    if connect.proxy and connect.vip is None:
        yield f"stolon-proxy leads to the primary: {named}"


def _ports(haproxy: HaProxy, role: Role) -> tuple[int, ...]:
    """Whoever prefers a standby finds the primary behind the second one when no standby is left."""
    if role is Role.PRIMARY:
        return (haproxy.port,)
    return (haproxy.standby_port,) if role is Role.STANDBY else (haproxy.standby_port, haproxy.port)


def _bare(vip: Vip) -> str:
    return vip.address.partition("/")[0]


def _host_port(text: str) -> tuple[str, int]:
    """As `HostPort` of the manifests has it: [IPv6]:PORT, HOST:PORT, or a folder with or without a port."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    number = int(port or DEFAULT_PORT)
    if not 0 < number < 65536:
        raise UsageError(f"{text!r} is not HOST:PORT: ports go from 1 to 65535")
    return host, number


def _database(cluster: Cluster) -> str:
    """The only one that the Cluster itself lists, otherwise postgres."""
    names = {database.name for database in cluster.spec.databases}
    return names.pop() if len(names) == 1 else "postgres"


def _tls(cluster: Cluster, settings: Settings, wished: ClientTls) -> ClientTls:
    """As wished, else the stricter of manifest and credential; nothing of PgVillage's own certificate and key."""
    connection = cluster.spec.connection
    credential = settings.credentials.get(connection.credential) if connection else None
    asked = [connection.sslmode if connection else None, credential.sslmode if credential else None]
    strictest = max((mode for mode in asked if mode), key=SSL_MODES.index, default="verify-full")
    rootcert = wished.rootcert or (credential.sslrootcert if credential else None) or ""
    return ClientTls(wished.mode or strictest, rootcert, wished.cert, wished.key)
