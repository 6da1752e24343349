"""What makes a run the same run, wherever and whenever it is tried."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

_LENGTH = 32  # hexadecimal digits: 128 bits


@dataclass(frozen=True, slots=True)
class RunKey:
    """One run: a job at a scheduled time (aware) on one cluster and, where SQL runs, in one database.

    `node` is set where each node has a run of its own.
    """

    job: str
    scheduled: datetime
    cluster: str
    database: str = ""
    node: str = ""

    @property
    def id(self) -> str:
        """32 hexadecimal digits; the same in every time zone, and different wherever one part differs."""
        instant = self.scheduled.astimezone(UTC).isoformat(timespec="microseconds")
        return _digest("run", self.job, instant, self.cluster, self.database, self.node)

    def step_key(self, step: str, number: int = 0) -> str:
        """The idempotency key of a step's instance (its number in the matrix): the same for every try of it."""
        return _digest("step", self.id, step, str(number))


def _digest(*parts: str) -> str:
    # JSON keeps ("a", "bc") and ("ab", "c") apart, and takes lone surrogates
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_LENGTH]
