"""Events: the transitions that people watch."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Engine, func, insert, select, text

from pgvillage.clients.state.rows import as_record, as_row
from pgvillage.clients.state.tables import event
from pgvillage.core.history import Event

_IN_ORDER = 0x7067_7669_6C6C_6576  # the advisory lock of who writes an event


class Events:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, record: Event) -> None:
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # A watcher goes on behind the number it saw last: numbers must come to light in their order.
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _IN_ORDER})
            connection.execute(insert(event).values(as_row(record)))

    def after(self, last: int, target: str | Collection[str] | None = None, limit: int = 500) -> list[Event]:
        """Those behind number `last`, the oldest first."""
        found = select(event).where(event.c.id > last, *_of(target)).order_by(event.c.id).limit(limit)
        with self._engine.connect() as connection:
            return [as_record(Event, row) for row in connection.execute(found).mappings()]

    def newest(self, target: str | Collection[str] | None = None, limit: int = 100) -> list[Event]:
        """The newest first."""
        found = select(event).where(*_of(target)).order_by(event.c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [as_record(Event, row) for row in connection.execute(found).mappings()]

    def last(self) -> int:
        """The number of the newest, 0 when there is none."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.max(event.c.id))).scalar() or 0


def _of(target: str | Collection[str] | None) -> list[ColumnElement[bool]]:
    """One target, several, or all."""
    if target is None:
        return []
    return [event.c.target == target if isinstance(target, str) else event.c.target.in_(list(target))]
