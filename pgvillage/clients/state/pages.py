"""History a page at a time: every page is one query that begins where the page before ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Engine, Select, Table, and_, literal, or_, select

from pgvillage.clients.state.rows import as_record
from pgvillage.clients.state.tables import audit, drift, plan, run
from pgvillage.core.history import AuditEntry, DriftRecord, PlanRecord, RunRecord

Record = TypeVar("Record")
Mark = tuple[datetime | str | int, ...]


@dataclass(frozen=True, slots=True)
class Page(Generic[Record]):
    """The newest first; `end` is where the next page begins, None when this is the last."""

    records: Sequence[Record]
    end: Mark | None = field(default=None)


class Pages:
    """Plans and runs come without their documents, which are long: those are asked for one by one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def plans(self, targets: Sequence[str] | None, limit: int, after: Mark | None = None) -> Page[PlanRecord]:
        return self._page(PlanRecord, plan, ("made_at", "target", "digest"), _of(plan, targets), (limit, after))

    def runs(self, targets: Sequence[str] | None, limit: int, after: Mark | None = None) -> Page[RunRecord]:
        return self._page(RunRecord, run, ("started_at", "id"), _of(run, targets), (limit, after))

    def drifts(
        self, targets: Sequence[str] | None, limit: int, after: Mark | None = None, *, only_open: bool = True
    ) -> Page[DriftRecord]:
        where = [*_of(drift, targets), *([drift.c.ended_at.is_(None)] if only_open else [])]
        return self._page(DriftRecord, drift, ("first_seen", "id"), where, (limit, after))

    def audit(self, limit: int, after: Mark | None = None) -> Page[AuditEntry]:
        return self._page(AuditEntry, audit, ("id",), [], (limit, after))

    def _page(
        self,
        kind: type[Record],
        table: Table,
        by: Sequence[str],
        where: Sequence[ColumnElement[bool]],
        place: tuple[int, Mark | None],
    ) -> Page[Record]:
        limit, after = place
        order = [table.c[name] for name in by]
        found = _selected(table).where(*where).order_by(*(column.desc() for column in order)).limit(limit + 1)
        if after is not None:
            found = found.where(_behind(order, after))
        with self._engine.connect() as connection:
            rows = connection.execute(found).mappings().all()
        end = tuple(rows[limit - 1][name] for name in by) if len(rows) > limit else None
        lacking: dict[str, Any] = {"document": {}} if table in (plan, run) else {}
        return Page([as_record(kind, {**lacking, **row}) for row in rows[:limit]], end)


def _selected(table: Table) -> Select[Any]:
    return select(*(c for c in table.c if c.name != "document")) if table in (plan, run) else select(table)


def _of(table: Table, targets: Sequence[str] | None) -> list[ColumnElement[bool]]:
    if targets is None:
        return []
    return [table.c.target == targets[0] if len(targets) == 1 else table.c.target.in_(list(targets))]


def _behind(order: Sequence[Any], after: Mark) -> ColumnElement[bool]:
    """In descending order; the first column alone is what the index is entered by."""
    steps = [
        and_(*(column == value for column, value in zip(order[:n], after[:n], strict=True)), order[n] < after[n])
        for n in range(len(order))
    ]
    return and_(order[0] <= literal(after[0], order[0].type), or_(*steps))
