"""Claims of runs in the state database: rows with an end by the database's clock, and tokens that only grow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, delete, literal_column, select, update

from pgvillage.clients.etcd.tenure import running_clock
from pgvillage.clients.job_store.held import HeldRun
from pgvillage.clients.job_store.record import record_of
from pgvillage.clients.state.job_runs import add_new, set_values
from pgvillage.clients.state.rows import insert_new
from pgvillage.clients.state.tables import job_cursor, job_run, job_step
from pgvillage.core.errors import StateError
from pgvillage.core.job_run import OpenRun, RunRecord, RunStatus, RunTaken
from pgvillage.core.run_key import RunKey

log = structlog.get_logger("pgvillage.jobs")

_OPEN = (RunStatus.DUE.value, RunStatus.RUNNING.value)
_MARGIN = 0.1  # two clocks run differently fast: by ours a claim ends first
_AT_ONCE = 500  # names in one question


class StateRunStore:
    """See running.contract.RunStore. `seconds`: how long a claim outlives whoever held it."""

    def __init__(self, engine: Engine, seconds: float = 15) -> None:
        self._engine, self._seconds = engine, seconds

    async def cursor(self, job: str, cluster: str, now: datetime) -> datetime:
        return await asyncio.to_thread(self._cursor, job, cluster, now)

    def _cursor(self, job: str, cluster: str, now: datetime) -> datetime:
        mine = (job_cursor.c.job == job, job_cursor.c.cluster == cluster)
        with self._engine.begin() as connection:
            insert_new(connection, job_cursor, {"job": job, "cluster": cluster, "until": now})
            found: datetime = connection.execute(select(job_cursor.c.until).where(*mine)).scalar_one()
        return found

    async def take_up(self, job: str, cluster: str, until: datetime, records: Sequence[RunRecord]) -> list[RunRecord]:
        return await asyncio.to_thread(self._take_up, job, cluster, until, records)

    def _take_up(self, job: str, cluster: str, until: datetime, records: Sequence[RunRecord]) -> list[RunRecord]:
        mine = (job_cursor.c.job == job, job_cursor.c.cluster == cluster)
        new = add_new(self._engine, records)
        with self._engine.begin() as connection:
            if not insert_new(connection, job_cursor, {"job": job, "cluster": cluster, "until": until}):
                connection.execute(update(job_cursor).where(*mine, job_cursor.c.until < until).values(until=until))
        return new

    async def open(self, clusters: Collection[str] | None = None) -> list[OpenRun]:
        return await asyncio.to_thread(self._open, clusters)

    def _open(self, clusters: Collection[str] | None) -> list[OpenRun]:
        asked = select(job_run, (job_run.c.held_until > self._now).label("held")).where(job_run.c.status.in_(_OPEN))
        if clusters is not None and len(clusters) <= _AT_ONCE:
            asked = asked.where(job_run.c.cluster.in_(clusters))
        with self._engine.connect() as connection:
            rows = connection.execute(asked).mappings().all()
        return [_open_run(row) for row in rows if clusters is None or row["cluster"] in clusters]

    async def find(self, run: str) -> OpenRun | None:
        return await asyncio.to_thread(self._find, run)

    def _find(self, run: str) -> OpenRun | None:
        asked = select(job_run, (job_run.c.held_until > self._now).label("held")).where(job_run.c.id == run)
        with self._engine.connect() as connection:
            row = connection.execute(asked).mappings().first()
        return _open_run(row) if row is not None else None

    @asynccontextmanager
    async def claim(self, key: RunKey, owner: str, *, again: bool = False) -> AsyncIterator[HeldRun]:
        begun = running_clock()
        found = await asyncio.to_thread(self._claim, key, owner, again)
        record = replace(found, token=found.token + 1, owner=owner)
        held = HeldRun(
            record,
            found.status,
            write=lambda fresh: asyncio.to_thread(self._write, fresh),
            close=lambda fresh: asyncio.to_thread(self._write, fresh, 0.0),
        )
        if found.cancel:
            held.cancelled.set()
        beat = asyncio.create_task(self._keep(held, begun))
        try:
            yield held
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat
            if not held.lost.is_set():
                with suppress(StateError):  # it ends by itself
                    await asyncio.shield(asyncio.to_thread(self._give_up, held.record))

    def _claim(self, key: RunKey, owner: str, again: bool) -> RunRecord:
        with self._engine.begin() as connection:
            asked = select(job_run, (job_run.c.held_until > self._now).label("held")).where(job_run.c.id == key.id)
            row = connection.execute(asked).mappings().first()
            if row is None:
                raise RunTaken(f"run {key.id} of job {key.job} is not noted", None)
            found = record_of(dict(row))
            if row["held"]:
                raise RunTaken(f"{found.owner} runs it", found)
            if found.status.ended and not again:
                raise RunTaken(f"it has {found.status.value} already", found)
            held = {"token": found.token + 1, "owner": owner, "held_until": self._now + self._seconds}
            if again and found.status.ended:
                held["cancel"] = ""
            as_seen = (job_run.c.id == key.id, job_run.c.token == found.token, job_run.c.held_until <= self._now)
            if not _changed(connection, update(job_run).where(*as_seen).values(held)):
                raise RunTaken("somebody else took it at this moment", found)
        return replace(found, cancel="") if found.status.ended else found

    def _write(self, record: RunRecord, held_until: float | None = None) -> bool:
        statement = set_values(record.key.id, record, record.token)
        with self._engine.begin() as connection:
            if held_until is not None:
                statement = statement.values(held_until=held_until)
            return _changed(connection, statement)

    def _give_up(self, record: RunRecord) -> None:
        ours = (job_run.c.id == record.key.id, job_run.c.token == record.token)
        with self._engine.begin() as connection:
            connection.execute(update(job_run).where(*ours).values(held_until=0.0))

    async def _keep(self, held: HeldRun, renewed: float) -> None:
        """Until cancelled, or lost: also by our own clock, which goes on while the process or the machine sleeps."""
        while True:
            await asyncio.sleep(self._seconds / 5)
            sent = running_clock()
            if sent - renewed >= self._seconds * (1 - _MARGIN):
                break
            try:
                cancel = await asyncio.to_thread(self._renew, held.record)
            except StateError as error:
                log.warning("a claim of a run could not be renewed", run=held.record.key.id, error=str(error))
                continue
            if cancel is None:
                break
            renewed = sent
            if cancel:
                held.record = replace(held.record, cancel=cancel)
                held.cancelled.set()
        held.lost.set()

    def _renew(self, record: RunRecord) -> str | None:
        """Who asked that it be cancelled, "" for nobody; None when it is ours no more."""
        ours = (job_run.c.id == record.key.id, job_run.c.token == record.token)
        with self._engine.begin() as connection:
            statement = update(job_run).where(*ours).values(held_until=self._now + self._seconds)
            if not _changed(connection, statement):
                return None
            return str(connection.execute(select(job_run.c.cancel).where(*ours)).scalar_one())

    async def ask_cancel(self, run: str, by: str) -> bool:
        return await asyncio.to_thread(self._ask_cancel, run, by)

    def _ask_cancel(self, run: str, by: str) -> bool:
        going = (job_run.c.id == run, job_run.c.status.in_(_OPEN))
        nobody = (job_run.c.status == RunStatus.DUE.value, job_run.c.held_until <= self._now)
        with self._engine.begin() as connection:
            at_once = {"status": RunStatus.CANCELLED.value, "ended": datetime.now(UTC), "why": f"cancelled by {by}"}
            asked = update(job_run).where(*going)
            if _changed(connection, asked.where(*nobody).values(cancel=by, **at_once)):
                return True
            return _changed(connection, asked.values(cancel=by))

    async def forget(self, before: datetime) -> int:
        return await asyncio.to_thread(self._forget, before)

    def _forget(self, before: datetime) -> int:
        old = select(job_run.c.id).where(job_run.c.ended < before, job_run.c.status.not_in(_OPEN)).limit(_AT_ONCE)
        with self._engine.begin() as connection:
            names = list(connection.execute(old).scalars())
            connection.execute(delete(job_step).where(job_step.c.run.in_(names)))
            connection.execute(delete(job_run).where(job_run.c.id.in_(names)))
        return len(names)

    @property
    def _now(self) -> ColumnElement[float]:
        """Seconds since 1970 by the database's clock."""
        postgres = self._engine.dialect.name == "postgresql"
        text = (
            "extract(epoch FROM clock_timestamp())::float8" if postgres else "(julianday('now') - 2440587.5) * 86400.0"
        )
        return literal_column(f"({text})")


def _open_run(row: RowMapping) -> OpenRun:
    return OpenRun(record_of(dict(row)), bool(row["held"]))


def _changed(connection: Connection, statement: Any) -> bool:
    return connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1
