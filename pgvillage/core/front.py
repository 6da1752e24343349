"""What stands before a cluster: the proxy's ports, whom it asks about the nodes, and the address that moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class HealthSource:
    """Whom a proxy asks whether a node is the primary: the routing API at one place, or Patroni on each node.

    `host` is "" for the node itself; `path` is put before the check, with `{node}` for the node's name.
    """

    kind: Literal["routing", "patroni"]
    host: str
    port: int
    tls: bool
    path: str


@dataclass(frozen=True, slots=True)
class MovingAddress:
    """`address` is ADDRESS/PREFIX; `onto` what it moves to: a machine with HAProxy, or the primary's own."""

    address: str
    onto: Literal["haproxy", "primary"]
    interface: str
    router: int


@dataclass(frozen=True, slots=True)
class Front:
    """`nodes` are name -> HOST:PORT with no other characters than those of host names and addresses.

    `most_lag` is in bytes; `token_variable` the environment variable of HAProxy that has the routing API's token.
    """

    cluster: str
    nodes: Mapping[str, str]
    health: HealthSource
    port: int
    standby_port: int
    most_lag: int | None = None
    moving: MovingAddress | None = None
    token_variable: str = ""
    ca: str = "@system-ca"


@dataclass(frozen=True, slots=True)
class Peers:
    """The machines among which the address moves, name -> IP address, and which of them this file is for."""

    addresses: Mapping[str, str]
    own: str
