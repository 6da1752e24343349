"""Runs: what an apply did, told exactly."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from pgvillage.core.address import Address
from pgvillage.core.change import Change
from pgvillage.core.plan import TargetId, TargetPlan
from pgvillage.core.rotation import LoginsSeen


class Outcome(enum.StrEnum):
    DONE = "done"
    NOTHING = "nothing to do"
    BLOCKED = "blocked by policy"
    STALE = "stale"
    LOCKED = "locked by another"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, repr=False)
class TargetRun:
    """What happened on one target. `done` was done; `left` still differs; `unsettled` was done and differs again.

    `moved`: it ended because the primary moved, which is nobody's failure; the next look may begin at once.
    """

    target: TargetId
    outcome: Outcome
    plan: TargetPlan
    done: tuple[Change, ...] = ()
    left: tuple[Change, ...] = ()
    unsettled: tuple[Address, ...] = ()
    error: str = ""
    notes: tuple[str, ...] = ()
    statements: int = 0
    logins: LoginsSeen = field(default_factory=LoginsSeen)
    moved: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    revision: str
    targets: tuple[TargetRun, ...]
