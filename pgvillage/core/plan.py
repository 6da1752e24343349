"""Plans: what differs on each target, what would be done, and what stands in the way."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change
from pgvillage.core.ledger import Ledger
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.core.topology import Topology


class System(enum.StrEnum):
    """What kind of live system a target is; each has its own reader and writer."""

    POSTGRES = "postgres"
    STOLON = "stolon"
    PATRONI = "patroni"


@dataclass(frozen=True, slots=True)
class TargetId:
    """One unit of locking, staleness and failure: a cluster's PostgreSQL, or its state in etcd."""

    cluster: str
    system: System = System.POSTGRES

    def __str__(self) -> str:
        return self.cluster if self.system is System.POSTGRES else f"{self.cluster}:{self.system}"


@dataclass(frozen=True, slots=True)
class Unread:
    """A part of a target that could not be read: nothing in it may be concluded to be absent."""

    kind: str
    prefix: tuple[str, ...]
    reason: str

    def covers(self, address: Address) -> bool:
        return self.kind in ("*", address.kind) and address.name[: len(self.prefix)] == self.prefix


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should know; `severity` is info, warning or error. No finding changes anything.

    One that `blocks` is a manifest's mistake that only a look at the target could find: nothing is done there before it
    is corrected. One of `health` tells how the target itself does: the plan is as good as without it.
    """

    severity: str
    message: str
    address: Address | None = None
    blocks: bool = False
    health: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A target as it was read at one moment. `inventory` holds what kinds left for each other, by kind."""

    live: Mapping[Address, State]
    read_at: datetime
    ledger: Ledger = field(default_factory=Ledger)
    unread: tuple[Unread, ...] = ()
    inventory: Mapping[str, object] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def is_unread(self, address: Address) -> bool:
        return any(unread.covers(address) for unread in self.unread)


@dataclass(frozen=True, slots=True)
class Gate:
    """Policy's objection to a target's plan. An `approvable` one yields to an approval of the plan's digest.

    One that is not `blocking` holds some changes back and lets the rest of the target go on.
    """

    rule: str
    message: str
    approvable: bool = True
    open: bool = False
    blocking: bool = True


class Status(enum.StrEnum):
    PLANNED = "planned"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


@dataclass(frozen=True, repr=False)
class TargetPlan:
    """One target's part of a plan. `changes` holds the held ones too; `steps` only what would be done.

    `waiting` are held for nothing but the hour: their window opens by itself, or an approval does. `topology` is of the
    cluster's nodes, where the target's look asked them.
    """

    target: TargetId
    status: Status
    observed_at: datetime | None = None
    changes: tuple[Change, ...] = ()
    steps: tuple[Step, ...] = ()
    gates: tuple[Gate, ...] = ()
    findings: tuple[Finding, ...] = ()
    unread: tuple[Unread, ...] = ()
    error: str = ""
    depends: Mapping[Address, tuple[Address, ...]] = field(default_factory=dict)
    bookkeeping: bool = False
    waiting: frozenset[Address] = frozenset()
    topology: Topology | None = None

    @property
    def complete(self) -> bool:
        return self.status is Status.PLANNED and not self.unread

    @property
    def applied_changes(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if not change.held)

    def with_gates(self, gates: tuple[Gate, ...], *, bookkeeping: bool) -> TargetPlan:
        """The same changes, so the same digest, which is not computed again."""
        plan = replace(self, gates=gates, bookkeeping=bookkeeping)
        vars(plan)["digest"] = self.digest
        return plan

    @property
    def blocked(self) -> bool:
        return any(gate.blocking and not gate.open for gate in self.gates)

    @cached_property
    def digest(self) -> str:
        """What an approval approves: 64 hex digits over the changes that would be applied, in any order, and over those
        that wait for their window: the digest is the same inside of it and outside.

        What a lesser account can't see is no part of it, so that its plan and the applier's agree.
        """
        covered = (c for c in self.changes if not c.held or c.address in self.waiting)
        parts = (c.digest_part() for c in covered if not c.only_sensitive)
        text = "\n".join([str(self.target), *sorted(parts)])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """Everything one run found: `scope` is what was asked for, `complete` whether all of it could be read."""

    revision: str
    targets: tuple[TargetPlan, ...]
    scope: tuple[str, ...] = ()
    subject: str = ""
    dirty: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def complete(self) -> bool:
        return all(target.complete for target in self.targets)

    @property
    def changes(self) -> list[Change]:
        return [change for target in self.targets for change in target.changes]


def count_actions(changes: Iterable[Change]) -> dict[Action, int]:
    """How many changes there are of each action; every action is a key."""
    counts = dict.fromkeys(Action, 0)
    for change in changes:
        counts[change.action] += 1
    return counts
