"""A script as one transaction, with the step's row in it: both are committed, or neither."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgvillage.clients.job_sql import fault, ledger
from pgvillage.clients.job_sql.printed import Printed
from pgvillage.clients.job_sql.script import ScriptFailed, hush, run_script
from pgvillage.core.job_work import SqlWork, WorkResult

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    Connection = AsyncConnection[TupleRow]

# txid_current() gives an id to what has written nothing yet, which a standby can't
_XID = "SELECT pg_catalog.txid_current()"
_SET = "SELECT pg_catalog.set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS s (name, value)"
_PATH = "SELECT pg_catalog.current_setting('search_path')"
_NO_PATH = "SELECT pg_catalog.set_config('search_path', '', true)"


class CommitLost(Exception):
    """COMMIT was sent, and no answer came."""


async def run_transaction(session: Connection, work: SqlWork, printed: Printed, *, noted: bool) -> WorkResult:
    """`noted`: with the step's row; else it is read-only. Raises CommitLost, psycopg.Error."""
    try:
        await session.execute("BEGIN READ WRITE" if noted else "BEGIN READ ONLY")
        path = await _first(session, _PATH)
        await session.execute(_NO_PATH)
        xid = await _first(session, _XID) if noted else None
        if noted and (known := await _known(session, work)) is not None:
            await session.execute("ROLLBACK")
            return known
        await hush(session, work, printed)
        await _become(session, work, str(path))
        await run_script(session, work, printed)
        await session.execute("SET ROLE NONE")
        await session.execute(_NO_PATH)
        if noted:
            await _note(session, work, printed, xid)
    except ScriptFailed as error:
        return await _rolled_back(session, error, printed)
    await _commit(session)
    return WorkResult(rows=printed.rows, value=printed.value, output=printed.text, truncated=printed.truncated)


async def _known(session: Connection, work: SqlWork) -> WorkResult | None:
    """What an earlier try has committed, or why this one must not go on; None: the step is ours to do."""
    token = await _first(session, ledger.CHECK_CLAIM, work.run)
    if token != work.token:
        return fault.failed(f"this run was taken over: its token is {token}, ours {work.token}; nothing was done")
    if await _first(session, ledger.BEGIN_STEP, work.key, work.run, work.step, work.token) is not None:
        return None
    row = await (await session.execute(ledger.FIND_STEP, (work.key,))).fetchone()
    rows, value = row or (None, None)
    return WorkResult(rows=rows, value=value, already=True)


async def _become(session: Connection, work: SqlWork, path: str) -> None:
    settings = {
        "search_path": path,
        "statement_timeout": str(work.statement_timeout),
        "lock_timeout": str(work.lock_timeout),
    }
    if work.role is not None:
        settings["role"] = work.role
    await session.execute(_SET, (list(settings), list(settings.values())))


async def _note(session: Connection, work: SqlWork, printed: Printed, xid: object) -> None:
    if await _first(session, _XID) != xid:
        raise ScriptFailed("the script ended its own transaction and began another: what came after is rolled back")
    if await _first(session, ledger.END_STEP, printed.rows, printed.value, work.key) is None:
        raise ScriptFailed("the step's row in pgvillage.job_step is gone: the script must leave it alone")


async def _commit(session: Connection) -> None:
    import psycopg

    try:
        await session.execute("COMMIT")
    except psycopg.Error as error:
        if fault.is_lost(error):
            raise CommitLost from None
        raise


async def _rolled_back(session: Connection, error: ScriptFailed, printed: Printed) -> WorkResult:
    import psycopg

    cause = error.__cause__
    lost = isinstance(cause, psycopg.Error) and fault.is_lost(cause)
    transient = isinstance(cause, psycopg.Error) and fault.is_transient(cause)
    # a primary that refuses to write, though nobody asked it to, is one no more
    moved = lost or (isinstance(cause, psycopg.Error) and fault.is_read_only(cause) and await _recovers(session))
    if not lost and not session.closed:
        await session.execute("ROLLBACK")
    result = fault.failed(error.words, moved=moved, transient=transient)
    return replace(result, output=printed.text, truncated=printed.truncated)


async def _recovers(session: Connection) -> bool:
    await session.execute("ROLLBACK")
    return bool(await _first(session, "SELECT pg_catalog.pg_is_in_recovery()"))


async def _first(session: Connection, text: str, *values: object) -> object:
    """The first column of the only row, None without one."""
    row = await (await session.execute(text, values or None)).fetchone()
    return row[0] if row else None
