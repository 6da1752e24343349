"""A client that writes all the time, as a program: so that it can run on any host of a network.

python -m tests.servers.writing_client NAME FILE CONNINFO: inserts NAME and a number into public.written, and adds
"NUMBER SECONDS" to FILE once the server has acknowledged it. It starts anew after every error, until it is ended.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psycopg

TABLE = "CREATE TABLE public.written (client text, number bigint, PRIMARY KEY (client, number))"
_WRITE = "INSERT INTO public.written VALUES (%s, %s)"


@dataclass(slots=True)
class Writing:
    """A running client. Acknowledged numbers with the time of each, in seconds of the monotonic clock."""

    name: str
    file: Path
    process: subprocess.Popen[bytes]

    @property
    def acknowledged(self) -> dict[int, float]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return {int(number): float(at) for number, at in (line.split() for line in lines if line.count(" ") == 1)}

    @property
    def longest_wait(self) -> float:
        """Seconds between two acknowledgements, the longest."""
        times = sorted(self.acknowledged.values())
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def lost(self, server: psycopg.Connection[tuple[int]]) -> set[int]:
        """Acknowledged, and not there."""
        rows = server.execute("SELECT number FROM public.written WHERE client = %s", (self.name,)).fetchall()
        return set(self.acknowledged) - {number for (number,) in rows}


@contextmanager
def writing(name: str, file: Path, conninfo: str, where: list[str] | None = None) -> Iterator[Writing]:
    """`where` goes before the command, to run it on another host. It is ended on leaving."""
    command = [*(where or []), sys.executable, "-m", "tests.servers.writing_client", name, str(file), conninfo]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL)
    try:
        yield Writing(name, file, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main(name: str, file: str, conninfo: str) -> None:
    number = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Path(file).open("a") as acknowledged:
        while True:
            with suppress(psycopg.Error), psycopg.connect(conninfo, autocommit=True) as connection:
                while True:
                    number += 1
                    connection.execute(_WRITE, (name, number))
                    acknowledged.write(f"{number} {time.monotonic()}\n")
                    acknowledged.flush()
                    time.sleep(0.02)
            time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
