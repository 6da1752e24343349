"""Putting a topology together: what the engine keeps, the hosts of the manifest, and what each node answered; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pgvillage.core.topology import Node, NodeSql, Topology


def with_hosts(topology: Topology, hosts: Iterable[str]) -> Topology:
    """The manifest's hosts (HOST:PORT) are nodes too, by their addresses, where the engine knows none at an address."""
    known = {node.address for node in topology.nodes} | {node.name for node in topology.nodes}
    more = tuple(Node(host, host) for host in dict.fromkeys(hosts) if host not in known)
    return replace(topology, nodes=(*topology.nodes, *more))


def with_answers(topology: Topology, answers: Mapping[str, NodeSql | str]) -> Topology:
    """Each node with its own word. One that the manifest and the engine call differently stays under the engine's."""
    nodes = [_answered(node, answers.get(node.name)) for node in topology.nodes]
    if topology.engine == "none" or topology.engine_unread:
        return replace(topology, nodes=tuple(nodes))
    of_engine = [node for node in nodes if node.engine is not None]
    seen = {_identity(node.sql) for node in of_engine if node.sql is not None}
    rest = [node for node in nodes if node.engine is None]
    strange = [node for node in rest if node.sql is not None and _identity(node.sql) not in seen]
    # As many hosts as the engine has silent nodes are these nodes by another name, as far as anybody can tell.
    silent = [node for node in rest if node.sql is None][sum(node.sql is None for node in of_engine) :]
    return replace(topology, nodes=(*of_engine, *strange, *silent))


def _identity(sql: NodeSql) -> tuple[object, ...]:
    """No two postmasters of a cluster start in the same microsecond."""
    return (sql.system_identifier, sql.started_at)


def _answered(node: Node, answer: NodeSql | str | None) -> Node:
    if isinstance(answer, NodeSql):
        return replace(node, sql=answer, error="")
    return replace(node, error=answer or node.error or "its address is not known")
