"""A run of a Job: what is known of it while it waits, goes on and has ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from pgvillage.core.errors import PgVillageError
from pgvillage.core.run_key import RunKey

Scalar = str | bool | int | float


class RunStatus(enum.Enum):
    DUE = "due"  # noted; nobody has begun it, or it waits for its next try
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"  # by the overlap policy, or by the missed-run policy
    GIVEN_UP = "given up"  # could not begin within the deadline
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # whoever ran it is gone, and at-most-once forbids another try

    @property
    def ended(self) -> bool:
        return self not in (RunStatus.DUE, RunStatus.RUNNING)


class Outcome(enum.Enum):
    """Of a step's instance, or of a check."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"  # its `when` was false: what needs it goes on
    CUT_OFF = "cut off"  # something that it needs has failed


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What replicas share of a run. Times are UTC.

    `attempt` counts tries that were begun, `token` claims that were made: a greater one fences a smaller one.
    `not_before`: its next try. `why`: words for people (an error, who cancelled, what was skipped for). `cancel`: who
    asked that it be ended, "" nobody. `by`: who asked for a run by hand, "" the schedule.
    """

    key: RunKey
    status: RunStatus
    noted: datetime
    attempt: int = 0
    token: int = 0
    owner: str = ""
    not_before: datetime | None = None
    begun: datetime | None = None
    ended: datetime | None = None
    why: str = ""
    cancel: str = ""
    by: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One try of a step's instance, or of a check (`check`). `output` is what was kept of it, secrets taken out.

    `rc` is 0 for success of any kind, a program's exit code, an HTTP status below 200 or above 299 as it is, and 1 for
    an SQL error. `rows` are of the last statement with rows, `value` its first column of its first row as text.
    `already`: the target's ledger says that an earlier try has committed it; nothing was run.
    """

    step: str
    number: int
    outcome: Outcome
    begun: datetime | None = None
    ended: datetime | None = None
    attempt: int = 1
    values: tuple[tuple[str, Scalar], ...] = ()
    rc: int | None = None
    rows: int | None = None
    value: str | None = None
    output: str = ""
    truncated: bool = False
    error: str = ""
    check: bool = False
    already: bool = False


class RunTaken(PgVillageError):
    """Somebody else runs it now, or has ended it; `record` says who and how."""

    def __init__(self, message: str, record: RunRecord | None) -> None:
        super().__init__(message)
        self.record = record


class ClaimLost(PgVillageError):
    """The run is no longer ours: somebody with a greater token may be at it."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that has not ended; `held` while somebody's claim on it lives."""

    record: RunRecord
    held: bool
