"""One statement to the server and its answer, row by row: whatever it returns, little of it is in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pgvillage.clients.job_sql.printed import Printed
from pgvillage.core.job_run import Scalar
from pgvillage.core.secret import Secret

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult
    from psycopg.rows import TupleRow

    Connection = AsyncConnection[TupleRow]

_CHUNK = 100  # rows
_CHUNKS_SINCE = 170000  # of libpq
_LONGEST_VALUE = 65_536  # characters


class Unsendable(Exception):
    """A value or a text that PostgreSQL has no form for; says which, never what."""


def encoded(name: str, value: Scalar | Secret) -> bytes:
    """As text, whose type the server infers from the place. Raises Unsendable."""
    clear = value.reveal() if isinstance(value, Secret) else value
    text = str(clear).lower() if isinstance(clear, bool) else str(clear)
    if "\0" in text:
        raise Unsendable(f"parameter :{name} has a character of code 0, which PostgreSQL takes nowhere")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Unsendable(f"parameter :{name} is not valid Unicode") from None


async def send(session: Connection, text: str, values: Sequence[bytes], printed: Printed) -> str:
    """The command's tag. Raises psycopg.Error as the server or libpq says it, Unsendable before anything is sent."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise Unsendable("the statement is not valid Unicode") from None
    if b"\0" in data:
        raise Unsendable("the statement has a character of code 0")
    rows = _Rows(printed)
    async with session.lock:
        await session.wait(_exchange(session.pgconn, data, values, rows))
    return rows.tag


def _exchange(pgconn: PGconn, text: bytes, values: Sequence[bytes], rows: _Rows) -> PQGen[None]:
    import psycopg
    from psycopg import errors, generators, pq

    pgconn.send_query_params(text, list(values))
    if pq.version() >= _CHUNKS_SINCE:
        pgconn.set_chunked_rows_mode(_CHUNK)
    else:
        pgconn.set_single_row_mode()
    yield from generators.send(pgconn)
    failed = None
    while (result := (yield from generators.fetch(pgconn))) is not None:
        if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
            pgconn.finish()  # there is no other way out of COPY that does no work
            raise psycopg.OperationalError("COPY has no client to talk to in a job")
        if result.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE):
            failed = result
        else:
            rows.take(result)
    if failed is not None:
        raise errors.error_from_result(failed)


class _Rows:
    """The rows of one statement as they come."""

    def __init__(self, printed: Printed) -> None:
        self._printed = printed
        self._headed = False
        self.tag = ""

    def take(self, result: PGresult) -> None:
        printed = self._printed
        if result.nfields and not self._headed:
            self._headed = True
            printed.table([(result.fname(n) or b"").decode("utf-8", "replace") for n in range(result.nfields)])
        count = result.ntuples
        if count and printed.rows == 0:
            printed.value = _shown(printed, result)
        for row in range(count if not printed.truncated else 0):
            printed.row(_text(result.get_value(row, column)) for column in range(result.nfields))
        if count and printed.rows is not None:
            printed.rows += count
        if tag := result.command_status:
            self.tag = tag.decode("utf-8", "replace")
            self._end(result, self.tag)
        result.clear()

    def _end(self, result: PGresult, tag: str) -> None:
        if self._headed:
            self._printed.line(f"({self._printed.rows} row{'' if self._printed.rows == 1 else 's'})")
            return
        # what changes rows has rows too, though it shows none
        if tag.startswith(("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")):
            self._printed.rows, self._printed.value = result.command_tuples or 0, None
        self._printed.line(tag)


def _shown(printed: Printed, result: PGresult) -> str | None:
    if not result.nfields or (value := result.get_value(0, 0)) is None:
        return None
    return printed.hide(value.decode("utf-8", "replace"))[:_LONGEST_VALUE]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


@asynccontextmanager
async def plain_names(session: Connection) -> AsyncIterator[None]:
    """Inside, names and operators are PostgreSQL's, whatever search_path a script or a database has set."""
    row = await (await session.execute("SELECT pg_catalog.current_setting('search_path')")).fetchone()
    await session.execute("SELECT pg_catalog.set_config('search_path', '', false)")
    yield
    await session.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (row[0] if row else "",))
