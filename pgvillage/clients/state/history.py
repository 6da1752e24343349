"""Plans, runs and drifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, and_, bindparam, insert, select, update

from pgvillage.clients.state.rows import as_record, as_row, insert_new
from pgvillage.clients.state.tables import drift, plan, run
from pgvillage.core.history import DriftRecord, PlanRecord, RunRecord

_PAGE = 100


class History:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put_plan(self, record: PlanRecord) -> None:
        """One a digest, made when it was first seen; what is held is no part of a digest, and the newest is kept."""
        row = as_row(record)
        same = and_(plan.c.target == record.target, plan.c.digest == record.digest)
        with self._engine.begin() as connection:
            known = connection.execute(select(plan.c.document).where(same)).scalar()
            if known is None:
                insert_new(connection, plan, row)
            elif _said(known) != _said(row["document"]):
                fresh = {name: row[name] for name in ("document", "revision", "subject")}
                connection.execute(update(plan).where(same).values(fresh))

    def plan(self, target: str, digest: str) -> PlanRecord | None:
        """`digest` may be its beginning."""
        found = select(plan).where(plan.c.target == target, plan.c.digest.startswith(digest, autoescape=True))
        with self._engine.connect() as connection:
            row = connection.execute(found.order_by(plan.c.made_at.desc()).limit(1)).mappings().first()
        return as_record(PlanRecord, row) if row is not None else None

    def plans(self, target: str | None = None, limit: int = _PAGE) -> list[PlanRecord]:
        """The newest first."""
        found = select(plan).order_by(plan.c.made_at.desc()).limit(limit)
        found = found if target is None else found.where(plan.c.target == target)
        with self._engine.connect() as connection:
            return [as_record(PlanRecord, row) for row in connection.execute(found).mappings()]

    def begin_run(self, record: RunRecord) -> None:
        with self._engine.begin() as connection:
            connection.execute(insert(run).values(as_row(record)))

    def end_run(self, record: RunRecord) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(run).where(run.c.id == record.id).values(as_row(record)))

    def run(self, identity: str) -> RunRecord | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(run).where(run.c.id == identity)).mappings().first()
        return as_record(RunRecord, row) if row is not None else None

    def runs(self, target: str | None = None, limit: int = _PAGE) -> list[RunRecord]:
        """The newest first."""
        found = select(run).order_by(run.c.started_at.desc()).limit(limit)
        found = found if target is None else found.where(run.c.target == target)
        with self._engine.connect() as connection:
            return [as_record(RunRecord, row) for row in connection.execute(found).mappings()]

    def seen_drifts(self, target: str, seen: Sequence[DriftRecord], at: datetime, ended: str = "gone") -> None:
        """All the drift that a full look of a target found: what is new is opened, what is missing ends as `ended`."""
        with self._engine.begin() as connection:
            found = select(drift.c.id, drift.c.address, drift.c.fingerprint)
            rows = connection.execute(found.where(drift.c.target == target, drift.c.ended_at.is_(None)))
            opened = {(row.address, row.fingerprint): row.id for row in rows}
            known, new = [], []
            for record in seen:
                row = opened.pop((record.address, record.fingerprint), None)
                if row is None:
                    new.append(as_row(record))
                else:
                    known.append({"row": row})
            if new:
                connection.execute(insert(drift), new)
            if known:
                connection.execute(update(drift).where(drift.c.id == bindparam("row")).values(last_seen=at), known)
            if opened:
                gone = update(drift).where(drift.c.id.in_(opened.values()))
                connection.execute(gone.values(ended_at=at, ended=ended))

    def drifts(self, target: str | None = None, *, only_open: bool = True, limit: int = 1_000) -> list[DriftRecord]:
        """The newest first."""
        found = select(drift).order_by(drift.c.first_seen.desc(), drift.c.id.desc()).limit(limit)
        found = found if target is None else found.where(drift.c.target == target)
        found = found.where(drift.c.ended_at.is_(None)) if only_open else found
        with self._engine.connect() as connection:
            return [as_record(DriftRecord, row) for row in connection.execute(found).mappings()]


def _said(document: Mapping[str, Any]) -> object:
    """What people read of a plan, without the times in it."""
    return [target.get("changes") for target in document.get("targets", ())], document.get("gates")
