"""A cluster's nodes: what the HA engine keeps of them, and what each says of itself by SQL; and what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pgvillage.core.guc import Guc
from pgvillage.core.state import canonical

EngineName = Literal["none", "stolon", "patroni"]
NodeRole = Literal["primary", "standby", "unknown"]
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Sender:
    """A row of pg_stat_replication: one stream that leaves a node. Positions in bytes, lag in seconds."""

    name: str  # application_name
    role: str  # usename: the role that the standby logs in with
    address: str
    state: str
    synchronous: str  # sync, quorum, potential, async
    sent: int | None = None
    flushed: int | None = None
    replayed: int | None = None
    replay_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SlotFact:
    """A replication slot on a node. `held_back` is the bytes of WAL it keeps; None: it never held any."""

    name: str
    physical: bool
    active: bool
    held_back: int | None = None
    wal_status: str = ""


@dataclass(frozen=True, slots=True)
class NodeSql:
    """What a node answered by SQL. `position` is where it writes (primary) or has replayed to (standby), in bytes.

    `running` are the values in force of the parameters that were asked for, as pg_settings has them (base units), and
    `gucs` what kinds of parameters these are. `controldata` is what a standby knows of its primary's five
    standby-sensitive parameters, by their names.
    """

    recovering: bool
    system_identifier: str
    timeline: int
    position: int
    version: int
    received: int | None = None
    replay_seconds: float | None = None
    streams_from: str = ""
    streaming: bool = False
    pending_restart: tuple[str, ...] = ()
    file_errors: tuple[str, ...] = ()
    running: Mapping[str, str] = field(default_factory=dict)
    gucs: Mapping[str, Guc] = field(default_factory=dict)
    controldata: Mapping[str, str] = field(default_factory=dict)
    senders: tuple[Sender, ...] = ()
    slots: tuple[SlotFact, ...] = ()
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NodeEngine:
    """What the engine keeps of a node. `state` is its own word; `leased` whether the node's own lease stands.

    `synchronous_wanted` is the engine's decision, `synchronous` what is in force; None where it says nothing.
    """

    role: NodeRole
    state: str = ""
    healthy: bool | None = None
    leased: bool | None = None
    timeline: int = 0
    position: int | None = None
    pending_restart: bool = False
    synchronous_wanted: bool = False
    synchronous: bool = False
    may_lead: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    api: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """`address` is HOST:PORT of its PostgreSQL; `error` says why it did not answer by SQL."""

    name: str
    address: str
    engine: NodeEngine | None = None
    sql: NodeSql | None = None
    error: str = ""

    @property
    def role(self) -> NodeRole:
        """Its own word before the engine's."""
        if self.sql is not None:
            return "standby" if self.sql.recovering else "primary"
        return self.engine.role if self.engine is not None else "unknown"

    def lag(self, primary: Node) -> int | None:
        """Bytes that this node has not replayed of what the primary wrote; None where one of them did not answer."""
        if self.sql is None or primary.sql is None:
            return None
        return max(0, primary.sql.position - self.sql.position)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, in words; `code` is stable and short (`no-primary`, `two-primaries`, `lag`, ...)."""

    severity: Severity
    code: str
    text: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class StoreMember:
    """A member of the etcd that an engine keeps its state in. `error` says why it does not answer; sizes in bytes."""

    name: str
    endpoint: str
    leads: bool = False
    version: str = ""
    db_size: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """That etcd as a whole. `alarms` are words as NOSPACE; `error` says why nothing could be asked of it at all."""

    name: str
    members: tuple[StoreMember, ...] = ()
    quorum: bool = True
    alarms: tuple[str, ...] = ()
    error: str = ""

    @property
    def leader(self) -> str:
        return next((member.name for member in self.members if member.leads), "")

    @property
    def db_size(self) -> int:
        """Bytes, of the largest member that answers."""
        return max((member.db_size for member in self.members), default=0)


@dataclass(frozen=True, slots=True)
class Topology:
    """A cluster at one moment. `leader` is the node that the engine says leads, "" where it says none.

    `synchronous` is the number of standbys that must confirm a commit by the engine's configuration (0: none).
    `engine_unread` says why the engine's state could not be read: what nodes say by SQL holds all the same.
    `kept_slots` are slots that the engine is told to keep on every primary, whether or not anybody reads them.
    """

    cluster: str
    engine: EngineName
    observed_at: datetime
    nodes: tuple[Node, ...]
    leader: str = ""
    phase: str = ""
    paused: bool = False
    kept_slots: frozenset[str] = frozenset()
    system_identifier: str = ""
    synchronous: int = 0
    standby_cluster: bool = False
    problems: tuple[Problem, ...] = ()
    store: Store | None = None
    engine_unread: str = ""

    def node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    @property
    def primaries(self) -> tuple[Node, ...]:
        """Every node that takes writes, by its own word."""
        return tuple(node for node in self.nodes if node.sql is not None and not node.sql.recovering)

    @property
    def primary(self) -> Node | None:
        """The one that takes writes and that the engine, where there is one, says leads; None where they disagree."""
        found = self.primaries
        if len(found) != 1 or (self.engine != "none" and found[0].name != self.leader):
            return None
        return found[0]

    @property
    def standbys(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.role == "standby")

    @property
    def healthy(self) -> bool:
        return not any(problem.severity == "error" for problem in self.problems)

    @property
    def digest(self) -> str:
        """64 hex digits over who leads, who answers, in which role and timeline, and what is wrong; no positions.

        What somebody accepts by it, such as a loss of data, is accepted for this state and no other.
        """
        nodes = tuple(
            (node.name, node.role, node.sql is not None, node.sql.timeline if node.sql else 0)
            for node in sorted(self.nodes, key=lambda each: each.name)
        )
        codes = frozenset((p.code, p.node) for p in self.problems if p.severity == "error")
        told = (self.cluster, self.engine, self.leader, self.system_identifier, self.paused, nodes, codes)
        return hashlib.sha256(canonical(told).encode()).hexdigest()
