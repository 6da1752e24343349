"""A way to a server that ends after so many bytes of its answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

EVERYTHING = 1 << 40


@dataclass
class Cut:
    """`passed` is how many bytes of the server's answers each connection let through."""

    port: int
    passed: list[int] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"


@contextlib.contextmanager
def cut_after(port: int, count: int = EVERYTHING) -> Iterator[Cut]:
    """Each connection to a local port, through another, ends once the server answered `count` bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cut = Cut(listener.getsockname()[1])
        thread = threading.Thread(target=_accept, args=(listener, port, count, cut))
        thread.start()
        try:
            yield cut
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # close alone does not wake who waits in accept
            thread.join()


def _accept(listener: socket.socket, port: int, count: int, cut: Cut) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                asking = threading.Thread(target=_pass_on, args=(client, server, EVERYTHING))
                asking.start()
                cut.passed.append(_pass_on(server, client, count))
                asking.join()


def _pass_on(source: socket.socket, sink: socket.socket, count: int) -> int:
    """Ends both ways when either ends, so that nothing waits for a peer that has gone."""
    passed = 0
    with contextlib.suppress(OSError):
        while passed < count and (data := source.recv(min(count - passed, 65536))):
            sink.sendall(data)
            passed += len(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    return passed
