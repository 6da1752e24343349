"""Connecting to PostgreSQL: which hosts a credential may go to, how strictly, with which session."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import CredentialRefused, ReadError
from pgvillage.core.leadership import Leadership, Session, host_port
from pgvillage.settings import SSL_MODES, Credential, SslMode, Timeouts

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

EndpointOf = Callable[[], Awaitable["Endpoint"]]

DEFAULT_PORT = 5432
# Nothing that libpq would read as several hosts or as an abstract socket.
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*|/[^:,\x00-\x1f\x7f]*"


@dataclass(frozen=True)
class Endpoint:
    """A cluster as the estate and the settings describe it, before anything is sent to it.

    `hosts` are HOST[:PORT], [IPV6][:PORT] or a socket folder; `credential_name` is for messages. `leadership` is what
    the HA engine says in etcd, None where there is none or it was not asked; `notes` say what a user should know of
    how this was found.
    """

    cluster: str
    hosts: Sequence[str]
    credential_name: str
    credential: Credential
    sslmode: SslMode | None
    timeouts: Timeouts
    leadership: Leadership | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def addresses(self) -> list[tuple[str, int]]:
        return [split_host(host) for host in self.hosts]

    def check(self) -> None:
        """Raises CredentialRefused when the credential is not meant for one of the hosts: before a packet leaves."""
        for host, port in self.addresses:
            if not any(_matches(pattern, host, port) for pattern in self.credential.hosts):
                raise CredentialRefused(
                    f"{self.cluster}: credential {self.credential_name!r} may not be sent to {host}:{port}; "
                    f"the settings allow {', '.join(self.credential.hosts)}{self._advice(host_port(host, port))}"
                )

    def _advice(self, address: str) -> str:
        if self.leadership is None or not self.leadership.followed:
            return ""
        engine = self.leadership.engine
        return (
            f". {engine} names this host in etcd; if it is yours, add {address!r} to credentials."
            f"{self.credential_name}.hosts in the settings"
        )

    def object_to(self, session: Session) -> None:
        """Raises ReadError where the session is not with the node that leads by the engine's word."""
        why = self.leadership.objection(session) if self.leadership is not None else ""
        if why:
            raise ReadError(self.cluster, why)

    @property
    def tls(self) -> SslMode:
        """The stricter of manifest and settings."""
        return max(self.sslmode or "disable", self.credential.sslmode, key=SSL_MODES.index)

    def conninfo(self, database: str, *, application: str, options: str, primary: bool = True) -> dict[str, str | int]:
        """Libpq parameters, the password left out. Nothing is taken from service or password files."""
        credential = self.credential
        parameters: dict[str, str | int] = {
            "host": ",".join(host for host, _ in self.addresses),
            "port": ",".join(str(port) for _, port in self.addresses),
            "dbname": database,
            "user": credential.user,
            "sslmode": self.tls,
            "connect_timeout": max(2, round(self.timeouts.connect)),
            "application_name": application,
            "options": options,
            "passfile": "/dev/null",
            "gssencmode": "disable",
            "client_encoding": "UTF8",
            "target_session_attrs": "primary" if primary else "any",
            "keepalives_idle": 30,
            "tcp_user_timeout": 60_000,
        }
        for key in ("sslrootcert", "sslcert", "sslkey"):
            if (value := getattr(credential, key)) is not None:
                parameters[key] = str(value)
        if self.tls not in ("verify-ca", "verify-full"):
            # Without a verified server, a password in clear text would go to whoever answers, on this machine too.
            parameters["require_auth"] = "!password,!gss,!sspi"
        return parameters


def split_host(text: str) -> tuple[str, int]:
    """`[::1]:5433` as ("::1", 5433); a socket folder may carry a port too."""
    match = re.fullmatch(rf"({_HOST})(?::([0-9]{{1,5}}))?", text)
    if not match or (match[2] and not 0 < int(match[2]) < 65536):
        raise CredentialRefused(f"{text!r} is not HOST:PORT")
    return match[1].strip("[]"), int(match[2] or DEFAULT_PORT)


def _matches(pattern: str, host: str, port: int) -> bool:
    """`*` stands for anything within one label or folder; a pattern without a port allows 5432 alone.

    A socket's folder without a port allows every port in it.
    """
    if host.startswith("/"):
        regex = "".join("[^/:]*" if char == "*" else re.escape(char) for char in pattern)
        return any(re.fullmatch(regex, text) for text in (host, f"{host}:{port}"))
    if not pattern.startswith("/") and not re.search(r"(?<!:):[0-9*]+$|\]:[0-9*]+$", pattern):
        pattern = f"{pattern}:{DEFAULT_PORT}"
    shown = f"[{host}]" if ":" in host else host
    regex = "".join("[^.:/]*" if char == "*" else re.escape(char) for char in pattern.lower())
    return re.fullmatch(regex, f"{shown}:{port}".lower()) is not None


async def connect(
    endpoint: Endpoint, database: str | None, *, application: str, settings: dict[str, str], primary: bool = True
) -> AsyncConnection[TupleRow]:
    """An autocommit connection to the primary among the hosts (any host when not `primary`).

    Raises CredentialRefused, SecretError, or ReadError with every host's reason, or because the engine in etcd says
    that another node leads than the one that takes writes.
    """
    import psycopg

    endpoint.check()
    credential = endpoint.credential
    password = None
    if credential.password is not None:
        # in a thread: a secret store that hangs may stall nobody else
        words = f"credential {endpoint.credential_name!r}"
        password = (await asyncio.to_thread(read_secret, credential.password, words)).reveal()
    parameters: dict[str, Any] = endpoint.conninfo(
        database or credential.database,
        application=application,
        options=" ".join(f"-c {name}={_option(value)}" for name, value in settings.items()),
        primary=primary,
    )
    try:
        connection = await psycopg.AsyncConnection.connect(
            "", autocommit=True, password=password, prepare_threshold=None, **parameters
        )
    except psycopg.Error as error:
        raise ReadError(endpoint.cluster, _why(error, database or credential.database)) from None
    if primary and endpoint.leadership is not None:
        try:
            endpoint.object_to(Session(addresses_of(connection)))
        except ReadError:
            await connection.close()
            raise
    return connection


def addresses_of(connection: AsyncConnection[TupleRow]) -> tuple[str, ...]:
    """HOST:PORT of the server as we named it, and as an IP address."""
    info = connection.info
    return tuple(dict.fromkeys(host_port(host, info.port) for host in (info.host, info.hostaddr) if host))


def _option(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


_HINTS = (
    ("password authentication failed", "check the credential's user and password in the settings"),
    ("no password supplied", "the server asks for a password: give the credential one in the settings"),
    ("no pg_hba.conf entry", "the server's pg_hba.conf does not admit this user from here"),
    ("certificate has expired", "renew the server's certificate"),
    ("certificate verify failed", "the server's certificate has expired, or does not chain to the sslrootcert"),
    ("root certificate file", "name the CA file as the credential's sslrootcert, or set `sslrootcert: system`"),
    ("does not match host name", "the server's certificate is for another name: connect by that name"),
    ("server does not support SSL", "switch ssl on at the server, or lower the credential's sslmode knowingly"),
    ("server is in hot standby mode", "none of the hosts is a primary: is a failover going on?"),
    ("session is read-only", "none of the hosts is a primary: is a failover going on?"),
    ("Connection refused", "is PostgreSQL running there, and does it listen on this address?"),
    ("timeout expired", "the host does not answer: is there a firewall between?"),
    ("does not exist", "check the name in the estate and the settings"),
)


def _why(error: Exception, database: str) -> str:
    """Libpq's words on one line, and what to do about the commonest."""
    text = " ".join(str(error).split())
    hint = next((hint for words, hint in _HINTS if words in text), "")
    return f"cannot connect to database {database!r}: {text}" + (f"; {hint}" if hint else "")
