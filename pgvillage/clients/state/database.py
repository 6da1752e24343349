"""Opening the state database: a SQLite file, or PostgreSQL."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Engine, QueuePool, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from pgvillage.clients.state.faults import Faults, is_broken
from pgvillage.clients.state.migrate import migrate
from pgvillage.core.errors import SettingsError, StateError

log = structlog.get_logger("pgvillage.state")

_SECONDS = 10
_SCHEMES = ("postgresql://", "postgres://")
_POLITE: Mapping[str, Any] = {
    "connect_timeout": _SECONDS,
    "application_name": "pgvillage",
    "options": "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# Threads bound how many connections there are; waiting for one would be one fault more.
_POOL: Mapping[str, Any] = {"pool_size": 4, "max_overflow": -1, "hide_parameters": True}


def open_sqlite(file: Path, faults: Faults | None = None) -> Engine:
    """The file is the owner's alone. A damaged one is put aside, loudly, and begun anew: it holds history only."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(file):
            try:
                return _opened(file, faults)
            except StateError as error:
                if not is_broken(error):
                    raise
                _put_aside(file)
                return _opened(file, faults)
    except OSError as error:
        raise StateError(f"the state database {file} can't be opened: {error.strerror}") from None


def sqlite_engine(file: Path, faults: Faults | None = None) -> Engine:
    """WAL, so that readers never wait; writers take turns from their first change on."""
    arguments: dict[str, Any] = {"timeout": _SECONDS, "isolation_level": "IMMEDIATE", "check_same_thread": False}
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(file, **arguments), poolclass=QueuePool, **_POOL
    )
    (faults or Faults()).watch(engine)
    event.listen(engine, "connect", _careful)
    return engine


def open_postgres(url: str, faults: Faults | None = None) -> Engine:
    """`url` is a libpq URL (postgresql://…), a secret. Raises SettingsError, StateError."""
    engine = postgres_engine(url, faults)
    try:
        migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def postgres_engine(url: str, faults: Faults | None = None) -> Engine:
    """With all that libpq knows (several hosts, TLS), none of it in an error. Raises SettingsError."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if not url.startswith(_SCHEMES):
        raise SettingsError("serve.database: expected a postgresql:// URL, and it is none")
    try:
        asked = conninfo_to_dict(url)
    except ProgrammingError:
        raise SettingsError("serve.database: libpq does not understand this postgresql:// URL") from None
    engine = create_engine("postgresql+psycopg://", pool_pre_ping=True, pool_recycle=1800, **_POOL)
    event.listen(engine, "do_connect", lambda _d, _r, _a, given: given.update({**_POLITE, **asked}))
    (faults or Faults()).watch(engine)
    return engine


def _opened(file: Path, faults: Faults | None) -> Engine:
    file.touch(mode=0o600)
    engine = sqlite_engine(file, faults)
    try:
        migrate(engine)
        _require_whole(engine, file)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _require_whole(engine: Engine, file: Path) -> None:
    """Damage that the first statements did not meet; reads the file once."""
    with engine.connect() as connection:
        found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    if found != "ok":
        cause = sqlite3.DatabaseError("quick_check")
        cause.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise StateError(f"the state database {file} is damaged") from cause


def _put_aside(file: Path) -> None:
    aside = file.with_name(f"{file.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z")
    file.rename(aside)
    for suffix in ("-wal", "-shm"):  # they are of the damaged file, and would damage the new one
        beside = file.with_name(file.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    log.error(
        "the state database is damaged: it was put aside and begun anew; history, approvals and what people asked "
        "are lost, what protects the targets is in the targets",
        file=str(file), aside=str(aside),
    )  # fmt: skip


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Of processes that open it at the same time only one at a time looks whether it is whole."""
    with file.with_name(file.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _careful(connection: DBAPIConnection, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
