"""A stranger that listens, where a password must not go; and stolon's state for servers that it never saw."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any, Self

from tests.servers import serving
from tests.servers.postgres import PostgresServer


class Listener:
    """Accepts whatever comes, and keeps what was said."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections = 0
        self._lock = threading.Lock()
        self._serving = serving(self._socket, self._serve)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with self._lock:
                    self.connections += 1
                connection.close()

    def __enter__(self) -> Self:
        self._serving.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)
        self._socket.close()


def unheard(listener: Listener) -> bool:
    """Nobody has come. One connection of our own shows that the listener would have noticed."""
    host, port = listener.host.split(":")
    found = listener.connections
    socket.create_connection((host, int(port)), 5).close()
    return found == 0


def belonging_to(clusterdata: dict[str, Any], server: PostgresServer) -> dict[str, Any]:
    """Stolon's state as it would be if this server were of its cluster."""
    system = server.sql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    for db in clusterdata["dbs"].values():
        db["status"] |= {"systemdID": system, "timelineID": 1}
    return clusterdata
