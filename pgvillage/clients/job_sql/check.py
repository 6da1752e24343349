"""Whether PostgreSQL understands a job's statements: PREPARE, in a transaction that is rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvillage.clients.job_sql import fault
from pgvillage.clients.job_sql.place import JobDoor, Place
from pgvillage.clients.job_sql.printed import Printed
from pgvillage.core.errors import ReadError
from pgvillage.core.job_work import SqlWork

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn
    from psycopg.rows import TupleRow

# What a statement before it may make, which nothing has run: no schema, table, column, function, type.
_MISSING = {"3F000", "42P01", "42703", "42883", "42704", "26000", "34000"}
# These make nothing that another statement could name.
_MAKES_NOTHING = ("select", "insert", "update", "delete", "merge", "values", "with", "table")


@dataclass(frozen=True, slots=True)
class SqlFault:
    """`line` is the script's."""

    line: int
    words: str


async def faults_of(door: JobDoor, database: str, work: SqlWork) -> list[SqlFault]:
    """What PostgreSQL refuses of these statements, by the job's role; nothing is run.

    A utility statement is only parsed. Raises ReadError where nothing could be asked.
    """
    import psycopg

    session, _ = await door.connect(Place(database, "any"))
    cluster = door.way.endpoint.cluster
    async with session:
        try:
            await session.execute("BEGIN READ ONLY")
            await session.execute("SELECT pg_catalog.set_config('statement_timeout', '10s', true)")
            if work.role is not None:
                await session.execute("SELECT pg_catalog.set_config('role', %s, true)", (work.role,))
            found = await _faults(session, work)
            await session.execute("ROLLBACK")
        except psycopg.Error as error:
            raise ReadError(cluster, fault.words_of(error, Printed(0, work.values.values(), _nowhere))) from None
    return found


async def _faults(session: AsyncConnection[TupleRow], work: SqlWork) -> list[SqlFault]:
    import psycopg

    printed = Printed(0, work.values.values(), _nowhere)
    found, line, made = [], 1, False
    for statement in work.statements:
        begins, line = statement.line or line, (statement.line or line) + statement.text.count("\n")
        await session.execute("SAVEPOINT statement")
        try:
            async with session.lock:
                await session.wait(_prepared(session.pgconn, statement.text.encode()))
        except psycopg.Error as error:
            if fault.is_lost(error):
                raise
            if not (made and getattr(error, "sqlstate", None) in _MISSING):
                at = fault.line_of(statement, begins, fault.position_of(error))
                found.append(SqlFault(at, fault.words_of(error, printed)))
        else:
            made = made or not fault.first_word(statement).startswith(_MAKES_NOTHING)
        await session.execute("ROLLBACK TO statement")
    return found


def _prepared(pgconn: PGconn, text: bytes) -> PQGen[None]:
    from psycopg import errors, generators, pq

    pgconn.send_prepare(b"", text)
    yield from generators.send(pgconn)
    failed = None
    while (result := (yield from generators.fetch(pgconn))) is not None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            failed = result
    if failed is not None:
        raise errors.error_from_result(failed)


def _nowhere(_: str) -> None:
    """Nothing is printed where nothing runs."""
