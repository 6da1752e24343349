"""A real HAProxy for tests, with a configuration that was rendered."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers import accepts, free_port, stop, wait_until

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@contextmanager
def running_haproxy(folder: Path, text: str, port: int, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Until `port` accepts; gives the port of its statistics, which is another one than the rendered."""
    stats = free_port()
    place = folder / "haproxy.cfg"
    place.write_text(adapted(text, stats))
    log = folder / "haproxy.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", place], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": _PATH, **(environment or {})},
        )  # fmt: skip
    try:
        wait_until(lambda: accepts(port), "HAProxy", log)
        yield stats
    finally:
        stop(process)


def adapted(text: str, stats: int) -> str:
    """For a user who is not root and a machine that tests share."""
    text = text.replace("127.0.0.1:8404", f"127.0.0.1:{stats}").replace(
        "log /dev/log local0", "log stdout format raw local0"
    )
    return text if os.getuid() == 0 else text.replace("    user haproxy\n    group haproxy\n", "")


def checked(*command: str | Path, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """What a program says of a configuration: exit code and words."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "PATH": _PATH, **(environment or {})}
    )
    return done.returncode, done.stdout + done.stderr
