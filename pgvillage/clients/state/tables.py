"""Tables of the state database; the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by themselves for INTEGER alone


class Moment(TypeDecorator[datetime]):
    """A time in UTC, with its zone; SQLite would lose that."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _number() -> Column[Any]:
    return Column("id", _Id, primary_key=True, autoincrement=True)


def _text(name: str, **more: Any) -> Column[Any]:
    return Column(name, Text, nullable=False, default="", **more)


def _count(name: str) -> Column[Any]:
    return Column(name, Integer, nullable=False, default=0)


status = Table(
    "status", metadata,
    Column("target", Text, primary_key=True),
    Column("labels", JSON, nullable=False),
    Column("ready", String(20), nullable=False),
    Column("sync", String(20), nullable=False),
    Column("health", String(20), nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("observed_at", Moment), Column("fresh_until", Moment),
    _text("revision"), _text("digest"),
    _count("changes"), _count("drift"), _count("held"), _count("pending"),
    Column("drift_since", Moment),
    Column("blocked", JSON, nullable=False),
    _count("failures"), _text("error"), Column("next_look", Moment), _text("replica"),
    Column("nodes", JSON(none_as_null=True)),
)  # fmt: skip

plan = Table(
    "plan", metadata,
    Column("target", Text, primary_key=True), Column("digest", String(64), primary_key=True),
    _text("revision"), _text("subject"),
    Column("made_at", Moment, nullable=False),
    Column("document", JSON, nullable=False),
    Index("plan_by_time", "target", "made_at"), Index("plan_newest", "made_at", "target", "digest"),
)  # fmt: skip

run = Table(
    "run", metadata,
    Column("id", String(32), primary_key=True),
    _text("target"), _text("digest"), _text("revision"),
    Column("started_at", Moment, nullable=False), Column("ended_at", Moment),
    _text("replica"), _text("outcome"), _count("done"), _count("left"), _text("error"), _text("approved_by"),
    Column("document", JSON, nullable=False),
    Index("run_by_time", "target", "started_at", "id"), Index("run_newest", "started_at", "id"),
)  # fmt: skip

drift = Table(
    "drift", metadata,
    _number(), _text("target"), _text("address"), _text("fingerprint"),
    Column("first_seen", Moment, nullable=False), Column("last_seen", Moment, nullable=False),
    _text("risk"), Column("document", JSON, nullable=False),
    Column("ended_at", Moment), _text("ended"), _text("owner"),
    Index("drift_open", "target", "ended_at"), Index("drift_newest", "first_seen", "id"),
    Index("drift_by_time", "target", "first_seen", "id"),
)  # fmt: skip

approval = Table(
    "approval", metadata,
    _number(), _text("target"), _text("digest"), _text("by"), _text("comment"),
    Column("at", Moment, nullable=False), Column("until", Moment, nullable=False),
    Index("approval_of", "target", "digest"),
)  # fmt: skip

suspension = Table(
    "suspension", metadata,
    Column("target", Text, primary_key=True), _text("by"), _text("reason"),
    Column("since", Moment, nullable=False), Column("until", Moment),
)  # fmt: skip

request = Table(
    "request", metadata,
    _number(), _text("target"), _text("verb"), _text("by"), Column("at", Moment, nullable=False),
)  # fmt: skip

audit = Table(
    "audit", metadata,
    _number(), Column("at", Moment, nullable=False),
    _text("who"), _text("action"), _text("target"), _text("detail"), _text("address"),
    Index("audit_by_time", "at"), sqlite_autoincrement=True,
)  # fmt: skip

# Watchers go on behind the number they saw last: none is ever given twice.
event = Table(
    "event", metadata,
    _number(), Column("at", Moment, nullable=False),
    _text("target"), _text("reason"), _text("message"), _text("severity"), _text("revision"),
    Index("event_of", "target", "id"), Index("event_by_time", "at"), sqlite_autoincrement=True,
)  # fmt: skip

outbox = Table(
    "outbox", metadata,
    _number(), _text("channel"), _text("key"), _text("thread"),
    Column("body", JSON, nullable=False),
    Column("made_at", Moment, nullable=False), Column("due", Moment, nullable=False),
    _count("tries"), _text("error"), Column("delivered_at", Moment),
    Index("outbox_due", "delivered_at", "due"),
)  # fmt: skip

# What a channel was told last: `key` tells whether there is news, `reference` is the service's name of the message.
thread = Table(
    "thread", metadata,
    Column("channel", Text, primary_key=True), Column("thread", Text, primary_key=True),
    _text("key"), _text("reference"), Column("open", Boolean, nullable=False, default=True),
    Column("at", Moment, nullable=False), Column("state", JSON, nullable=False),
)  # fmt: skip

# Webhook deliveries that were taken, so that none is taken twice.
delivery = Table(
    "delivery", metadata,
    Column("hook", Text, primary_key=True), Column("delivery", String(200), primary_key=True),
    Column("at", Moment, nullable=False),
)  # fmt: skip

session = Table(
    "session", metadata,
    Column("id", String(64), primary_key=True),  # the SHA-256 of what the browser holds
    _text("who"), _text("role"), Column("at", Moment, nullable=False), Column("until", Moment, nullable=False),
    Column("data", JSON, nullable=False),
)  # fmt: skip

# A job's runs: what replicas share of them, and what people look at. `held_until`: seconds since 1970 by the database's
# clock, until which the claim with this token lives.
job_run = Table(
    "job_run", metadata,
    Column("id", String(32), primary_key=True),
    _text("job"), Column("scheduled", Moment, nullable=False), _text("cluster"), _text("database"), _text("node"),
    Column("status", String(20), nullable=False), Column("noted", Moment, nullable=False),
    _count("attempt"), _count("token"), _text("owner"),
    Column("not_before", Moment), Column("begun", Moment), Column("ended", Moment),
    _text("why"), _text("cancel"), _text("by"), _text("revision"),
    Column("held_until", Float, nullable=False, default=0.0),
    Index("job_run_open", "status", "cluster"), Index("job_run_by_time", "job", "scheduled"),
    Index("job_run_newest", "scheduled", "id"),
)  # fmt: skip

job_step = Table(
    "job_step", metadata,
    Column("run", String(32), primary_key=True), Column("step", Text, primary_key=True),
    Column("number", Integer, primary_key=True), Column("attempt", Integer, primary_key=True),
    Column("check", Boolean, primary_key=True),
    Column("outcome", String(20), nullable=False), Column("begun", Moment), Column("ended", Moment),
    Column("values", JSON, nullable=False), Column("rc", Integer), Column("rows", BigInteger), Column("value", Text),
    _text("output"), Column("truncated", Boolean, nullable=False, default=False), _text("error"),
    Column("already", Boolean, nullable=False, default=False),
)  # fmt: skip

# What steps say while they run, in pieces, for who follows them.
job_output = Table(
    "job_output", metadata,
    _number(), Column("run", String(32), nullable=False), _text("step"), _count("number"), _text("text"),
    Index("job_output_of", "run", "id"), sqlite_autoincrement=True,
)  # fmt: skip

# Until when a job's runs on a cluster were taken up.
job_cursor = Table(
    "job_cursor", metadata,
    Column("job", Text, primary_key=True), Column("cluster", Text, primary_key=True),
    Column("until", Moment, nullable=False),
)  # fmt: skip
