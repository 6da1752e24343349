"""One owner an object: nothing is declared twice, no two clusters are one, no role is a member of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from pgvillage.core.errors import Diagnostic, Position
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.logical_references import logical_lists, two_owners
from pgvillage.estate.manifest import Group
from pgvillage.estate.manifest.common import MembershipOptions
from pgvillage.estate.object_references import cluster_lists, listed_twice, option_faults, twice
from pgvillage.estate.scopes import DatabaseClaim, Scope, Scopes
from pgvillage.estate.source_text import DocPath

Edge = tuple[str, str]
Edges = dict[Edge, tuple[Located[Any], DocPath]]


def check_ownership(manifests: Manifests, scopes: Scopes) -> list[Diagnostic]:
    """Every object that is declared twice, and every circle of memberships."""
    faults = scopes.collisions
    faults.extend(_shared_connections(manifests))
    faults.extend(_shared_engines(manifests))
    for database in scopes.databases:
        faults.extend(_twice_within(database))
    for cluster in manifests.clusters.values():
        for path, what, names in cluster_lists(cluster):
            faults.extend(twice(cluster, ("spec", *path), what, names))
    faults.extend(_membership_circles(scopes))
    return faults


def _twice_within(database: DatabaseClaim) -> Iterator[Diagnostic]:
    extensions = [e if isinstance(e, str) else e.name for e in database.spec.extensions]
    lists: list[tuple[DocPath, str, list[str]]] = [
        (("schemas",), "schema", [schema.name for schema in database.spec.schemas]),
        (("extensions",), "extension", extensions),
        *listed_twice(database),
        *logical_lists(database),
    ]
    for path, what, names in lists:
        yield from twice(database.claim.located, (*database.path, *path), what, names)
    yield from option_faults(database)
    yield from two_owners(database)


def _shared_connections(manifests: Manifests) -> Iterator[Diagnostic]:
    seen: dict[str, tuple[str, Position]] = {}
    for name, located in manifests.clusters.items():
        connection = located.document.spec.connection
        for index, host in enumerate(connection.hosts if connection else ()):
            path: DocPath = ("spec", "connection", "hosts", index)
            other, position = seen.setdefault(with_port(host), (name, located.at(*path)))
            if other != name:
                message = f"{with_port(host)} is a host of cluster {other} already, at {position}"
                yield located.fault(message, *path, hint="two clusters on one server would undo each other's changes")


def _shared_engines(manifests: Manifests) -> Iterator[Diagnostic]:
    """Without hosts in the manifests, two clusters are one when an engine keeps them under one name."""
    seen: dict[tuple[str, str, str], tuple[str, Position]] = {}
    for name, located in manifests.clusters.items():
        ha = located.document.spec.ha
        if ha.etcd is None:
            continue
        scope = ha.cluster or name
        other, position = seen.setdefault((ha.engine, ha.etcd, scope), (name, located.at("spec", "ha")))
        if other != name:
            message = f"{scope} in etcd {ha.etcd} is {ha.engine}'s cluster {other} already, at {position}"
            yield located.fault(
                message, "spec", "ha", hint="two clusters on one server would undo each other's changes"
            )


def with_port(host: str) -> str:
    """HOST:PORT in lower case, with PostgreSQL's port where none is written."""
    end = host.rsplit("]", 1)[-1]
    return host.lower() if ":" in end else f"{host.lower()}:5432"


def _membership_circles(scopes: Scopes) -> Iterator[Diagnostic]:
    reported: set[frozenset[Position]] = set()
    for scope in scopes.of.values():
        edges = _memberships(scope)
        for circle in find_circles(edges):
            places = [edges[edge] for edge in circle]
            positions = [located.at(*path) for located, path in places]
            if frozenset(positions) in reported:
                continue
            reported.add(frozenset(positions))
            located, path = places[0]
            words = " in ".join([circle[0][0], *(group for _, group in circle)])
            rest = "".join(f"; see {position}" for position in positions[1:])
            yield located.fault(f"roles are members of each other: {words}{rest}", *path)


def _memberships(scope: Scope) -> Edges:
    """(member, group) -> where that is written, for the declared roles that stay."""
    edges: Edges = {}
    for name, claim in scope.roles.items():
        if claim.absent:
            continue
        spec = claim.located.document.spec
        for index, membership in enumerate(spec.member_of):
            parent = membership.role if isinstance(membership, MembershipOptions) else membership
            edges.setdefault((name, parent), (claim.located, ("spec", "memberOf", index)))
        if isinstance(claim.located.document, Group) and spec.members is not None:
            for index, member in enumerate(spec.members.roles or ()):
                edges.setdefault((member, name), (claim.located, ("spec", "members", "roles", index)))
    return edges


def find_circles(edges: Iterable[Edge], most: int = 20) -> Iterator[list[Edge]]:
    """Circles in a graph, each as its edges in order; no edge is in two of them."""
    graph: dict[str, set[str]] = {}
    for start, end in edges:
        graph.setdefault(start, set()).add(end)
    for _ in range(most):
        circle = _one_circle(graph)
        if circle is None:
            return
        for start, end in circle:
            graph[start].discard(end)
        yield circle


def _one_circle(graph: Mapping[str, set[str]]) -> list[Edge] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        nodes: list[str] = error.args[1][::-1]  # each depends on the next one
        circle = list(pairwise(nodes))
        at = circle.index(min(circle))
        return circle[at:] + circle[:at]
    return None
