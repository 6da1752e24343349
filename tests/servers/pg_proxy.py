"""A wire between a client and PostgreSQL that can do something before the n-th statement passes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.servers import serving

_STARTUP = 196608
_STATEMENTS = b"QP"  # simple Query, and Parse of the extended protocol

DROP = object()  # what `before` returns to end the connection instead of passing the statement on
Before = Callable[[int, str], object]


@dataclass
class PgProxy:
    """Counts the statements of sessions whose application_name begins with `watched`.

    `before(number, text)` runs ahead of each, numbered from 1 over all sessions; nothing else passes meanwhile in
    that direction of that session.
    """

    server_port: int
    watched: str = "pgvillage apply"
    before: Before = lambda number, text: None
    port: int = 0
    count: int = 0
    statements: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sockets: list[socket.socket] = field(default_factory=list)

    def cut(self) -> None:
        """Close every connection that is open now."""
        with self._lock:
            open_now, self._sockets = self._sockets, []
        for each in open_now:
            _end(each)

    def reset(self, before: Before = lambda number, text: None) -> None:
        """Begin to count anew."""
        self.cut()
        self.count, self.statements, self.before = 0, [], before

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port))
            except OSError:
                client.close()  # the server is down for the moment
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets += [client, server]
            down = threading.Thread(target=_down, args=(server, client), daemon=True)
            down.start()
            threading.Thread(target=self._up, args=(client, server, down), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, down: threading.Thread) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._forward(client, server)
        # Others only shut a socket down. Were one closed while a thread still uses it, its number could be given to a
        # new connection in between, and bytes of one session would end in another.
        _end(client)
        _end(server)
        down.join()
        with self._lock:
            self._sockets = [each for each in self._sockets if each not in (client, server)]
        client.close()
        server.close()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        head = _exactly(client, 8)
        length, code = struct.unpack("!ii", head)
        rest = _exactly(client, length - 8)
        server.sendall(head + rest)
        words = rest.split(b"\0")
        names = dict(zip(words[::2], words[1::2], strict=False)) if code == _STARTUP else {}
        counted = names.get(b"application_name", b"").decode().startswith(self.watched)
        while True:
            kind, size = _exactly(client, 1), _exactly(client, 4)
            body = _exactly(client, struct.unpack("!i", size)[0] - 4)
            if counted and kind in _STATEMENTS:
                self._pass(kind, body)
            server.sendall(kind + size + body)

    def _pass(self, kind: bytes, body: bytes) -> None:
        """Raises OSError when the connection was cut, or its client died, while `before` ran."""
        text = body.split(b"\0")[1 if kind == b"P" else 0].decode()
        with self._lock:
            self.count += 1
            number = self.count
            self.statements.append(text)
        if self.before(number, text) is DROP:
            raise ConnectionAbortedError


@contextlib.contextmanager
def pg_proxy(server_port: int) -> Iterator[PgProxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = PgProxy(server_port, port=listener.getsockname()[1])
        with serving(listener, lambda: proxy.serve(listener)):
            try:
                yield proxy
            finally:
                proxy.cut()


def _exactly(stream: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = stream.recv(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def _down(server: socket.socket, client: socket.socket) -> None:
    try:
        while data := server.recv(65536):
            client.sendall(data)
    except OSError:
        pass
    _end(client)
    _end(server)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
