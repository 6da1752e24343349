"""Forgetting what is old, in small transactions; what is open, current or undelivered stays however old it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, Table, and_, delete, exists, func, select, tuple_

from pgvillage.clients.state.tables import (
    approval,
    audit,
    delivery,
    drift,
    event,
    job_output,
    job_run,
    job_step,
    outbox,
    plan,
    request,
    run,
    session,
    status,
)
from pgvillage.settings import Retention

_BATCH = 500


def prune(engine: Engine, retention: Retention, now: datetime) -> dict[str, int]:
    """How many rows went, by table. Between batches others get their turn."""
    gone: dict[str, int] = {}
    for table, old in _old(retention, now):
        count = _BATCH
        while count == _BATCH:
            with engine.begin() as connection:
                count = _batch(connection, table, old)
            gone[table.name] = gone.get(table.name, 0) + count
    return gone


def _batch(connection: Connection, table: Table, old: ColumnElement[bool]) -> int:
    key = tuple_(*table.primary_key) if len(table.primary_key) > 1 else next(iter(table.primary_key))
    found = select(*table.primary_key).where(old).limit(_BATCH)
    return connection.execute(delete(table).where(key.in_(found))).rowcount


def _old(retention: Retention, now: datetime) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    events = before(retention.events)
    yield plan, and_(plan.c.made_at < before(retention.plans), ~_current())
    yield run, and_(run.c.started_at < before(retention.runs), run.c.ended_at.is_not(None))
    yield drift, and_(drift.c.first_seen < before(retention.drifts), drift.c.ended_at < before(retention.drifts))
    yield event, event.c.at < events
    yield audit, audit.c.at < before(retention.audit)
    yield approval, approval.c.until < before(retention.audit)
    yield request, request.c.at < events  # nobody looks after such a target
    yield outbox, outbox.c.delivered_at < events
    yield delivery, delivery.c.at < events
    yield session, session.c.until < now
    old_run = select(job_run.c.id).where(job_run.c.ended < before(retention.runs))
    yield job_output, job_output.c.run.in_(select(job_run.c.id).where(job_run.c.ended < events))
    yield job_step, job_step.c.run.in_(old_run)
    yield job_run, job_run.c.ended < before(retention.runs)


def _current() -> ColumnElement[bool]:
    """A target's newest plan, and the one it stands at: an older digest comes back with a change that was undone."""
    other = plan.alias()
    newest = select(func.max(other.c.made_at)).where(other.c.target == plan.c.target).scalar_subquery()
    standing = exists().where(status.c.target == plan.c.target, status.c.digest == plan.c.digest)
    return (plan.c.made_at == newest) | standing
