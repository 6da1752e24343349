"""What kinds of objects have in common that a Database lists by name: publications, foreign servers, schemas …"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic.alias_generators import to_camel

from pgvillage.core.address import Address
from pgvillage.core.change import Resource
from pgvillage.core.plan import Unread
from pgvillage.core.state import State
from pgvillage.engine.kind import Kind
from pgvillage.estate.view import ClusterView


class DatabaseObject(Kind):
    """Addresses are DATABASE.NAME. `listed` is the field of a Database's spec that declares them."""

    listed: ClassVar[str]

    @abstractmethod
    def wish(self, spec: Any) -> State:
        """What one entry of the list asks for."""

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for database in view.databases:
            for index, spec in enumerate(self.specs(database.spec) if database.spec.ensure == "present" else ()):
                wish = self.wish(spec) if spec.ensure == "present" else None
                address = Address(view.name, self.name, (database.name, spec.name))
                yield Resource(address, wish, database.source(to_camel(self.listed), index), wish=wish)

    def specs(self, database: Any) -> list[Any]:
        """The list itself, of a Database's spec."""
        found: list[Any] = getattr(database, self.listed)
        return found

    def is_declared(self, view: ClusterView) -> bool:
        """Is there anything to ask a server for?"""
        return view.survey or any(self.specs(database.spec) for database in view.databases)

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        yield Unread(self.name, (database,), reason)
