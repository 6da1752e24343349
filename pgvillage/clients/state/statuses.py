"""Where every target stands."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine, RowMapping, delete, select

from pgvillage.clients.state.rows import as_row, upsert
from pgvillage.clients.state.tables import status, suspension
from pgvillage.core.status import Health, Ready, Suspension, Sync, TargetStatus

_JOINED = select(
    status, suspension.c.by, suspension.c.reason, suspension.c.since, suspension.c.until
).join_from(status, suspension, status.c.target == suspension.c.target, isouter=True)  # fmt: skip


class Statuses:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, *found: TargetStatus) -> None:
        """One or many, in one transaction."""
        with self._engine.begin() as connection:
            upsert(connection, status, [as_row(each, "suspension") for each in found])

    def get(self, target: str) -> TargetStatus | None:
        with self._engine.connect() as connection:
            row = connection.execute(_JOINED.where(status.c.target == target)).mappings().first()
        return _status(row) if row is not None else None

    def all(self) -> list[TargetStatus]:
        """In the order of their names."""
        with self._engine.connect() as connection:
            return [_status(row) for row in connection.execute(_JOINED.order_by(status.c.target)).mappings()]

    def keep(self, targets: Collection[str]) -> None:
        """Forget every other target: it is no longer in the estate."""
        with self._engine.begin() as connection:
            connection.execute(delete(status).where(status.c.target.not_in(list(targets))))


def _status(row: RowMapping) -> TargetStatus:
    values = dict(row)
    by, reason, since, until = (values.pop(name) for name in ("by", "reason", "since", "until"))
    values |= {
        "ready": Ready(values["ready"]),
        "sync": Sync(values["sync"]),
        "health": Health(values["health"]),
        "reasons": tuple(values["reasons"]),
        "blocked": tuple(values["blocked"]),
    }
    return TargetStatus(**values, suspension=Suspension(by, reason, since, until) if since is not None else None)
