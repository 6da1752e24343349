"""Runs one program of a job in a process of its own, and leaves nothing of it behind; started by its path.

What to run comes as one line of JSON on stdin. When stdin ends, whoever started this is gone or wants it ended: then
all that the program has begun gets SIGTERM, and after some seconds SIGKILL, also what has left its session.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_MISSING = 127  # what a shell answers for a program that is not there


def main() -> int:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    asked = json.loads(_line())
    with contextlib.ExitStack() as stack:
        command = asked["command"]
        if command is None:
            file = stack.enter_context(tempfile.NamedTemporaryFile("w", encoding="utf-8"))
            file.write(asked["script"])
            file.flush()
            command = ["/bin/sh", file.name]
        try:
            child = subprocess.Popen(
                command, env=asked["env"], cwd=asked["folder"], stdin=subprocess.DEVNULL,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            print(f"{command[0]}: {getattr(error, 'strerror', None) or error}", flush=True)
            return _MISSING
        code = _wait(child)
    return 128 - code if code < 0 else code


def _line() -> bytes:
    """Stdin is read byte by byte up to the line's end: its end is what is waited for later."""
    found = bytearray()
    while not found.endswith(b"\n"):
        piece = os.read(0, 65_536)
        if not piece:
            sys.exit(1)
        found += piece
    return bytes(found)


def _wait(child: subprocess.Popen[bytes]) -> int:
    done = os.pidfd_open(child.pid)
    try:
        ready, _, _ = select.select([done, 0], [], [])
        if done not in ready:
            _end(child)
    finally:
        os.close(done)
    code = child.wait()
    _kill_rest()
    return code


def _end(child: subprocess.Popen[bytes]) -> None:
    for pid in _descendants():
        _signal(pid, signal.SIGTERM)
    limit = time.monotonic() + _GRACE
    while time.monotonic() < limit and child.poll() is None:
        time.sleep(0.05)
    if child.poll() is None:
        child.kill()


def _kill_rest() -> None:
    """A subreaper's own children are all that is left; killing one may bring others here."""
    for _ in range(1000):
        left = _descendants()
        if not left:
            return
        for pid in left:
            _signal(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _descendants() -> list[int]:
    """All processes below this one that are no zombies."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in brackets may hold anything.
                told = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                if told[0] != b"Z":
                    children.setdefault(int(told[1]), []).append(int(folder.name))
    found, left = [], [os.getpid()]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main())
