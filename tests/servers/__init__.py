"""Real servers for the tests: ordinary processes on free loopback ports, stopped when the test is done."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], what: str, log: Path | None = None, seconds: float = 30) -> None:
    """Poll until `ready()`; fail with the server's log when it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return
        time.sleep(0.02)
    tail = log.read_text(errors="replace")[-4000:] if log and log.exists() else "(no log)"
    raise RuntimeError(f"{what} did not come up within {seconds} s:\n{tail}")


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serving(listener: socket.socket, serve: Callable[[], None]) -> Iterator[None]:
    """Runs `serve`, which accepts connections until that fails, in a thread that is gone before the socket is closed.

    A thread left waiting in accept() would wait on the same number again after a signal, and by then the number can
    be another test's socket, whose connections it would steal.
    """
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def stop(process: subprocess.Popen[bytes], how: int = signal.SIGTERM, seconds: float = 10) -> None:
    if process.poll() is None:
        os.kill(process.pid, how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
