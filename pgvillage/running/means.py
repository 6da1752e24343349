"""What a run is made of and with: the Job as its revision has it, and the world that its steps meet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pgvillage.core.run_key import RunKey
from pgvillage.core.secret import SecretsFound
from pgvillage.estate.manifest import Job
from pgvillage.running.contract import RunListener, RunStore, Ways

# The host of (cluster, target, node) that programs run on. Raises ReadError.
HostOf = Callable[[str, str, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Order:
    """One run of a Job. `root` is the checkout of `revision`, which SQL files are read from."""

    job: Job
    key: RunKey
    root: Path
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    """`owner` says for people who runs it: host and process. `keep`: bytes of a step's output that are kept."""

    store: RunStore
    ways: Ways
    listener: RunListener
    secrets: Callable[[Iterable[str]], SecretsFound]
    host_of: HostOf
    now: Callable[[], datetime]
    owner: str
    keep: int = 65_536


@dataclass(eq=False)
class Stop:
    """Ends a run from inside its own process: it is recorded as cancelled by `by`."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    by: str = ""

    def ask(self, by: str) -> None:
        self.by = self.by or by
        self.asked.set()
