"""Runs of jobs as people look at them: what ran, how it ended, what its steps said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pgvillage.clients.job_store.record import record_of, values_of
from pgvillage.clients.state.rows import as_row, upsert
from pgvillage.clients.state.tables import job_output, job_run, job_step
from pgvillage.core.job_run import Outcome, RunRecord, RunStatus, StepRecord

_PAGE = 100
_ROWS = 100  # in one statement
_OUTPUT = 1 << 20  # characters of a step's live output that are kept


class JobRuns:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note_run(self, record: RunRecord) -> None:
        """What is known of it now; nothing, where somebody with a greater token has written already."""
        row = row_of(record)
        make = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        made = make(job_run).values(row)
        given = {name: made.excluded[name] for name in row if name not in ("id", *_KEPT)}
        fresh = made.on_conflict_do_update(
            index_elements=["id"], set_=given, where=job_run.c.token <= made.excluded.token
        )
        with self._engine.begin() as connection:
            connection.execute(fresh)

    def note_step(self, run: str, step: StepRecord) -> None:
        row = as_row(step) | {"run": run, "outcome": step.outcome.value, "values": [list(v) for v in step.values]}
        with self._engine.begin() as connection:
            upsert(connection, job_step, [row])

    def add_output(self, run: str, step: str, number: int, text: str) -> None:
        """Nothing more once a step has said too much: its record holds what was kept."""
        of_step = and_(job_output.c.run == run, job_output.c.step == step, job_output.c.number == number)
        with self._engine.begin() as connection:
            said = connection.execute(select(func.sum(func.length(job_output.c.text))).where(of_step)).scalar() or 0
            if said < _OUTPUT:
                clean = text[: _OUTPUT - said].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
                connection.execute(insert(job_output).values(run=run, step=step, number=number, text=clean))

    def runs(
        self,
        job: str | None = None,
        cluster: str | None = None,
        status: RunStatus | None = None,
        since: datetime | None = None,
        limit: int = _PAGE,
    ) -> list[RunRecord]:
        """The newest scheduled first."""
        wanted: list[ColumnElement[bool]] = []
        for column, value in (
            (job_run.c.job, job), (job_run.c.cluster, cluster), (job_run.c.status, status.value if status else None),
        ):  # fmt: skip
            if value is not None:
                wanted.append(column == value)
        if since is not None:
            wanted.append(job_run.c.scheduled >= since)
        found = select(job_run).where(*wanted).order_by(job_run.c.scheduled.desc(), job_run.c.id).limit(limit)
        with self._engine.connect() as connection:
            return [record_of(dict(row)) for row in connection.execute(found).mappings()]

    def run(self, run: str) -> RunRecord | None:
        """By RunKey.id, or by its beginning where that is one run's alone."""
        found = select(job_run).where(job_run.c.id.startswith(run, autoescape=True)).limit(2)
        with self._engine.connect() as connection:
            rows = connection.execute(found).mappings().all()
        return record_of(dict(rows[0])) if len(rows) == 1 else None

    def last(self, status: RunStatus) -> list[tuple[str, str, datetime]]:
        """Job, cluster and when its newest run with this status ended."""
        found = (
            select(job_run.c.job, job_run.c.cluster, func.max(job_run.c.ended))
            .where(job_run.c.status == status.value, job_run.c.ended.is_not(None))
            .group_by(job_run.c.job, job_run.c.cluster)
        )
        with self._engine.connect() as connection:
            return [(job, cluster, ended) for job, cluster, ended in connection.execute(found)]

    def steps(self, run: str) -> list[StepRecord]:
        """In the order in which they began; those that never did come last."""
        found = select(job_step).where(job_step.c.run == run)
        order = found.order_by(job_step.c.begun.is_(None), job_step.c.begun, job_step.c.step, job_step.c.number)
        with self._engine.connect() as connection:
            return [_step(row) for row in connection.execute(order).mappings()]

    def output_after(self, run: str, number: int) -> list[tuple[int, str, int, str]]:
        """Pieces after the one with this number, as they came: their number, step, instance and text."""
        found = select(job_output.c.id, job_output.c.step, job_output.c.number, job_output.c.text)
        found = found.where(job_output.c.run == run, job_output.c.id > number).order_by(job_output.c.id).limit(1000)
        with self._engine.connect() as connection:
            return [(at, step, each, text) for at, step, each, text in connection.execute(found)]

    def forget(self, run: Sequence[str]) -> None:
        """Nothing of a run's live output is needed once its steps are noted and nobody follows it."""
        with self._engine.begin() as connection:
            connection.execute(job_output.delete().where(job_output.c.run.in_(run)))


# Claims write these; who tells what a run did does not know them.
_KEPT = ("cancel", "held_until", "noted")


def row_of(record: RunRecord) -> dict[str, Any]:
    clean = as_row(replace(record))  # texts that PostgreSQL takes
    found = values_of(record) | {name: clean[name] for name in ("owner", "why", "cancel", "by", "revision")}
    return found | {"id": record.key.id}


def changes_of(record: RunRecord) -> dict[str, Any]:
    """What a claim writes of it."""
    return {name: value for name, value in row_of(record).items() if name not in ("id", *_KEPT)}


def add_new(engine: Engine, records: Sequence[RunRecord]) -> list[RunRecord]:
    """In one transaction, and a statement for many; those that were not there."""
    make = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    new: set[str] = set()
    with engine.begin() as connection:
        for start in range(0, len(records), _ROWS):
            rows = [row_of(record) | {"held_until": 0.0} for record in records[start : start + _ROWS]]
            made = make(job_run).values(rows).on_conflict_do_nothing().returning(job_run.c.id)
            new.update(connection.execute(made).scalars())
    return [record for record in records if record.key.id in new]


def set_values(run: str, record: RunRecord, token: int) -> Any:
    """The statement that writes a record as long as no other token is there."""
    return update(job_run).where(job_run.c.id == run, job_run.c.token == token).values(changes_of(record))


def _step(row: Mapping[Any, Any]) -> StepRecord:
    found = {f.name: row[f.name] for f in fields(StepRecord)}
    return StepRecord(
        **(found | {"outcome": Outcome(row["outcome"]), "values": tuple((n, v) for n, v in row["values"])})
    )
