"""Faults of the state database in our words; the libraries' own name hosts, users and statements."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from pgvillage.core.errors import StateError

_SQLITE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "its file can't be read or written (disk full or broken?)",
    sqlite3.SQLITE_READONLY: "its file may not be written",
    sqlite3.SQLITE_CANTOPEN: "its file can't be opened",
    sqlite3.SQLITE_PERM: "its file may not be opened",
    sqlite3.SQLITE_BUSY: "another process kept it locked for too long",
    sqlite3.SQLITE_CORRUPT: "its file is damaged; the next start of the daemon puts it aside and begins anew",
    sqlite3.SQLITE_NOTADB: "its file is no database; the next start of the daemon puts it aside and begins anew",
}
_POSTGRES = {
    "53100": "the disk of its server is full",
    "53300": "its server has no connection left",
    "57P03": "its server is starting or stopping",
    "28": "its server refuses the login",
    "3D000": "its server has no such database",
    "42501": "its role lacks a privilege there",
    "42P01": "its tables are missing",
    "25006": "its server is read-only (a standby?)",
    "57014": "it took too long",
    "55P03": "it took too long to get a lock",
    "08": "it can't be reached",
    "57P": "its server is stopping",
}
BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass
class Faults:
    """How often the state database failed since the start, and when last."""

    count: int = 0
    last: datetime | None = None

    def watch(self, engine: Engine) -> None:
        """From now on all that goes wrong with its database is a StateError."""
        event.listen(engine, "handle_error", self._told)

    def _told(self, context: ExceptionContext) -> StateError | None:
        if context.is_pre_ping:  # the pool connects anew by itself
            return None
        self.count += 1
        self.last = datetime.now(UTC)
        return StateError(f"the state database failed: {_words(context.original_exception)}")


def _words(error: BaseException | None) -> str:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return _SQLITE.get((code or 0) & 0xFF, getattr(error, "sqlite_errorname", None) or type(error).__name__)
    state = getattr(error, "sqlstate", None)
    if state is None:
        return "it can't be reached" if type(error).__name__ == "OperationalError" else type(error).__name__
    for length in (5, 3, 2):
        if state[:length] in _POSTGRES:
            return _POSTGRES[state[:length]]
    return f"{type(error).__name__} ({state})"


def is_broken(error: BaseException | None) -> bool:
    """Is the SQLite file itself damaged?"""
    while error is not None:
        if isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in BROKEN:
            return True
        error = error.__cause__
    return False
