"""keepalived's configuration of one machine: an address that moves to a living HAProxy, or to the primary itself."""

from __future__ import annotations

from collections.abc import Iterator

from pgvillage.core.front import Front, MovingAddress, Peers
from pgvillage.report.haproxy import ALIVE, STATS_PORT

_CURL = "/usr/bin/curl --silent --fail --output /dev/null --max-time 2"
_FIRST = 150  # priority; the next has one less


def keepalived_text(front: Front, moving: MovingAddress, peers: Peers) -> str:
    return "\n".join(_lines(front, moving, peers)) + "\n"


def _lines(front: Front, moving: MovingAddress, peers: Peers) -> Iterator[str]:
    name = f"{front.cluster}_{moving.onto}".replace(".", "_").replace("-", "_")
    others = [address for each, address in peers.addresses.items() if each != peers.own]
    priority = _FIRST - list(peers.addresses).index(peers.own)
    yield f"# Made by `pgvillage render keepalived {front.cluster}` for {peers.own}; the script needs curl."
    yield from ("global_defs {", f"    router_id {peers.own}", "    enable_script_security")
    yield from ("    script_user nobody", "}", "")
    # No weight: one that is not well gives the address up, which nopreempt would otherwise keep it from.
    yield from (f"vrrp_script {name}_well {{", f'    script "{_script(front, moving, peers.own)}"')
    yield from ("    interval 2", "    timeout 3", "    fall 2", "    rise 2", "}", "")
    yield from (f"vrrp_instance {name} {{", "    state BACKUP", "    nopreempt", f"    interface {moving.interface}")
    yield from (f"    virtual_router_id {moving.router}", f"    priority {priority}", "    advert_int 1")
    if others:
        yield f"    unicast_src_ip {peers.addresses[peers.own]}"
        yield from ("    unicast_peer {", *(f"        {address}" for address in others), "    }")
    yield from ("    virtual_ipaddress {", f"        {moving.address} dev {moving.interface}", "    }")
    yield from ("    track_script {", f"        {name}_well", "    }", "}")


def _script(front: Front, moving: MovingAddress, own: str) -> str:
    if moving.onto == "haproxy":
        return f"{_CURL} http://127.0.0.1:{STATS_PORT}{ALIVE}"
    health = front.health
    host = health.host or "127.0.0.1"
    url = f"{'https' if health.tls else 'http'}://{host}:{health.port}{health.path.replace('{node}', own)}/primary"
    return f"{_CURL} {url}"
