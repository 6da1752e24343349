"""Real servers for the tests: ordinary processes on free loopback ports, stopped when the test is done."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # a user's may lack where servers' tools lie


def which(name: str) -> str | None:
    return shutil.which(name, path=_PATH)


def run(*command: str) -> None:
    """Runs a tool to its end. Raises RuntimeError with the end of what it said when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "PATH": _PATH})
    if done.returncode:
        raise RuntimeError(f"{command[0]} {command[1]}: {done.stderr[-2000:] or done.stdout[-2000:]}")


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
