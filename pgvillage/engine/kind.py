"""What a kind of resource is made of. One module in `resources/` implements this, and nothing else knows the kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, TypeVar, cast

from pgvillage.core.address import Address
from pgvillage.core.change import NO_IMPACT, Change, Impact, Resource, Risk
from pgvillage.core.ledger import Ledger
from pgvillage.core.live import Capabilities, Live, Query
from pgvillage.core.plan import Finding, Snapshot, System, Unread
from pgvillage.core.secret import Absent, Secret
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.estate.view import ClusterView

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parsed:
    states: Mapping[Address, State]
    unread: tuple[Unread, ...] = ()
    inventory: object = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What a kind may know while it decides: the estate's view, what is live, secrets in memory, the clock."""

    view: ClusterView
    snapshot: Snapshot
    now: datetime
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    capabilities: Capabilities | None = None
    # What several kinds need and is dear to find out, by the function that found it; each look has its own.
    known: dict[Callable[..., object], object] = field(default_factory=dict, init=False, repr=False)

    def once(self, find: Callable[[Context], T]) -> T:
        """`find(self)`, found out once in this look."""
        if find not in self.known:
            self.known[find] = find(self)
        return cast("T", self.known[find])

    absent: Mapping[str, Absent] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a change costs; `refused` says why it can't be done at all, and what to do instead."""

    risk: Risk
    impact: Impact = NO_IMPACT
    revokes: int = 0
    drops: int = 0
    refused: str = ""


Desired = dict[Address, Resource]


class Kind:
    """Base of all kinds: inherit, set `name` and `system`, and override what differs. Every method is pure."""

    name: ClassVar[str]
    system: ClassVar[System] = System.POSTGRES
    # False for what is no object of its own (a membership, a privilege, a setting): a share of drops is of objects.
    holds_objects: ClassVar[bool] = True

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        """What the manifests ask for on this cluster."""
        raise NotImplementedError

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        """What to ask a live PostgreSQL."""
        return ()

    def parse(self, live: Live) -> Parsed:
        """The answers as states."""
        raise NotImplementedError

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        """What of this kind stays unknown when a database could not be read; nothing for cluster-wide kinds."""
        return ()

    def remembered(self, target: str, ledger: Ledger) -> Mapping[Address, State]:
        """States that only the ledger knows of: there is nothing else of them to read."""
        return {}

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        """Where wishes meet what exists: fill in UNMANAGED fields, add what authority says must not be there."""
        return desired, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        """What must exist while this exists; asked of desired and of live states."""
        return ()

    def waits_for(self, change: Change, others: Mapping[Address, Change]) -> Iterable[Address]:
        """Changes that this one comes after for more reasons than `needs` tells."""
        return ()

    def subject(self, address: Address) -> Address:
        """Whose access it is: policy asks whether that one is ours."""
        return address

    def hindered(self, change: Change, others: Mapping[Address, Change], context: Context) -> str:
        """Why this can't be done beside the `others` that will be, in words that say what to do; '' when it can."""
        return ""

    def weight(self, address: Address, state: State) -> int:
        """How many privileges, memberships or logins this state is: what a share of revokes is a share of."""
        return 0

    def judge(self, change: Change, context: Context) -> Judgement:
        """Risk, impact and what policy counts."""
        raise NotImplementedError

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        """Merged steps for changes that do not depend on one another."""
        raise NotImplementedError


__all__ = ["Capabilities", "Context", "Desired", "Judgement", "Kind", "Live", "Parsed", "Query"]
