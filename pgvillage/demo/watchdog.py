"""Runs one server for as long as its parent lives: a program of its own, started by file name, standard library only.

The parent holds the other end of standard input. When that closes, because the parent is done or because it was
killed, the server is stopped and its data folder removed. A parent-death signal would not do: the kernel forgets it
when a process changes its user, as PostgreSQL must under root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any

SECONDS_PER_SIGNAL = 10


def main() -> int:
    """The order is JSON: `command`, `signals` to stop it by, `cleanup` (a folder), `identity` (keywords of Popen)."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    try:
        server = subprocess.Popen(order["command"], stdin=subprocess.DEVNULL, **order["identity"])
    except OSError as error:
        print(f"cannot start {order['command'][0]}: {error}", file=sys.stderr)  # to the server's log
        return 127

    def stop(*_: object) -> None:
        # in a thread: the main thread holds the lock of the wait that it was interrupted in
        threading.Thread(target=_stop, args=(server, order["signals"]), daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    ended = threading.Event()
    threading.Thread(target=_stop_with_parent, args=(server, order, ended), daemon=True).start()
    code = server.wait()
    if ended.is_set():
        shutil.rmtree(order["cleanup"], ignore_errors=True)
    return code


def _stop_with_parent(server: subprocess.Popen[bytes], order: dict[str, Any], ended: threading.Event) -> None:
    os.read(0, 1)  # unbuffered: a thread inside a buffered read would break the interpreter's end
    ended.set()
    _stop(server, order["signals"])


def _stop(server: subprocess.Popen[bytes], signals: list[int]) -> None:
    for number in signals:
        server.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(SECONDS_PER_SIGNAL)
            return


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
