"""Where clients find a cluster: from its manifest and the settings, without asking the cluster."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import dataclass

from pgvillage.core.client_target import ClientTarget, ClientTls, Role
from pgvillage.core.errors import UsageError
from pgvillage.estate.loader import Manifests
from pgvillage.estate.manifest import Cluster
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


async def client_target(world: World, cluster: str, wishes: Wishes, revision: str | None = None) -> Found:
    """Raises SourceError, ManifestError, and UsageError for a cluster that is not there, with the nearest name."""
    checkout = await asyncio.to_thread(world.checkout, revision)
    manifests = world.manifests(checkout)
    document = _cluster(manifests, cluster)
    hosts, through, warnings = _hosts(document, wishes)
    database = wishes.database or _database(document)
    tls = _tls(document, world.settings, wishes.tls)
    return Found(ClientTarget(cluster, hosts, wishes.role, database, wishes.user, tls), through, warnings)


def _cluster(manifests: Manifests, name: str) -> Cluster:
    if name in manifests.clusters:
        return manifests.clusters[name].document
    near = difflib.get_close_matches(name, manifests.clusters, 1)
    known = ", ".join(sorted(manifests.clusters)) or "none"
    raise UsageError(
        f"no cluster {name!r} in the estate; " + (f"did you mean {near[0]}?" if near else f"known: {known}")
    )


def _hosts(cluster: Cluster, wishes: Wishes) -> tuple[tuple[tuple[str, int], ...], str, tuple[str, ...]]:
    spec = cluster.spec
    texts = spec.connection.hosts if spec.connection else [node.address for node in spec.nodes or ()]
    hosts = tuple(map(_host_port, texts))
    vip = spec.connect.vip if spec.connect else None
    if vip is None or wishes.direct:
        return hosts, "", ()
    address = vip.address.partition("/")[0]
    if wishes.role is Role.PRIMARY:
        return (_host_port(f"[{address}]" if address.count(":") > 1 else address),), f"{vip.via} at {vip.address}", ()
    warning = f"the address {address} ({vip.via}) leads to the primary: for role {wishes.role} the nodes are named"
    return hosts, "", (warning,)


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
