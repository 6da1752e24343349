"""What one look at a Patroni cluster found: its configuration, its members, and what these run with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pgvillage.core.guc import Guc
from pgvillage.core.live import Live
from pgvillage.core.topology import Node, Topology
from pgvillage.estate.manifest.common import text_of
from pgvillage.estate.patroni_parameters import needs_restart
from pgvillage.resources.patroni.config import at
from pgvillage.resources.patroni.members import PatroniState, parse_keys, parse_rest, topology_of
from pgvillage.resources.postgres.guc import canonical_value

_UP = ("running", "streaming", "in archive recovery")


@dataclass(frozen=True, slots=True)
class Seen:
    """`login` is the role that PgVillage itself logs in with, "" where that is not known; `notes` are of the reader."""

    state: PatroniState
    topology: Topology
    login: str = ""
    notes: tuple[str, ...] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        return self.state.config

    @property
    def gucs(self) -> Mapping[str, Guc]:
        """Kinds of parameters, by a node that told them."""
        return next((node.sql.gucs for node in self.topology.nodes if node.sql is not None and node.sql.gucs), {})

    @property
    def parameters(self) -> dict[str, str]:
        """Those of the configuration, as texts."""
        found = at(self.config, ("postgresql", "parameters"))
        named = found.items() if isinstance(found, Mapping) else ()
        return {str(name): text_of(value) for name, value in named if isinstance(value, str | int | float | bool)}

    def canonical(self, name: str, value: str) -> str:
        """Equal for equal values, where a node told what kind of parameter this is."""
        return canonical_value(self.gucs.get(name), value)

    def restarts(self, name: str) -> bool:
        return needs_restart(name, self.gucs.get(name))

    def running(self, node: Node) -> dict[str, str] | None:
        """Values in force of parameters that need a restart: by the node's own word, else by what Patroni says waits
        for a restart there. None for a node that is not up.
        """
        if node.sql is not None and node.sql.running:
            return {n: self.canonical(n, value) for n, value in node.sql.running.items() if self.restarts(n)}
        if node.engine is None or node.engine.state not in _UP:
            return None
        configured = {n: self.canonical(n, value) for n, value in self.parameters.items() if self.restarts(n)}
        before = {n: self.canonical(n, old) for n, (old, _) in self.state.pending(node.name).items() if old}
        return configured | {name: value for name, value in before.items() if self.restarts(name)}

    def nodes(self) -> Iterable[tuple[Node, dict[str, str]]]:
        """Those that are up, with their values in force."""
        for node in self.topology.nodes:
            values = self.running(node)
            if values is not None:
                yield node, values


def state_of(live: Live) -> PatroniState:
    """Of the keys in etcd, or of the REST API's answers. Raises nothing: what can't be read is told as such."""
    keys = {str(name): bytes(value) for name, value in live.rows.get("keys", ())}
    if keys:
        return parse_keys(keys)
    ((cluster, config),) = live.rows["rest"]
    return parse_rest(cluster, config)


def seen(live: Live) -> Seen:
    """With the nodes' own word where the look asked them."""
    state = state_of(live)
    asked = live.topology if live.topology is not None and not live.topology.engine_unread else None
    topology = asked or topology_of(live.target, state, datetime.now(UTC))
    login = next((str(user) for (user,) in live.rows.get("login", ())), "")
    return Seen(state, topology, login, tuple(str(text) for (text,) in live.rows.get("notes", ())))
