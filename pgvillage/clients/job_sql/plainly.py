"""A script as psql runs it: each statement for itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgvillage.clients.job_sql import fault
from pgvillage.clients.job_sql.printed import Printed
from pgvillage.clients.job_sql.script import ScriptFailed, hush, run_script
from pgvillage.core.job_work import SqlWork, WorkResult

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    Connection = AsyncConnection[TupleRow]

_SET = "SELECT pg_catalog.set_config(%s, %s, false)"
_AFTER = (
    "RESET SESSION AUTHORIZATION", "SET ROLE NONE", "RESET statement_timeout", "RESET lock_timeout",
    "RESET default_transaction_read_only",
)  # fmt: skip


async def run_plainly(session: Connection, work: SqlWork, printed: Printed) -> WorkResult:
    """Raises psycopg.Error where the session is of no more use."""
    hushed = await hush(session, work, printed)
    try:
        await _become(session, work)
        await run_script(session, work, printed)
    except ScriptFailed as error:
        found = await _after_failure(session, error, hushed)
        return replace(found, output=printed.text, truncated=printed.truncated)
    left = await _reset(session, hushed)
    words = "the script left a transaction open, which was rolled back: end it with COMMIT" if left else ""
    rows, value = printed.rows, printed.value
    return WorkResult(int(left), rows, value, printed.text, printed.truncated, words)


async def _become(session: Connection, work: SqlWork) -> None:
    settings = {
        "statement_timeout": str(work.statement_timeout),
        "lock_timeout": str(work.lock_timeout),
    }
    if work.read_only:
        settings["default_transaction_read_only"] = "on"
    for name, value in settings.items():
        await session.execute(_SET, (name, value))
    if work.role is not None:
        await session.execute(_SET, ("role", work.role))


async def _reset(session: Connection, hushed: list[str]) -> bool:
    """Whether a transaction was open."""
    from psycopg.pq import TransactionStatus

    left = session.info.transaction_status != TransactionStatus.IDLE
    if left:
        await session.execute("ROLLBACK")
    for text in (*_AFTER, *(f"RESET {name}" for name in hushed)):
        await session.execute(text)
    return left


async def _after_failure(session: Connection, error: ScriptFailed, hushed: list[str]) -> WorkResult:
    import psycopg

    cause = error.__cause__
    if isinstance(cause, psycopg.Error) and fault.is_lost(cause):
        return fault.failed(error.words, moved=True, uncertain=True)
    await _reset(session, hushed)
    transient = error.first and isinstance(cause, psycopg.Error) and fault.is_transient(cause)
    moved = isinstance(cause, psycopg.Error) and fault.is_read_only(cause) and await _recovers(session)
    return fault.failed(error.words, transient=transient, moved=moved)


async def _recovers(session: Connection) -> bool:
    row = await (await session.execute("SELECT pg_catalog.pg_is_in_recovery()")).fetchone()
    return bool(row and row[0])
