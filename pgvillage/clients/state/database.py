"""Opening the state database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from pgvillage.clients.state.tables import metadata


def open_sqlite(file: Path) -> Engine:
    """WAL, so that readers never wait; the file is the owner's alone, as plans tell names of accounts."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{file}", connect_args={"timeout": 10})
    event.listen(engine, "connect", _careful)
    metadata.create_all(engine)
    return engine


def open_postgres(url: str) -> Engine:
    """`url` is a libpq URL (postgresql://…)."""
    scheme, separator, rest = url.partition("://")
    engine = create_engine(f"{scheme.partition('+')[0]}+psycopg{separator}{rest}", pool_size=4, pool_pre_ping=True)
    metadata.create_all(engine)
    return engine


def _careful(connection: DBAPIConnection, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
