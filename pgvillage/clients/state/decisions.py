"""What people decided and asked: approvals, suspensions, requests, and the audit of it all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Engine, delete, insert, select

from pgvillage.clients.state.rows import as_record, as_row, upsert
from pgvillage.clients.state.tables import approval, audit, request, suspension
from pgvillage.core.history import Approval, AuditEntry, Request
from pgvillage.core.status import Suspension


class Decisions:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def approve(self, record: Approval) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(approval).values(as_row(record)))

    def approvals(self, target: str, now: datetime) -> list[Approval]:
        """Those that hold at `now`."""
        found = select(approval).where(approval.c.target == target, approval.c.until > now)
        with self._engine.connect() as connection:
            return [as_record(Approval, row) for row in connection.execute(found).mappings()]

    def suspend(self, target: str, found: Suspension) -> None:
        with self._engine.begin() as connection:
            upsert(connection, suspension, [{"target": target, **as_row(found)}])

    def resume(self, target: str) -> bool:
        """False when it was not suspended."""
        with self._engine.begin() as connection:
            return bool(connection.execute(delete(suspension).where(suspension.c.target == target)).rowcount)

    def suspensions(self) -> dict[str, Suspension]:
        with self._engine.connect() as connection:
            rows = connection.execute(select(suspension)).mappings()
            return {row["target"]: as_record(Suspension, row) for row in rows}

    def ask(self, record: Request) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(request).values(as_row(record)))

    def take_requests(self, targets: Collection[str]) -> list[Request]:
        """Those about these targets, which are then no longer there; the oldest first."""
        with self._engine.begin() as connection:
            found = delete(request).where(request.c.target.in_(list(targets))).returning(request)
            taken = [as_record(Request, row) for row in connection.execute(found).mappings()]
        return sorted(taken, key=lambda each: each.id)

    def note(self, entry: AuditEntry) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(audit).values(as_row(entry)))

    def audits(self, limit: int = 100) -> list[AuditEntry]:
        """The newest first."""
        found = select(audit).order_by(audit.c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [as_record(AuditEntry, row) for row in connection.execute(found).mappings()]
