"""A switchover or failover for programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pgvillage.core.outage import Outage
from pgvillage.core.topology import Node, Topology
from pgvillage.topology.handover import Handover
from pgvillage.topology.readiness import Readiness

FORMAT = 1


def handover_document(
    cluster: str, before: Topology, found: Readiness, done: Handover | None = None, error: str = ""
) -> dict[str, Any]:
    """`done` is whether a verified primary took over; `error` says in words why not, or which standby is missing."""
    return {
        "format_version": FORMAT,
        "cluster": cluster,
        "verb": str(found.wish.verb),
        "done": done is not None,
        "from": found.leader or None,
        "to": (done.leader if done else found.candidate) or None,
        "digest": found.digest,
        "obstacles": [{"code": o.code, "text": o.text, "node": o.node or None} for o in found.obstacles],
        "risks": list(found.risks),
        "may_lose_data": found.may_lose,
        "lacking_bytes": found.loses,
        "seconds": round(done.seconds, 3) if done else None,
        "seconds_until_all_follow": round(done.whole, 3) if done and not done.missing else None,
        "missing": list(done.missing) if done else [],
        "outages": [_outage(each) for each in done.outages] if done else [],
        "before": [_node(node, before) for node in before.nodes],
        "after": [_node(node, done.after) for node in done.after.nodes] if done else None,
        "error": error or None,
    }


def _node(node: Node, topology: Topology) -> dict[str, Any]:
    primary = topology.primary
    return {
        "name": node.name,
        "address": node.address,
        "role": node.role,
        "timeline": node.sql.timeline if node.sql else None,
        "lag_bytes": node.lag(primary) if primary is not None and node is not primary else None,
        "streaming": node.sql.streaming if node.sql and node.sql.recovering else None,
        "synchronous": node.engine.synchronous if node.engine else None,
        "error": node.error or None,
    }


def _outage(found: Outage) -> dict[str, Any]:
    def said(at: datetime | None) -> str | None:
        return at.isoformat() if at else None

    measured = not found.problem
    return {
        "way": found.way,
        "seconds": round(found.longest, 3) if measured else None,
        "writes": found.writes,
        "failures": found.failures,
        "first_failure": said(found.first_failure),
        "first_success": said(found.first_success),
        "problem": found.problem or None,
    }
