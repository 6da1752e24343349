"""Configuration of what stands before a cluster, from its manifest."""

from __future__ import annotations

import asyncio
import difflib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from pgvillage.core.errors import UsageError
from pgvillage.core.front import Front, HealthSource, MovingAddress, Peers
from pgvillage.core.lookup import Lookups
from pgvillage.core.node_name import node_name, node_names
from pgvillage.estate.loader import Manifests
from pgvillage.estate.manifest.cluster import Connect, HaProxy
from pgvillage.estate.view import ClusterView, view_cluster
from pgvillage.report.haproxy import haproxy_text
from pgvillage.report.keepalived import keepalived_text
from pgvillage.usecases.world import World

_PORT = 5432
_HEALTH_PORTS = {"http": 80, "https": 443}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CA = re.compile(r"@system-ca|/[A-Za-z0-9._/-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class RenderWishes:
    """`peers` are NAME=ADDRESS of the machines with keepalived; `node` the one that a file is for."""

    revision: str | None = None
    token_variable: str = ""
    ca: str = "@system-ca"
    node: str = ""
    peers: Sequence[str] = ()


async def haproxy_of(world: World, cluster: str, wishes: RenderWishes) -> str:
    """Raises SourceError, ManifestError, and UsageError for what the manifest lacks."""
    return haproxy_text(await _front(world, cluster, wishes))


async def keepalived_of(world: World, cluster: str, wishes: RenderWishes) -> str:
    """Raises SourceError, ManifestError, and UsageError for what the manifest lacks."""
    front = await _front(world, cluster, wishes)
    if front.moving is None:
        raise UsageError(f"{cluster}: no address to move: add connect.vip with address, interface and routerId")
    if not front.moving.interface or not front.moving.router:
        lacks = " and ".join(
            name
            for name, value in (("interface", front.moving.interface), ("routerId", front.moving.router))
            if not value
        )
        raise UsageError(f"{cluster}: keepalived needs connect.vip.{lacks}")
    return keepalived_text(front, front.moving, _peers(front, wishes))


async def _front(world: World, name: str, wishes: RenderWishes) -> Front:
    for given, pattern, option in (
        (wishes.token_variable, _VARIABLE, "--token-variable"), (wishes.ca, _CA, "--ca"),
    ):  # fmt: skip
        if given and not pattern.fullmatch(given):
            raise UsageError(
                f"{option} {given!r}: expected {'a variable name' if 'token' in option else 'an absolute path'}"
            )
    checkout = await asyncio.to_thread(world.checkout, wishes.revision)
    manifests = world.manifests(checkout)
    _there(manifests, name)
    view = view_cluster(manifests, name, Lookups())
    connect = view.cluster.spec.connect or Connect()
    proxy = connect.haproxy or HaProxy()
    health = _health(view, connect, proxy)
    front = Front(
        name, await _nodes(world, view), health, proxy.port, proxy.standby_port, proxy.max_lag, _moving(connect)
    )
    return replace(front, token_variable=wishes.token_variable, ca=wishes.ca)


def _there(manifests: Manifests, name: str) -> None:
    if name not in manifests.clusters:
        near = difflib.get_close_matches(name, manifests.clusters, 1)
        known = ", ".join(sorted(manifests.clusters)) or "none"
        raise UsageError(
            f"no cluster {name!r} in the estate; " + (f"did you mean {near[0]}?" if near else f"known: {known}")
        )


def _health(view: ClusterView, connect: Connect, proxy: HaProxy) -> HealthSource:
    if connect.routing is not None:
        url = urlsplit(connect.routing)
        try:
            port = url.port or _HEALTH_PORTS[url.scheme]
        except ValueError:
            raise UsageError(
                f"{view.name}: connect.routing: expected http(s)://HOST:PORT, found {connect.routing}"
            ) from None
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
        return HealthSource("routing", host, port, url.scheme == "https", f"/nodes/{view.name}/{{node}}")
    if view.cluster.spec.ha.engine == "patroni":
        return HealthSource("patroni", "", proxy.check_port, tls=False, path="")
    raise UsageError(
        f"{view.name}: nobody says which node is the primary: run `pgvillage routing` and name its address as "
        "connect.routing, for example http://127.0.0.1:8433"
    )


async def _nodes(world: World, view: ClusterView) -> Mapping[str, str]:
    spec = view.cluster.spec
    hosts = spec.connection.hosts if spec.connection else [node.address for node in spec.nodes or ()]
    found = dict(node_names(hosts))
    if not found:
        topology = await world.topology(view)
        found = {node_name(node.name): node.address for node in topology.nodes if node.address}
    folders = [host for host in found.values() if host.startswith("/")]
    if folders:
        raise UsageError(f"{view.name}: {folders[0]} is a socket's folder; a proxy needs HOST:PORT")
    if not found:
        raise UsageError(f"{view.name}: no nodes are known: name them in connection.hosts")
    return {name: _with_port(view.name, host) for name, host in found.items()}


def _with_port(cluster: str, host: str) -> str:
    plain, _, port = host.rpartition("]") if host.startswith("[") else ("", "", host)
    name, colon, number = port.partition(":")
    place = f"{plain}]" if plain else name
    if not (number or str(_PORT)).isdecimal() or not 0 < int(number or _PORT) < 65536:
        raise UsageError(f"{cluster}: {host!r} is not HOST:PORT: ports go from 1 to 65535")
    del colon
    return f"{place}:{number or _PORT}"


def _moving(connect: Connect) -> MovingAddress | None:
    vip = connect.vip
    if vip is None:
        return None
    try:
        address = str(ipaddress.ip_interface(vip.address))
    except ValueError as error:
        raise UsageError(f"connect.vip.address: {error}; expected ADDRESS/PREFIX such as 10.1.0.10/24") from None
    return MovingAddress(
        address, "haproxy" if vip.via == "haproxy" else "primary", vip.interface or "", vip.router_id or 0
    )


def _peers(front: Front, wishes: RenderWishes) -> Peers:
    """The machines named, or the nodes themselves where these are addresses."""
    addresses: dict[str, str] = {}
    given = [text.partition("=") for text in wishes.peers]
    for name, equals, address in given or [(name, "=", _host(place)) for name, place in front.nodes.items()]:
        if not equals or not _is_address(address) or (given and not _NAME.fullmatch(name)):
            what = f"--peer {name}{equals}{address}" if given else f"node {name}"
            raise UsageError(
                f"{what}: keepalived needs NAME=IP-ADDRESS of every machine it runs on, as --peer lb1=10.1.0.21"
            )
        addresses[name] = address
    own = wishes.node or (next(iter(addresses)) if len(addresses) == 1 else "")
    if own not in addresses:
        near = difflib.get_close_matches(own, addresses, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(addresses)}"
        raise UsageError(f"--node {own!r}: which machine is the file for? {hint}")
    return Peers(addresses, own)


def _host(place: str) -> str:
    return place.rpartition(":")[0].strip("[]")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
