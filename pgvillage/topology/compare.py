"""What is wrong with a cluster: what the engine says beside what every node says of itself; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pgvillage.core.address import quote_part
from pgvillage.core.topology import Node, Problem, Topology
from pgvillage.topology.limits import Limits, named, said
from pgvillage.topology.node_problems import node_problems
from pgvillage.topology.store_problems import store_problems

_WEIGHT = {"error": 0, "warning": 1, "info": 2}
# What an engine calls by another name.
_SAME = {"synchronous": "writes-wait"}


def compared(topology: Topology, limits: Limits | None = None) -> Topology:
    """The same with its problems, the weightiest first. What the engine's own state told of is kept."""
    return replace(topology, problems=problems_of(topology, limits))


def problems_of(topology: Topology, limits: Limits | None = None) -> tuple[Problem, ...]:
    """Those that the topology has already, and what comparing finds; a healthy cluster has none but of `info`."""
    limits = limits or Limits()
    found = [*_of_the_whole(topology), *node_problems(topology, limits), *store_problems(topology)]
    told = {(problem.code, problem.node) for problem in topology.problems}
    codes = {problem.code for problem in topology.problems}
    news = [p for p in found if (p.code, p.node) not in told and _SAME.get(p.code) not in codes]
    every = (*topology.problems, *news)
    return tuple(sorted(every, key=lambda problem: (_WEIGHT[problem.severity], problem.code, problem.node)))


def _of_the_whole(topology: Topology) -> Iterator[Problem]:
    if topology.engine_unread:
        yield Problem(
            "error", "engine-unread",
            f"what {topology.engine} keeps of the cluster could not be read, so nobody can say which node should lead: "
            f"{said(topology.engine_unread)}",
        )  # fmt: skip
    yield from _primaries(topology)
    yield from _identifiers(topology)
    yield from _timelines(topology)
    yield from _synchronous(topology)
    if topology.paused:
        yield Problem("warning", "paused", f"{topology.engine} is paused: nothing fails over until it is resumed")


def _primaries(topology: Topology) -> Iterator[Problem]:
    found = topology.primaries
    if topology.standby_cluster:
        for node in found:
            yield Problem(
                "error", "primary-in-standby-cluster",
                f"{quote_part(node.name)} takes writes, and the cluster should only follow another one: its data has "
                "gone its own way; make a new copy of it before it follows again", node.name,
            )  # fmt: skip
    elif len(found) > 1:
        yield _two_primaries(topology, found)
    elif not found:
        yield _no_primary(topology)
    if topology.engine == "none" or topology.engine_unread:
        return
    if not topology.leader:
        words = f" (phase: {said(topology.phase)})" if topology.phase else ""
        yield Problem(
            "error", "no-leader", f"{topology.engine} has no leader now{words}: it elects one, or can't; if this stays "
            "for more than a minute, look at its log and at etcd",
        )  # fmt: skip
    elif len(found) == 1 and found[0].name != topology.leader and not topology.standby_cluster:
        yield Problem(
            "error", "leader-mismatch",
            f"{topology.engine} says that {quote_part(topology.leader)} leads, and {quote_part(found[0].name)} takes "
            "writes: a failover that is under way, or a node that was not fenced; nothing is written by PgVillage",
            found[0].name,
        )  # fmt: skip


def _two_primaries(topology: Topology, found: tuple[Node, ...]) -> Problem:
    nodes = ", ".join(f"{quote_part(n.name)} ({n.address}, timeline {n.sql.timeline})" for n in found if n.sql)
    leads = f"; {topology.engine} says that {quote_part(topology.leader)} leads" if topology.leader else ""
    return Problem(
        "error", "two-primaries",
        f"split brain: {len(found)} nodes take writes: {nodes}{leads}. Stop the one that should not lead, and lead no "
        "client there: what was written to it is on no other node",
    )  # fmt: skip


def _no_primary(topology: Topology) -> Problem:
    silent = [node for node in topology.nodes if node.sql is None]
    leader = topology.node(topology.leader) if topology.leader else None
    if leader is not None and leader.sql is not None:
        why = f"; {quote_part(leader.name)}, which should lead, is in recovery: it is being promoted, or can't be"
    elif silent:
        why = f"; it can only be one that does not answer: {named(node.name for node in silent)}"
    else:
        why = "; all nodes are standbys: promote one, or look why the engine does not"
    return Problem("error", "no-primary", f"no node is known to take writes{why}")


def _identifiers(topology: Topology) -> Iterator[Problem]:
    answered = [node for node in topology.nodes if node.sql is not None]
    primary = next(iter(topology.primaries), None)
    expected = topology.system_identifier or (primary.sql.system_identifier if primary and primary.sql else "")
    if not expected and answered and answered[0].sql is not None:
        expected = answered[0].sql.system_identifier
    for node in answered:
        if node.sql is not None and node.sql.system_identifier != expected:
            yield Problem(
                "error", "system-identifier",
                f"{quote_part(node.name)} has the system identifier {quote_part(node.sql.system_identifier)}, the "
                f"cluster's is {quote_part(expected)}: it is another database cluster; take it out or make a new copy",
                node.name,
            )  # fmt: skip


def _timelines(topology: Topology) -> Iterator[Problem]:
    """No node can be on a later timeline than the one that leads: a later one was promoted at some time."""
    leads = topology.primary or (topology.primaries[0] if len(topology.primaries) == 1 else None)
    if leads is None or leads.sql is None:
        return
    for node in topology.nodes:
        later = max(node.sql.timeline if node.sql else 0, node.engine.timeline if node.engine else 0)
        if node.name != leads.name and later > leads.sql.timeline:
            yield Problem(
                "error", "timeline",
                f"{quote_part(node.name)} is on timeline {later}, and {quote_part(leads.name)}, which takes writes, on "
                f"{leads.sql.timeline}: a node was promoted at some time and they went different ways; find out which "
                "one has the data that counts before anything is rewound", node.name,
            )  # fmt: skip


def _synchronous(topology: Topology) -> Iterator[Problem]:
    primary = topology.primary
    if not topology.synchronous or primary is None or primary.sql is None:
        return
    senders = primary.sql.senders
    if any(not sender.synchronous for sender in senders):  # our role may not see it
        return
    confirm = [s for s in senders if s.synchronous in ("sync", "quorum") and s.state == "streaming"]
    if len(confirm) < topology.synchronous:
        yield Problem(
            "error", "synchronous",
            f"{len(confirm)} of {topology.synchronous} synchronous standbys stream from {quote_part(primary.name)}: "
            "commits wait there until one does; bring a standby back, or ask for fewer (ha.synchronous)", primary.name,
        )  # fmt: skip
