"""Where a client finds a cluster: hosts, role, TLS, and names; never a password."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.StrEnum):
    """Which of a cluster's nodes a client wants; the words are libpq's."""

    PRIMARY = "primary"
    STANDBY = "standby"
    PREFER_STANDBY = "prefer-standby"
    ANY = "any"


class Driver(enum.StrEnum):
    LIBPQ = "libpq"
    JDBC = "jdbc"
    NPGSQL = "npgsql"
    NODE = "node"
    PYTHON = "python"
    GO = "go"
    ODBC = "odbc"


@dataclass(frozen=True, slots=True)
class ClientTls:
    """`rootcert` is a file on the client's machine, or `system`; `cert` and `key` are the client's own."""

    mode: str = "verify-full"
    rootcert: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class ClientTarget:
    """`hosts` are (host, port), IPv6 without brackets, a socket's folder from `/` on; `user` may be "".

    `connect_timeout` is in seconds, for each host.
    """

    cluster: str
    hosts: tuple[tuple[str, int], ...]
    role: Role
    database: str
    user: str = ""
    tls: ClientTls = ClientTls()
    connect_timeout: int = 5

    @property
    def sockets(self) -> bool:
        return any(host.startswith("/") for host, _ in self.hosts)

    @property
    def authorities(self) -> list[str]:
        """HOST:PORT of each, IPv6 in brackets."""
        return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts]
