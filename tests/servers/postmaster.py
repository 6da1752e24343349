"""A PostgreSQL that somebody else starts and stops: its postmaster, what a kill leaves behind, where it may live."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.servers import wait_until


def postmaster_of(data: Path) -> int | None:
    """The pid of the PostgreSQL of this data folder, None where none runs."""
    with suppress(OSError, ValueError, IndexError):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, 0)
        return pid
    return None


def kill_postmaster(data: Path, what: str, log: Path) -> None:
    """kill -9 for the postmaster and every process of it; nothing where none runs."""
    postmaster = postmaster_of(data)
    if postmaster is None:
        return
    for pid in (postmaster, *children(postmaster)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: postmaster_of(data) is None or gone(postmaster), f"the end of {what}", log)


def quit_postmaster(data: Path) -> None:
    """An immediate shutdown: unlike a kill it frees PostgreSQL's shared memory. Does not wait."""
    postmaster = postmaster_of(data)
    if postmaster is not None:
        os.kill(postmaster, signal.SIGQUIT)


def end_postmaster(data: Path, what: str, log: Path) -> None:
    """Waits, and removes the segment of shared memory that a killed postmaster leaves behind."""
    postmaster = postmaster_of(data)
    if postmaster is not None:
        wait_until(lambda: gone(postmaster), f"the end of {what}", log)
    with suppress(OSError, ValueError, IndexError):
        segment = (data / "postmaster.pid").read_text().splitlines()[6].split()[1]
        subprocess.run(["ipcrm", "-m", segment], check=False, capture_output=True)


@contextmanager
def servers_home(prefix: str, folder: Path) -> Iterator[Path]:
    """Where the servers' user can work. As root not below `folder`, which pytest shuts for others."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=None if not os.getuid() else folder) as home:
        Path(home).chmod(0o755)
        yield Path(home)


def gone(pid: int) -> bool:
    """A zombie counts: PostgreSQL's parent is the machine's first process, which may take its time to notice."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def children(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], check=False, capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]
