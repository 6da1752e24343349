"""What a client met while a cluster handed over: how long it could not write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Outage:
    """`way` says how the client connected. `longest` are the seconds between two acknowledged writes, at most;
    `problem` says why nothing was measured.

    `first_failure` is the first write that failed, `first_success` the first that was acknowledged after it.
    """

    way: str
    writes: int = 0
    failures: int = 0
    longest: float = 0.0
    first_failure: datetime | None = None
    first_success: datetime | None = None
    problem: str = ""
