"""The daemon's socket and HTTP server."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp

from pgvillage.core.errors import SettingsError
from pgvillage.daemon.patience import MOST_BYTES, Unambiguous, patient
from pgvillage.settings import ClientCertificate

_PORTS = 65_535
_FILES = 16_384


class Listening(Protocol):
    """Settings of a server: `serve`, or what has its keys."""

    @property
    def tls(self) -> ClientCertificate | None: ...
    @property
    def trusted_proxies(self) -> Sequence[str]: ...


class Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would stop on its own and leave the loops running."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(app: ASGIApp, serve: Listening, section: str = "serve", client_ca: Path | None = None) -> Server:
    """HTTPS where the settings name a certificate; with `client_ca` for those alone who show one of its certificates.

    Raises SettingsError, which names the `section` of the settings.
    """
    files = {"ssl_certfile": str(serve.tls.cert), "ssl_keyfile": str(serve.tls.key)} if serve.tls else {}
    if client_ca is not None:
        files |= {"ssl_ca_certs": str(client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}  # type: ignore[dict-item]
    config = uvicorn.Config(
        Unambiguous(app),
        http=patient(serve.trusted_proxies),
        ws="none",
        h11_max_incomplete_event_size=MOST_BYTES,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # who a request is from is told by serve.trustedProxies alone
        timeout_graceful_shutdown=2,
        **files,  # type: ignore[arg-type]
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{section}.tls: {_why(error)}") from None
    return Server(config)


def renew_certificate(server: Server, serve: Listening, section: str = "serve") -> None:
    """Connections from now on get what the files hold now. Raises SettingsError; then the old one stays."""
    context = server.config.ssl
    if context is None or serve.tls is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(serve.tls.cert, serve.tls.key)
        context.load_cert_chain(serve.tls.cert, serve.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{section}.tls: {_why(error)}") from None


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"certificate and key can't be used together ({error.reason or 'not PEM'})"
    return f"{error.strerror}; can this account read certificate and key?"


def make_room() -> None:
    """As many open files as the system lets us have: people's connections may not take those of the targets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bound(listen: str, section: str = "serve") -> socket.socket:
    """Bound here, as uvicorn would end the process when it can't. Raises SettingsError."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit() or int(port) > _PORTS or not host:
        raise SettingsError(f"{section}.listen: expected ADDRESS:PORT, found {listen!r}")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, int(port)), family=family)
    except OSError as error:
        words = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise SettingsError(f"{section}.listen: can't listen on {listen}: {words}") from None
