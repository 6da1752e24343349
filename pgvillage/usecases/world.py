"""World: everything a use case needs from outside, as one protocol; `wiring.py` builds the real one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self

from pgvillage.core.fence import Fence
from pgvillage.core.ledger import Ledger, LedgerUpdate
from pgvillage.core.live import Capabilities, Live, Query
from pgvillage.core.lookup import DirectoryVisit, GroupQuery, Lookups
from pgvillage.core.outage import Outage
from pgvillage.core.plan import TargetId
from pgvillage.core.rotation import Rotation
from pgvillage.core.secret import Secret, SecretsFound
from pgvillage.core.status import Suspension
from pgvillage.core.topology import Topology
from pgvillage.estate.loader import Manifests
from pgvillage.estate.manifest import Cluster
from pgvillage.estate.references import SettingsNames
from pgvillage.estate.view import ClusterView
from pgvillage.settings import Settings


class Checkout(Protocol):
    """An estate's files at one revision."""

    @property
    def root(self) -> Path: ...
    @property
    def revision(self) -> str: ...
    @property
    def dirty(self) -> bool: ...
    @property
    def subject(self) -> str: ...
    @property
    def refused(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a target answered; `capabilities` is None for a system that has none, `notes` say how it was come to."""

    live: Live
    ledger: Ledger
    capabilities: Capabilities | None = None
    notes: tuple[str, ...] = ()


class Writer(Protocol):
    """The one writer of a target, inside its context."""

    ledger_problem: str
    notes: list[str]

    async def reach(self, databases: Sequence[str]) -> None: ...
    async def run(self, steps: Sequence[Any], update: LedgerUpdate) -> None: ...
    async def suspend(self, suspension: Suspension | None) -> None: ...


class Engine(Protocol):
    """What people may ask of a cluster's HA engine. Raises StepFailed in the engine's words, ReadError before anything
    was asked of it.
    """

    def turn(self, by: str, what: str) -> AbstractAsyncContextManager[None]:
        """The engine is asked for one thing at a time, and nothing is applied to it meanwhile. Raises LockNotAcquired
        with who has the turn.
        """

    async def switchover(self, seen: Topology, to: str | None) -> None:
        """The leader hands over, with nothing lost; returns once the engine says that it is done."""

    async def failover(self, seen: Topology, to: str | None) -> None:
        """A standby takes over although the leader may not hand over: what it lacks is lost."""


class Probe(Protocol):
    """A client that writes like an application, inside its context; `outage` is what it met, told at the end."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...
    @property
    def outage(self) -> Outage: ...


class Watch(Protocol):
    """Cheap looks at one target. What two looks answer differs when something may have changed between them.

    `blind` says why a look sees nothing there, "" where it sees; `connections` are those that are open.
    """

    @property
    def blind(self) -> str: ...
    @property
    def connections(self) -> int: ...
    async def look(self) -> Mapping[str, str]: ...
    async def close(self) -> None: ...


class World(Protocol):
    @property
    def settings(self) -> Settings: ...
    def names(self) -> SettingsNames: ...
    def checkout(self, revision: str | None = None) -> Checkout: ...
    def merged(self, base: str, head: str | None = None) -> tuple[Checkout, Checkout]: ...
    def manifests(self, checkout: Checkout) -> Manifests: ...
    def descends(self, old: str, new: str) -> bool: ...
    async def ask(self, queries: Collection[GroupQuery]) -> Lookups: ...
    async def visit(self, directory: str, queries: Collection[GroupQuery]) -> DirectoryVisit: ...
    def secrets(self, names: Iterable[str]) -> SecretsFound: ...
    def logins(self, rotations: Iterable[Rotation]) -> SecretsFound: ...
    def promote(self, rotation: Rotation, confirmed: Secret) -> bool: ...
    async def read(self, target: TargetId, view: ClusterView, queries_of: QueriesOf) -> Reading: ...
    def writer(
        self, target: TargetId, view: ClusterView, reading: Reading, fence: Fence | None = None
    ) -> AbstractAsyncContextManager[Writer]: ...
    def watch(self, target: TargetId, view: ClusterView) -> Watch: ...
    async def engine_hosts(self, name: str, cluster: Cluster) -> Sequence[str]:
        """HOST:PORT of every node by its HA engine's state in etcd, in the order of their names. Raises ReadError."""

    async def topology(self, view: ClusterView, parameters: Collection[str] = ()) -> Topology:
        """The cluster's nodes, asked now. A node that does not answer is part of it; ReadError when nothing could be
        asked at all.
        """

    def engine(self, view: ClusterView) -> Engine: ...
    def probes(self, view: ClusterView, topology: Topology) -> Sequence[Probe]:
        """One that knows every node's address, and one for each proxy of the manifest."""

    def now(self) -> datetime: ...


class QueriesOf(Protocol):
    def __call__(self, capabilities: Capabilities, /) -> Iterable[Query]: ...
