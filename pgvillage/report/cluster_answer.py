"""A cluster's nodes as API, state database and command line have them: one model, its OpenAPI schema included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from pgvillage.core.topology import Node, Problem, SlotFact, Store, Topology
from pgvillage.report.state_models import Answer, Count, Moment
from pgvillage.report.words import clipped, show_text

_LONGEST = 400
_MOST = 200  # nodes, slots, and the like: what stands in etcd may be hostile


class ClusterProblem(Answer):
    """Something that is wrong, in words; `code` is stable."""

    severity: Literal["error", "warning", "info"]
    code: str
    text: str
    node: str
    since: Moment | None = Field(description="The first look in a row that saw it; null: not known.")


class ClusterSlot(Answer):
    """A replication slot on a node."""

    node: str
    name: str
    physical: bool
    active: bool
    held_back: Count | None = Field(description="Bytes of WAL that it keeps.")
    wal_status: str


class ClusterNode(Answer):
    """`role` is the node's own word before the engine's, `state` the engine's word."""

    name: str
    address: str
    role: Literal["primary", "standby", "unknown"]
    state: str
    answers: bool = Field(description="Whether it answered by SQL.")
    error: str = Field(description="Why it did not.")
    timeline: Count
    lag_bytes: Count | None = Field(description="What it has not replayed of what the primary wrote.")
    lag_seconds: float | None
    sync: str = Field(description="As the primary's pg_stat_replication says: sync, quorum, potential, async.")
    streaming: bool
    streams_from: str
    pending_restart: list[str]
    version: str
    system_identifier: str
    started_at: Moment | None
    leased: bool | None = Field(description="Whether its own lease stands in etcd; null where there is none to know.")


class ClusterEtcdMember(Answer):
    name: str
    endpoint: str
    leader: bool
    version: str
    db_size: Count
    error: str


class ClusterEtcd(Answer):
    """The etcd that the engine keeps its state in."""

    name: str
    quorum: bool
    leader: str
    db_size: Count
    alarms: list[str]
    members: list[ClusterEtcdMember]
    error: str


class ClusterAnswer(Answer):
    """A cluster's nodes at one moment, and what is wrong."""

    name: str
    engine: Literal["none", "stolon", "patroni"]
    observed_at: Moment
    healthy: bool
    primary: str = Field(description="The one node that takes writes and that the engine says leads; empty: none.")
    leader: str = Field(description="By the engine's word.")
    phase: str
    paused: bool
    standby_cluster: bool
    synchronous: Count = Field(description="Standbys that must confirm a commit.")
    system_identifier: str
    nodes: list[ClusterNode]
    slots: list[ClusterSlot]
    problems: list[ClusterProblem]
    etcd: ClusterEtcd | None


def cluster_answer(found: Topology, before: Mapping[str, Any] | None = None) -> ClusterAnswer:
    """`before` is the document of the look before, which knows since when a problem is there."""
    primary, since = found.primary, _since(before)
    return ClusterAnswer(
        name=found.cluster,
        engine=found.engine,
        observed_at=found.observed_at,
        healthy=found.healthy,
        primary=_name(primary.name) if primary else "",
        leader=_name(found.leader),
        phase=show_text(found.phase, 80),
        paused=found.paused,
        standby_cluster=found.standby_cluster,
        synchronous=found.synchronous,
        system_identifier=found.system_identifier or (primary.sql.system_identifier if primary and primary.sql else ""),
        nodes=[_node(node, found) for node in found.nodes[:_MOST]],
        slots=list(_slots(found))[:_MOST],
        problems=[
            _problem(each, since, found.observed_at, known=before is not None) for each in found.problems[:_MOST]
        ],
        etcd=_etcd(found.store) if found.store is not None else None,
    )


def cluster_document(found: Topology, before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """In JSON's own types, as the state database keeps it; since when a problem is there counts from now on."""
    return cluster_answer(found, before or {}).model_dump(mode="json")


def _since(before: Mapping[str, Any] | None) -> dict[tuple[str, str], str]:
    problems = (before or {}).get("problems", ())
    return {(each["code"], each["node"]): each["since"] for each in problems if each.get("since")}


def _name(text: str) -> str:
    return clipped(text, 200)


def _problem(problem: Problem, since: Mapping[tuple[str, str], str], now: datetime, *, known: bool) -> ClusterProblem:
    first = since.get((problem.code, problem.node))
    at = datetime.fromisoformat(first) if first else now if known else None
    text = clipped(problem.text, _LONGEST)
    return ClusterProblem(severity=problem.severity, code=problem.code, text=text, node=_name(problem.node), since=at)


def _node(node: Node, found: Topology) -> ClusterNode:
    sql, engine = node.sql, node.engine
    ours = found.primary or (found.primaries[0] if len(found.primaries) == 1 else None)
    return ClusterNode(
        name=_name(node.name),
        address=show_text(node.address, 300),
        role=node.role,
        state=show_text(engine.state, 80) if engine else "",
        answers=sql is not None,
        error=show_text(node.error, _LONGEST),
        timeline=max(0, sql.timeline if sql else engine.timeline if engine else 0),
        lag_bytes=node.lag(ours) if ours is not None and node is not ours else None,
        lag_seconds=round(sql.replay_seconds, 1) if sql and sql.replay_seconds is not None else None,
        sync=_sync(node, ours),
        streaming=sql.streaming if sql else False,
        streams_from=show_text(sql.streams_from, 300) if sql else "",
        pending_restart=list(sql.pending_restart) if sql else [],
        version=_version(sql.version) if sql else "",
        system_identifier=sql.system_identifier if sql else "",
        started_at=sql.started_at if sql else None,
        leased=engine.leased if engine else None,
    )


def _sync(node: Node, primary: Node | None) -> str:
    """By the name that a standby gives itself, which is the node's with Patroni and follows from it with stolon."""
    if primary is None or primary.sql is None or node.sql is None or not node.sql.recovering:
        return ""
    named = [sender for sender in primary.sql.senders if sender.name == node.name]
    if len(named) == 1:
        return named[0].synchronous
    if node.engine is not None:
        return "sync" if node.engine.synchronous else "async" if node.sql.streaming else ""
    standbys = [each for each in primary.sql.senders if each.state]
    return standbys[0].synchronous if len(standbys) == 1 and node.sql.streaming else ""


def _version(number: int) -> str:
    """150004 as 15.4."""
    return f"{number // 10000}.{number % 10000}" if number else ""


def _slots(found: Topology) -> Iterator[ClusterSlot]:
    for node in found.nodes:
        for slot in node.sql.slots if node.sql else ():
            yield _slot(node.name, slot)


def _slot(node: str, slot: SlotFact) -> ClusterSlot:
    held = max(0, slot.held_back) if slot.held_back is not None else None
    return ClusterSlot(
        node=_name(node), name=slot.name, physical=slot.physical, active=slot.active, held_back=held,
        wal_status=slot.wal_status,
    )  # fmt: skip


def _etcd(store: Store) -> ClusterEtcd:
    members = [
        ClusterEtcdMember(
            name=show_text(m.name, 100), endpoint=show_text(m.endpoint, 300), leader=m.leads,
            version=show_text(m.version, 40), db_size=max(0, m.db_size), error=show_text(m.error, _LONGEST),
        )
        for m in store.members[:_MOST]
    ]  # fmt: skip
    return ClusterEtcd(
        name=store.name, quorum=store.quorum, leader=show_text(store.leader, 100), db_size=max(0, store.db_size),
        alarms=[show_text(alarm, 40) for alarm in store.alarms[:_MOST]], members=members,
        error=show_text(store.error, _LONGEST),
    )  # fmt: skip
