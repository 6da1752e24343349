"""HAProxy's configuration before one cluster: a port that leads to the primary, one that spreads reads."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from pgvillage.core.front import Front

STATS_PORT = 8404
ALIVE = "/alive"

_HEAD = """\
# Made by `pgvillage render haproxy {cluster}`; make it again when the estate changes, and reload HAProxy.
global
    log /dev/log local0
    user haproxy
    group haproxy
    maxconn 4000

defaults
    log global
    mode tcp
    option tcplog
    option dontlognull
    option clitcpka
    option srvtcpka
    option redispatch
    retries 2
    timeout connect 4s
    timeout check 4s
    timeout queue 10s
    # Sessions of a pool may be idle for long: what is dead is found by TCP keepalives and by the checks.
    timeout client 24h
    timeout server 24h
"""
_SERVERS = "inter 1s fastinter 500ms downinter 1s fall 2 rise 1 on-marked-down shutdown-sessions"


def haproxy_text(front: Front) -> str:
    blocks = [_HEAD.format(cluster=front.cluster)]
    if named(front):
        # A name that can't be resolved yet may not keep HAProxy from starting.
        blocks.append("resolvers system\n    parse-resolv-conf\n    hold valid 10s\n")
    blocks.append("\n".join(_alive(front)) + "\n")
    lag = f"?lag={front.most_lag}" if front.most_lag is not None else ""
    blocks.append("\n".join(_listen(front, "primary", front.port, "primary")) + "\n")
    blocks.append("\n".join(_listen(front, "standbys", front.standby_port, f"replica{lag}")) + "\n")
    return "\n".join(blocks)


def named(front: Front) -> bool:
    """Whether a node is known by a name that must be resolved."""
    return any(not _is_address(place.rpartition(":")[0].strip("[]")) for place in front.nodes.values())


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _alive(front: Front) -> Iterator[str]:
    """Statistics for this machine alone, and for keepalived whether this HAProxy reaches any node at all."""
    yield "listen stats"
    yield f"    bind 127.0.0.1:{STATS_PORT}"
    yield "    mode http"
    yield "    option httplog"
    yield "    timeout client 30s"
    yield "    stats enable"
    yield "    stats uri /"
    yield f"    monitor-uri {ALIVE}"
    yield f"    monitor fail if {{ nbsrv({front.cluster}_primary) lt 1 }} {{ nbsrv({front.cluster}_standbys) lt 1 }}"


def _listen(front: Front, what: str, port: int, check: str) -> Iterator[str]:
    health = front.health
    yield f"listen {front.cluster}_{what}"
    yield f"    bind {_bind(front)}:{port}"
    if what == "standbys":
        yield "    balance leastconn"
    yield "    option httpchk"
    path = f"{health.path.replace('{node}', '%[srv_name]')}/{check}"
    host = f' hdr Host "{health.host}"' if health.host else ' hdr Host "pgvillage"'
    token = f' hdr Authorization "Bearer ${{{front.token_variable}}}"' if front.token_variable else ""
    yield f'    http-check send meth OPTIONS uri-lf "{path}" ver HTTP/1.1{host}{token}'
    yield "    http-check expect status 200"
    yield f"    default-server {_SERVERS}{_asked_at(front)}"
    for name, place in front.nodes.items():
        yield f"    server {name} {place} check"


def _bind(front: Front) -> str:
    moving = front.moving
    return "[::]" if moving is not None and ":" in moving.address else "*"


def _asked_at(front: Front) -> str:
    health = front.health
    resolve = " resolvers system init-addr last,libc,none" if named(front) else ""
    place = f" addr {health.host} port {health.port}" if health.host else f" port {health.port}"
    name = health.host.strip("[]")
    sni = "" if not health.host or _is_address(name) else f" check-sni {name}"
    tls = f" check-ssl verify required ca-file {front.ca}" if health.tls else ""
    verify = f" verifyhost {name}" if health.tls and name else ""
    return resolve + place + tls + verify + (sni if health.tls else "")
