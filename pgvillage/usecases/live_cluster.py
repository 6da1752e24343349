"""What lives on a cluster, by kind, as manifests of it are written from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pgvillage.core.guc import Guc
from pgvillage.core.plan import Snapshot
from pgvillage.core.state import State
from pgvillage.resources.postgres.database import DatabaseState
from pgvillage.resources.postgres.extension import ExtensionState
from pgvillage.resources.postgres.ownership import Owners
from pgvillage.resources.postgres.privilege_inventory import Inventory
from pgvillage.resources.postgres.role import RoleState

Document = dict[str, Any]
States = Mapping[tuple[str, ...], State]
S = TypeVar("S", bound=State)
OURS = "pgvillage"  # the ledger's schema
TEMPLATES = ("template0", "template1")
_BROKEN = -2  # the connection limit of what an interrupted DROP DATABASE left
# PostgreSQL's words for what an extension brings along, and the kinds that would declare it.
_KINDS_OF_MEMBERS = {
    "schema": ("schema",), "server": ("server",), "event trigger": ("event-trigger",),
    "table": ("policy", "row-security"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outside:
    """What stays without a manifest, and why: roles, databases that nobody could look into, objects by kind and name.

    An empty reason is known to everybody.
    """

    roles: dict[str, str] = field(default_factory=dict)
    databases: dict[str, str] = field(default_factory=dict)
    objects: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.roles) + len(self.databases) + len(self.objects)


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """What there is, by kind. `left` collects what no manifest says, and why."""

    name: str
    connection: Document
    by_kind: Mapping[str, States]
    inventory: Inventory
    gucs: Mapping[str, Guc]
    owners: Owners
    replaced: frozenset[tuple[str, str, str]]
    major: int
    outside: Outside
    left: dict[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> dict[str, RoleState]:
        return {n[0]: s for n, s in self.of("role", RoleState) if n[0] not in self.outside.roles}

    @property
    def databases(self) -> dict[str, DatabaseState]:
        ordinary = {n[0]: s for n, s in self.of("database", DatabaseState) if is_ordinary(n[0], s)}
        return {name: state for name, state in ordinary.items() if name not in self.outside.databases}

    def of(self, kind: str, state: type[S], *place: str) -> list[tuple[tuple[str, ...], S]]:
        """What there is of a kind below a place, by name; without what is left out."""
        found = self.by_kind.get(kind, {}).items()
        return [
            (name, each)
            for name, each in sorted(found, key=lambda pair: pair[0])
            if isinstance(each, state) and name[: len(place)] == place and (kind, name) not in self.outside.objects
        ]


def live_cluster(name: str, connection: Document, snapshot: Snapshot, major: int, outside: Outside) -> LiveCluster:
    by_kind: dict[str, dict[tuple[str, ...], State]] = defaultdict(dict)
    for address, state in snapshot.live.items():
        by_kind[address.kind][address.name] = state
    inventory, gucs = snapshot.inventory["privilege"], snapshot.inventory["parameter"]
    owners, replaced = snapshot.inventory["ownership"], snapshot.inventory["default-privilege"]
    assert isinstance(inventory, Inventory)
    assert isinstance(gucs, dict)
    assert isinstance(owners, Owners)
    assert isinstance(replaced, frozenset)
    for kind, member in _members(by_kind["extension"]):
        by_kind[kind] = {n: s for n, s in by_kind[kind].items() if n[: len(member)] != member}
    return LiveCluster(name, connection, by_kind, inventory, gucs, owners, replaced, major, outside)


def is_ordinary(name: str, state: object) -> bool:
    """Not PostgreSQL's own templates, and not the remains of a DROP DATABASE that was interrupted."""
    return isinstance(state, DatabaseState) and name not in TEMPLATES and state.connection_limit != _BROKEN


def _members(extensions: States) -> Iterable[tuple[str, tuple[str, ...]]]:
    for (database, _), state in extensions.items():
        for word, *names in state.members if isinstance(state, ExtensionState) else ():
            for kind in _KINDS_OF_MEMBERS.get(word, ()):
                yield kind, (database, *names)
