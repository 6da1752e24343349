"""One address that is to be adopted, with all that its edit is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Change
from pgvillage.core.state import State
from pgvillage.estate.loader import Manifests
from pgvillage.estate.located import Located
from pgvillage.estate.view import DeclaredDatabase
from pgvillage.report.words import show_name
from pgvillage.usecases.adopt_edits import Edit
from pgvillage.usecases.live_cluster import LiveCluster
from pgvillage.usecases.observe import Observation


class Refused(ValueError):
    """Why an address can't be adopted, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """`secrets` are names that the settings need, with what they hold; `note` says what the edit means."""

    edits: Sequence[Edit]
    secrets: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """`state` is what lives, or None for what is gone. `secrets` collects names that the settings need."""

    address: Address
    change: Change | None
    seen: Observation
    manifests: Manifests
    live: LiveCluster
    state: State | None
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def declared(self) -> bool:
        return self.address in self.seen.desired and self.seen.desired[self.address].declared

    @property
    def databases(self) -> dict[str, DeclaredDatabase]:
        return declared_databases(self.seen)

    def database(self, name: str) -> DeclaredDatabase:
        if name not in self.databases:
            address = Address(self.address.target, "database", (name,))
            raise Refused(f"no manifest declares database {show_name(name)}: adopt {address} first")
        return self.databases[name]

    def document(self, role: str) -> Located[Any]:
        """The manifest of a role."""
        for located in self.seen.context.view.role_documents:
            if located.document.role == role:
                return located
        if role in self.seen.context.view.people.by_role:
            raise Refused(f"{show_name(role)} comes from a directory: change it there")
        raise Refused(
            f"no manifest declares {show_name(role)}: adopt {Address(self.address.target, 'role', (role,))} first"
        )


def declared_databases(seen: Observation) -> dict[str, DeclaredDatabase]:
    """Without those that are only looked into: they stand at a cluster's whole spec."""
    cluster = seen.context.view.located
    return {d.name: d for d in seen.context.view.databases if d.located is not cluster or len(d.path) > 1}
