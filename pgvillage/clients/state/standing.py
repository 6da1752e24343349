"""How the state database stands, without changing anything about it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, text

from pgvillage.clients.state.migrate import version_of
from pgvillage.clients.state.opening import FILE, existing_state
from pgvillage.settings import Settings


@dataclass(frozen=True, slots=True)
class Standing:
    """`closed` says why nothing can be written, "" where it can; `size` in bytes; `newest` of its events."""

    place: str
    version: str
    closed: str
    size: int
    newest: datetime | None


def standing(settings: Settings, folder: Path) -> Standing | None:
    """None where there is no state database yet. Raises SettingsError, SecretError, StateError."""
    state = existing_state(settings, folder)
    if state is None:
        return None
    try:
        with state.engine.connect() as connection:
            version = version_of(connection) or ""
            in_file = connection.dialect.name == "sqlite"
            closed = _file_closed(folder / FILE) if in_file else _server_closed(connection)
            size = _size(connection, in_file)
        newest = state.events.newest(limit=1)
    finally:
        state.close()
    place = str(folder / FILE) if in_file else "PostgreSQL"
    return Standing(place, version, closed, size, newest[0].at if newest else None)


def _size(connection: Connection, in_file: bool) -> int:
    question = (
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        if in_file
        else "SELECT pg_database_size(current_database())"
    )
    return int(connection.execute(text(question)).scalar() or 0)


def _file_closed(file: Path) -> str:
    """SQLite also writes beside the file."""
    for path in (file, file.parent):
        if not os.access(path, os.W_OK):
            return f"this account may not write {path}"
    return ""


def _server_closed(connection: Connection) -> str:
    if connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
        return "its server is read-only (a standby?)"
    if not connection.execute(text("SELECT has_table_privilege('event', 'INSERT')")).scalar():
        return "its role may not write there"
    return ""
