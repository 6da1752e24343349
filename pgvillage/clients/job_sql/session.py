"""One connection of one run of a Job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from pgvillage.clients.job_sql import fault, ledger
from pgvillage.clients.job_sql.place import JobDoor, Place
from pgvillage.clients.job_sql.plainly import run_plainly
from pgvillage.clients.job_sql.printed import Printed
from pgvillage.clients.job_sql.sending import plain_names
from pgvillage.clients.job_sql.transaction import CommitLost, run_transaction
from pgvillage.core.errors import PgVillageError, ReadError
from pgvillage.core.job_work import Sink, SqlWork, WorkResult

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.errors import Diagnostic
    from psycopg.rows import TupleRow

    Connection = AsyncConnection[TupleRow]

_PATIENCE = 30  # seconds to learn what became of a COMMIT, and for a fenced session to end
_PAUSE = 0.3
_NAME = "SELECT pg_catalog.set_config('application_name', %s, false)"
_ENDED = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE pid = %s AND application_name = %s AND usename = session_user
"""


@asynccontextmanager
async def open_session(door: JobDoor, place: Place) -> AsyncIterator[JobSession]:
    """Raises ReadError: no such node, or it refuses us; SecretError, CredentialRefused, SettingsError."""
    connection, recovering = await door.connect(place)
    session = JobSession(connection, door, place, recovering=recovering)
    try:
        yield session
    finally:
        await session.close()


class JobSession:
    """See SqlSession. Steps go one after the other; what one leaves (temporary tables, settings, prepared statements)
    the next finds, but for roles and time limits. After a lost connection every step says `moved`.
    """

    def __init__(self, connection: Connection, door: JobDoor, place: Place, *, recovering: bool) -> None:
        self._connection, self._door, self._place, self._recovering = connection, door, place, recovering
        self._turn = asyncio.Lock()
        self._ready = False
        self._named = ""
        self._gone = False

    async def close(self) -> None:
        """What is open is rolled back."""
        self._gone = True
        await self._connection.close()

    async def run(self, work: SqlWork, sink: Sink) -> WorkResult:
        async with self._turn:
            printed = Printed(work.keep, work.values.values(), sink)

            def say(diagnostic: Diagnostic) -> None:
                printed.line(f"{diagnostic.severity}:  {diagnostic.message_primary}")

            self._connection.add_notice_handler(say)
            try:
                return await self._ran(work, printed)
            except asyncio.CancelledError:
                await self.close()
                raise
            finally:
                self._connection.remove_notice_handler(say)

    async def _ran(self, work: SqlWork, printed: Printed) -> WorkResult:
        import psycopg

        if self._gone:
            return fault.failed("the connection of this run was lost before", moved=True)
        if work.token < 1 and not work.read_only:
            return fault.failed("no claim, no work: the token of a run begins at 1")
        try:
            await self._enter(work)
            if not work.transaction:
                found = await run_plainly(self._connection, work, printed)
            else:
                found = await run_transaction(self._connection, work, printed, noted=self._notes(work))
        except CommitLost:
            found = await self._found(work, printed)
        except psycopg.Error as error:
            lost = fault.is_lost(error)
            found = fault.failed(fault.words_of(error, printed), moved=lost, transient=fault.is_transient(error))
        except PgVillageError as error:
            found = fault.failed(printed.hide(str(error)))
        return await self._left(found)

    async def _left(self, found: WorkResult) -> WorkResult:
        """A session whose transaction nobody ended is of no more use."""
        from psycopg.pq import TransactionStatus

        idle = self._connection.info.transaction_status == TransactionStatus.IDLE
        if self._connection.closed or found.moved or found.uncertain or not idle:
            await self.close()
        return found

    def _notes(self, work: SqlWork) -> bool:
        return not (self._recovering or work.read_only)

    async def _enter(self, work: SqlWork) -> None:
        """Say who we are, end those that were before us in this run, and note our token: theirs counts no more."""
        name = f"pgvillage job/{work.run}/{work.token}"
        if name == self._named:
            return
        session = self._connection
        async with plain_names(session):
            await session.execute(_NAME, (name,))
            if self._notes(work) and work.transaction and not self._ready:
                await ledger.make_ready(session, self._door, self._place.database)
                self._ready = True
            await session.execute(ledger.END_OLDER, (f"pgvillage job/{work.run}/", work.token))
            if self._ready:
                await session.execute("SELECT pg_catalog.set_config('statement_timeout', '30s', false)")
                await session.execute(ledger.NOTE_CLAIM, (work.run, work.token))
                await session.execute("RESET statement_timeout")
                self._named = name

    async def _found(self, work: SqlWork, printed: Printed) -> WorkResult:
        """What became of a COMMIT whose answer is lost: the row says it, once the old session has ended."""
        import psycopg

        pid, name = self._connection.info.backend_pid, f"pgvillage job/{work.run}/{work.token}"
        await self._connection.close()
        why = "nobody answered"
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while True:
                    try:
                        row = await self._look(work, pid, name)
                    except (psycopg.Error, ReadError) as error:
                        why = str(error)
                    else:
                        if row is not _GOING_ON:
                            return self._told(row, printed)
                    await asyncio.sleep(_PAUSE)
        words = f"COMMIT was sent and its answer lost; whether it was done could not be learnt: {why}"
        return fault.failed(printed.hide(" ".join(words.split())), moved=True, uncertain=True)

    async def _look(self, work: SqlWork, pid: int, name: str) -> object:
        """The row, None when there is none, or _GOING_ON."""
        connection, _ = await self._door.connect(self._place)
        async with connection:
            if await (await connection.execute(_ENDED, (pid, name))).fetchone():
                return _GOING_ON
            return await (await connection.execute(ledger.FIND_STEP, (work.key,))).fetchone()

    @staticmethod
    def _told(row: object, printed: Printed) -> WorkResult:
        if row is None:
            return fault.failed("the connection was lost at COMMIT; nothing was committed", moved=True)
        return WorkResult(rows=printed.rows, value=printed.value, output=printed.text, truncated=printed.truncated)


_GOING_ON = object()
