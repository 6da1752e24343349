"""What went wrong in a script: in which line, in the server's words, and what that means for another try."""

from __future__ import annotations

import re

from pgvillage.clients.job_sql.ledger import COMMITTED_EARLY
from pgvillage.clients.job_sql.printed import Printed
from pgvillage.core.job_work import SqlStatement, WorkResult

# Nothing of the transaction was done, and the same again may succeed: serialization, deadlock.
_TRANSIENT = {"40001", "40P01"}
_GONE = {"57P01", "57P02", "57P03", "57P05", "25P03"}
_READ_ONLY = "25006"
_TRIVIA = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_HINTS = {
    "57014": "it was cancelled, or took longer than statement_timeout",
    "55P03": "it waited for a lock longer than lock_timeout",
    "2D000": "COMMIT and ROLLBACK end no step that is one transaction: set `transaction: false` for it",
    "25001": "set `transaction: false` for a step that PostgreSQL refuses inside a transaction",
    "42501": "the job's role lacks this privilege",
}


def is_lost(error: Exception) -> bool:
    """The connection is gone, or the server ends it."""
    import psycopg

    state = getattr(error, "sqlstate", None)
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state in _GONE or state.startswith("08")


def is_transient(error: Exception) -> bool:
    return getattr(error, "sqlstate", None) in _TRANSIENT


def is_read_only(error: Exception) -> bool:
    return getattr(error, "sqlstate", None) == _READ_ONLY


def line_of(statement: SqlStatement, before: int, position: int | None = None) -> int:
    """The script's line of a place in the statement (characters from 1), of its first word without one.

    `before`: the line in which the statement's text begins.
    """
    if position is None:
        trivia = _TRIVIA.match(statement.text)
        position = (trivia.end() if trivia else 0) + 1
    return before + statement.text.count("\n", 0, max(0, position - 1))


def first_word(statement: SqlStatement) -> str:
    """In lower case, with what stands behind it; "" where there is none."""
    trivia = _TRIVIA.match(statement.text)
    return statement.text[trivia.end() if trivia else 0 :][:20].lower()


def words_of(error: Exception, printed: Printed, line: int | None = None) -> str:
    """`line 3: ERROR 42P01: …`; no detail, which can be a whole row, and no context, which can be a parameter."""
    diag = getattr(error, "diag", None)
    where = f"line {line}: " if line else ""
    if diag is None or diag.message_primary is None:
        return printed.hide(where + (" ".join(str(error).split()) or type(error).__name__))
    if diag.constraint_name == COMMITTED_EARLY:
        return f"{where}the script ended its own transaction, so nothing of it was committed; {_HINTS['2D000']}"
    text = f"{where}{diag.severity_nonlocalized or 'ERROR'} {diag.sqlstate}: {' '.join(diag.message_primary.split())}"
    for more in (diag.message_hint, _HINTS.get(diag.sqlstate or "")):
        text += f"; {' '.join(more.split())}" if more else ""
    return printed.hide(text)


def position_of(error: Exception) -> int | None:
    found = getattr(getattr(error, "diag", None), "statement_position", None)
    return int(found) if found else None


def failed(error: str, *, moved: bool = False, uncertain: bool = False, transient: bool = False) -> WorkResult:
    return WorkResult(rc=1, error=error, moved=moved, uncertain=uncertain, transient=transient)
