"""What is wrong with a node by itself: silence, a broken stream, lag, slots, restarts and files; pure."""

from __future__ import annotations

from collections.abc import Iterator

from pgvillage.core.address import quote_part
from pgvillage.core.topology import Node, NodeSql, Problem, Severity, SlotFact, Topology
from pgvillage.topology.limits import Limits, named, said, seconds, size


def node_problems(topology: Topology, limits: Limits) -> Iterator[Problem]:
    for node in topology.nodes:
        if node.sql is None:
            yield _silent(topology, node)
            continue
        yield from _by_engine(topology, node, node.sql)
        if node.sql.recovering:
            yield from _standby(topology, node, node.sql, limits)
        else:
            yield from _slots(topology, node, node.sql, limits)
        yield from _configuration(topology, node, node.sql)


def _silent(topology: Topology, node: Node) -> Problem:
    """Where the engine says that the node does well, it is rather our way to it that is broken."""
    engine = node.engine
    well = engine is not None and engine.healthy is not False and engine.leased is not False and bool(engine.state)
    why = said(node.error) or "it was not asked"
    word = ""
    if engine is not None:
        lease = ", without a lease" if engine.leased is False else ""
        ill = ", unhealthy" if engine.healthy is False else ""
        word = f"; {topology.engine} says: {said(engine.state) or 'nothing'}{lease}{ill}"
    severity: Severity = "warning" if well and node.name != topology.leader else "error"
    return Problem(severity, "no-answer", f"{quote_part(node.name)} does not answer by SQL: {why}{word}", node.name)


def _by_engine(topology: Topology, node: Node, sql: NodeSql) -> Iterator[Problem]:
    engine, name = node.engine, quote_part(node.name)
    if engine is None and (topology.engine == "none" or topology.engine_unread):
        return
    if engine is None or engine.leased is False:
        yield Problem(
            "error", "no-lease",
            f"{name} answers by SQL, but holds no lease in etcd: {topology.engine} does not run there or can't reach "
            "etcd, so nobody looks after this node", node.name,
        )  # fmt: skip
        if engine is None:
            return
    elif engine.healthy is False:
        word = f" ({said(engine.state)})" if engine.state else ""
        yield Problem(
            "error", "unhealthy", f"{topology.engine} says that {name} is not well{word}: look at its log there",
            node.name,
        )  # fmt: skip
    if engine.role == "primary" and sql.recovering and node.name != topology.leader:
        yield Problem(
            "warning",
            "role-mismatch",
            f"{topology.engine} still calls {name} a primary, and it is in recovery",
            node.name,
        )
    several = len(topology.primaries) > 1
    if engine.role == "standby" and not sql.recovering and not several and node.name == topology.leader:
        yield Problem(
            "warning",
            "role-mismatch",
            f"{topology.engine} still calls {name} a standby, and it takes writes",
            node.name,
        )


def _standby(topology: Topology, node: Node, sql: NodeSql, limits: Limits) -> Iterator[Problem]:
    primary = topology.primary or (topology.primaries[0] if len(topology.primaries) == 1 else None)
    name = quote_part(node.name)
    if not sql.streaming and (primary is not None or topology.standby_cluster):
        behind = node.lag(primary) if primary is not None else None
        lacks = f", {size(behind)} behind" if behind else ""
        yield Problem(
            "error", "not-streaming",
            f"{name} receives no WAL{_since(sql)}{lacks}: its log tells why (a password, pg_hba.conf, a slot or "
            "WAL that is gone); if WAL is gone it needs a new copy", node.name,
        )  # fmt: skip
    elif primary is not None:
        yield from _lag(node, sql, primary, limits)
    above = next((each for each in topology.nodes if each.address == sql.streams_from), None)
    if sql.streaming and primary is not None and above is not None and above.role == "standby":
        yield Problem(
            "info", "cascading", f"{name} streams from {quote_part(above.name)}, not from the primary", node.name
        )


def _since(sql: NodeSql) -> str:
    return f" (last transaction replayed {seconds(sql.replay_seconds)} ago)" if sql.replay_seconds else ""


def _lag(node: Node, sql: NodeSql, primary: Node, limits: Limits) -> Iterator[Problem]:
    behind, late = node.lag(primary) or 0, sql.replay_seconds or 0.0
    # Seconds count from the last transaction: of a primary that writes nothing they say nothing.
    if behind > limits.lag_bytes or (late > limits.lag_seconds and behind):
        waits = sql.received is not None and sql.received - sql.position > behind // 2
        where = (
            "it has received more than it has replayed: a long query there, or slow disks"
            if waits
            else "the network or the primary's sender is slow"
        )
        yield Problem(
            "warning", "lag",
            f"{quote_part(node.name)} is {size(behind)} and {seconds(late)} behind {quote_part(primary.name)}: {where}",
            node.name,
        )  # fmt: skip


def _slots(topology: Topology, node: Node, sql: NodeSql, limits: Limits) -> Iterator[Problem]:
    for slot in sql.slots:
        shown = f"slot {quote_part(slot.name)} on {quote_part(node.name)}"
        if slot.wal_status == "lost":
            yield Problem(
                "warning", "slot-lost",
                f"{shown} has lost WAL that its reader needs: the reader needs a new copy, and the slot can go",
                node.name,
            )  # fmt: skip
        elif topology.engine == "patroni" and _of_nobody(topology, slot):
            yield Problem(
                "warning", "member-gone",
                f"nobody reads {shown}, and no member that could has a lease: a standby that is gone for so long that "
                f"etcd forgot it; bring it back, or drop the slot, which holds back {size(slot.held_back or 0)} of WAL",
                node.name,
            )  # fmt: skip
        elif not slot.active and (slot.held_back or 0) > limits.slot_bytes:
            yield Problem(
                "warning", "slot",
                f"nobody reads {shown}, and it holds back {size(slot.held_back or 0)} of WAL: bring its reader back or "
                "drop it before the disk is full", node.name,
            )  # fmt: skip


def _of_nobody(topology: Topology, slot: SlotFact) -> bool:
    """A slot that Patroni made for a member: one that its configuration names is somebody else's."""
    unread = slot.physical and not slot.active and slot.name not in topology.kept_slots
    return unread and not _member(topology, slot.name)


def _member(topology: Topology, slot: str) -> bool:
    """Patroni calls a member's slot by the member's name, in small letters and with `_` for most other characters."""
    return any(_plain(node.name) == _plain(slot) for node in topology.nodes if node.engine is not None)


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name.lower())


def _configuration(topology: Topology, node: Node, sql: NodeSql) -> Iterator[Problem]:
    name = quote_part(node.name)
    if sql.pending_restart or (node.engine is not None and node.engine.pending_restart):
        words = named(sql.pending_restart) or f"parameters ({topology.engine} says so)"
        yield Problem("warning", "pending-restart", f"{name} needs a restart for {words} to take effect", node.name)
    for error in sql.file_errors:
        yield Problem(
            "warning", "file-error",
            f"a configuration file on {name} has an error, so that a reload takes over nothing of it: {said(error)}",
            node.name,
        )  # fmt: skip
