"""Writing PostgreSQL: one writer a target, fenced inside every transaction, with the ledger in the same one."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from pgvillage.clients import pg_ledger
from pgvillage.clients.pg_connect import addresses_of, connect
from pgvillage.clients.pg_read import server_words
from pgvillage.clients.pg_way import Way
from pgvillage.core.address import quote_part
from pgvillage.core.errors import LockNotAcquired, PrimaryMoved, ReadError, StepFailed
from pgvillage.core.fence import NO_FENCE, Fence
from pgvillage.core.leadership import Session
from pgvillage.core.ledger import LedgerUpdate
from pgvillage.core.password_mark import mark_of
from pgvillage.core.secret import Secret, SecretRef
from pgvillage.core.status import Suspension
from pgvillage.core.step import NoteStep, SecretPlace, SecretText, SqlStep, Verifier

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

    Connection = AsyncConnection[TupleRow]

SecretOf = Callable[[SecretRef], Secret]

# One lock for every PgVillage, whatever its version: pg_advisory_lock(int, int) in the maintenance database.
_LOCK = (1_886_807_401, 1)  # "pvli"
_LOCK_PAUSE = 0.2
_HOLDER = """
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted AND a.datname = current_database()
"""
# The server ends idle sessions by itself. One that stopped in the middle of a pipeline is not idle to it: it waits for
# the client and has heard nothing from it since `state_change`.
_END_SLEEPER = (
    f"SELECT pg_catalog.pg_terminate_backend(a.pid) {_HOLDER} AND a.usename = current_user "
    "AND a.application_name LIKE %s AND a.wait_event = 'ClientRead' "
    "AND a.state_change < pg_catalog.clock_timestamp() - %s * interval '1 second'"
)
_APPLICATION = "pgvillage apply"
_TRIES = 5
# Worth another try as a whole transaction: nothing of it was done.
_RETRYABLE = {"40001", "40P01", "55P03"}
_MOVED = {"25006", "57P01", "57P02", "57P03"}
QUIET = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_duration": "off",
    "log_min_error_statement": "panic",
    "track_activities": "off",
    "pg_stat_statements.track": "none",
    "pgaudit.log": "none",
}
_LOUD = "the account may not switch statement logging off: secrets may be in the server's log"
_SET = "SELECT pg_catalog.set_config(%s, %s, false)"
# One statement for all of them, until the transaction's end or the next of its kind.
_SET_LOCAL = "SELECT pg_catalog.set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS s (name, value)"


class PostgresWriter:
    """An async context: inside, we are the only writer of this cluster.

    Entering raises LockNotAcquired when another writer stays or a later replica was here, ReadError when there is no
    way in, or none to the primary that the plan was made on and that the HA engine says leads. Inside, PrimaryMoved
    says that it is the primary no more.
    """

    def __init__(self, way: Way, system_identifier: str, secret_of: SecretOf, fence: Fence = NO_FENCE) -> None:
        self._way = way
        self._endpoint = way.endpoint
        self._fence = fence
        self._system = system_identifier
        self._secret_of = secret_of
        self._secrets: dict[SecretRef, Secret] = {}
        self._stack = AsyncExitStack()
        self._databases: dict[str, Connection] = {}
        self._main: Connection
        self._token: int | None = None
        self._timeline = 0
        self._sent = False  # something that may be done although its answer is lost
        self.ledger_problem = ""
        self.notes: list[str] = []

    async def __aenter__(self) -> Self:
        import psycopg

        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._way)
                self._endpoint = await self._way.find()
                self.notes += self._endpoint.notes
                self._main = await self._connect(None, stack)
                await self._verify_system()
                await self._lock()
                await self._open_ledger()
                await self._end_older_writers()
            except psycopg.Error as error:
                raise ReadError(self._endpoint.cluster, _lost(error)) from None
            beating = asyncio.create_task(self._beat())
            stack.callback(beating.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def reach(self, databases: Sequence[str]) -> None:
        """Open these databases before anything is done. Raises ReadError for the first that can't be."""
        for name in databases:
            if name != self._endpoint.credential.database:
                await self._reached(name)

    async def run(self, steps: Sequence[SqlStep | NoteStep], update: LedgerUpdate) -> None:
        """Do these steps, of one place, and record them: both or neither, where the steps are transactional.

        Raises StepFailed naming the step that failed, PrimaryMoved when this is the primary no more, LockNotAcquired
        when another writer took over meanwhile, SecretError before anything is done.
        """
        import psycopg

        statements = [step for step in steps if isinstance(step, SqlStep)]
        await self._fetch_secrets(statements, update)
        for attempt in range(_TRIES):
            self._sent = False
            try:
                await self._once(statements, update)
            except psycopg.Error as error:
                raise self._stopped(error) from None
            except PrimaryMoved as moved:
                moved.uncertain = self._sent
                raise
            except _Retry as retry:
                if attempt + 1 == _TRIES:
                    raise StepFailed(f"{retry} (tried {_TRIES} times)") from None
                await asyncio.sleep(random.uniform(0.05, 0.2 * 2**attempt))  # noqa: S311 - jitter, no secret
            else:
                return

    async def suspend(self, suspension: Suspension | None) -> None:
        """Note it in the target; None ends it. Raises StepFailed where there is no ledger that could hold it."""
        import psycopg

        if self._token is None:
            raise StepFailed(f"{self._endpoint.cluster}: {self.ledger_problem}")
        async with self._fenced():
            try:
                await self._main.execute(pg_ledger.SUSPEND, pg_ledger.suspension_parameters(suspension))
            except psycopg.Error as error:
                raise self._stopped(error) from None

    async def _fetch_secrets(self, steps: Sequence[SqlStep], update: LedgerUpdate) -> None:
        """Before a transaction begins: a store that is slow must hold no lock. Each is asked for once a writer."""
        places = [piece.secret for step in steps for piece in step.text if isinstance(piece, SecretPlace)]
        for reference in dict.fromkeys([*places, *update.secrets.values()]):
            if reference not in self._secrets:
                self._secrets[reference] = await asyncio.to_thread(self._secret_of, reference)

    async def _once(self, steps: Sequence[SqlStep], update: LedgerUpdate) -> None:
        if not steps:
            async with self._guard(update):
                return
        database = steps[0].database
        if not steps[0].transactional:
            await self._release()
            # The guard holds the fencing row on the main session, so these need one of their own.
            other = await self._reached(database or self._endpoint.credential.database)
            if steps[0].alone:
                async with self._guard(LedgerUpdate({}, update.revision)):
                    pass  # still the only writer; holding the row meanwhile would be waited for
                await self._plainly(other, steps[0])
                steps = steps[1:]
            async with self._guard(update):
                for step in steps:
                    await self._plainly(other, step)
        elif database is None or database == self._endpoint.credential.database:
            async with self._guard(update):
                await self._pipelined(self._main, steps)
        else:
            other = await self._reached(database)
            async with self._guard(update), self._transaction(other):
                await self._pipelined(other, steps)

    # --- one place

    async def _pipelined(self, connection: Connection, steps: Sequence[SqlStep]) -> None:
        import psycopg

        cursors: list[object] = []
        try:
            loud = await self._usual_logging(connection) if any(step.secret for step in steps) else {}
            quiet = False
            if not loud and any(step.secret for step in steps):
                self.notes.append(_LOUD)
            async with connection.pipeline():
                for step in steps:
                    # Only what holds a secret is kept out of the log; everything else is for the auditor to read.
                    if loud and step.secret is not quiet:
                        quiet = step.secret
                        settings = {name: QUIET[name] for name in loud} if quiet else loud
                        await connection.execute(_SET_LOCAL, (list(settings), list(settings.values())))
                    cursor = connection.cursor()
                    cursors.append(cursor)
                    await cursor.execute(self._text(connection, step).encode())
                if quiet:
                    await connection.execute(_SET_LOCAL, (list(loud), list(loud.values())))
        except psycopg.Error as error:
            failed = next((s for s, c in zip(steps, cursors, strict=False) if not _succeeded(c)), steps[-1])
            raise _failure(failed, error) from None

    async def _plainly(self, connection: Connection, step: SqlStep) -> None:
        import psycopg

        try:
            usual = await self._hush(connection) if step.secret else {}
            self._sent = True
            await connection.execute(self._text(connection, step).encode())
            for name, value in usual.items():
                await connection.execute(_SET, (name, value))
        except psycopg.Error as error:
            raise _failure(step, error) from None
        if step.everywhere:
            await self._on_standbys(connection, step)

    async def _hush(self, connection: Connection) -> dict[str, str]:
        """From now on this session goes unlogged; what the settings were, or nothing where we may not change them."""
        usual = await self._usual_logging(connection)
        if not usual:
            self.notes.append(_LOUD)
        for name in usual:
            await connection.execute(_SET, (name, QUIET[name]))
        return usual

    async def _on_standbys(self, connection: Connection, step: SqlStep) -> None:
        """The same statement on each standby among the hosts; one that can't be reached is said, not passed over."""
        import psycopg

        for host in self._endpoint.hosts if len(self._endpoint.hosts) > 1 else ():
            try:
                async with self._standby(host) as standby:
                    if standby is not None:
                        await standby.execute(self._text(connection, step).encode())
            except (ReadError, psycopg.Error) as error:
                self.notes.append(f"{step.addresses[0]}: sessions on {host} may go on, it was not reached: {error}")

    @asynccontextmanager
    async def _standby(self, host: str) -> AsyncIterator[Connection | None]:
        """A session on this host if it is a standby; None on the primary."""
        alone = replace(self._endpoint, hosts=(host,))
        session = {"search_path": "", "statement_timeout": str(round(self._endpoint.timeouts.read * 1000))}
        connection = await connect(alone, None, application=_APPLICATION, settings=session, primary=False)
        async with connection:
            row = await (await connection.execute("SELECT pg_catalog.pg_is_in_recovery()")).fetchone()
            yield connection if row and row[0] else None

    def _text(self, connection: Connection, step: SqlStep) -> str:
        return "".join(p if isinstance(p, str) else self._filled(connection, p) for p in step.text)

    def _filled(self, connection: Connection, place: SecretPlace) -> str:
        return self._verifier(connection, place) if isinstance(place, Verifier) else self._secret_text(place)

    def _secret_text(self, place: SecretText) -> str:
        from psycopg import sql

        value = self._secrets[place.secret].reveal()
        if place.conninfo:
            value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        return sql.Literal(f"{place.before}{value}{place.after}").as_string(None).strip()

    def _verifier(self, connection: Connection, place: Verifier) -> str:
        """Libpq's own verifier: the clear text never leaves this process."""
        password = self._secrets[place.secret].reveal().encode()
        verifier = connection.pgconn.encrypt_password(password, place.role.encode(), b"scram-sha-256")
        return f"'{verifier.decode('ascii')}'"

    async def _usual_logging(self, connection: Connection) -> dict[str, str]:
        """The settings that make verifiers reach a log, as they are now; nothing where we may not change them."""
        text = (
            "SELECT name, setting || coalesce(unit, '') FROM pg_catalog.pg_settings "
            "WHERE name = ANY(%s) AND pg_catalog.current_setting('is_superuser') = 'on'"
        )
        return dict(await (await connection.execute(text, (list(QUIET),))).fetchall())

    # --- transactions and fencing

    @asynccontextmanager
    async def _guard(self, update: LedgerUpdate) -> AsyncIterator[None]:
        """A transaction on the main session that holds the fencing row while work is done, and records it after."""
        async with self._fenced():
            yield
            if self._token is not None:
                await self._record(update)

    @asynccontextmanager
    async def _fenced(self) -> AsyncIterator[None]:
        await self._refuse_new_leader()
        async with self._transaction(self._main):
            if self._token is None:
                row = await (await self._main.execute(f"SELECT {pg_ledger.PRIMARY}")).fetchone()
            else:
                row = await (await self._main.execute(pg_ledger.CHECK_TOKEN)).fetchone()
                self._refuse_later(row[1:] if row else None)
                if row is None or row[0] != self._token:
                    raise LockNotAcquired(
                        f"{self._endpoint.cluster}: another PgVillage has taken over; nothing written"
                    )
            self._refuse_old_primary(row)
            yield

    async def _refuse_new_leader(self) -> None:
        """One key of etcd, before each transaction: an old primary that is cut off would go on taking writes."""
        leadership = self._endpoint.leadership
        if leadership is None:
            return
        try:
            moved = await self._way.term() != leadership.term
        except ReadError as error:
            raise PrimaryMoved(f"{error}; stopped before the next transaction") from None
        if moved:
            raise PrimaryMoved(
                f"{self._endpoint.cluster}: {quote_part(leadership.leader)} leads no more by what {leadership.engine} "
                "keeps in etcd; stopped before the next transaction"
            )

    def _refuse_old_primary(self, row: Sequence[Any] | None) -> None:
        """`row` ends with whether the server is in recovery and its timeline."""
        if row is None or row[-2] or row[-1] != self._timeline:
            raise PrimaryMoved(f"{self._endpoint.cluster}: the server is no longer the primary that we came to")

    def _stopped(self, error: Exception) -> StepFailed:
        return _kind_of(error)(f"{self._endpoint.cluster}: {_lost(error)}")

    @asynccontextmanager
    async def _transaction(self, connection: Connection) -> AsyncIterator[None]:
        import psycopg

        try:
            await connection.execute("BEGIN")
            try:
                yield
            except BaseException:
                await self._roll_back(connection)
                raise
            self._sent = True
            await connection.execute("COMMIT")
        except psycopg.Error as error:
            raise self._stopped(error) from None

    async def _roll_back(self, connection: Connection) -> None:
        import psycopg

        try:
            await connection.execute("ROLLBACK")
        except psycopg.Error:
            # The connection is gone, and with it the transaction; the error that brought us here says why.
            await connection.close()

    async def _record(self, update: LedgerUpdate) -> None:
        kept = {a: e for a, e in update.rows.items() if e is not None}
        for address, reference in update.secrets.items():
            if address in kept:
                kept[address] = replace(kept[address], secret=mark_of(self._secrets[reference]))
        gone = [pg_ledger.ledger_key(a) for a, e in update.rows.items() if e is None]
        async with self._main.pipeline():
            if kept:
                await self._main.execute(pg_ledger.UPSERT, pg_ledger.upsert_parameters(kept))
            if gone:
                await self._main.execute(pg_ledger.DELETE, (gone,))
            await self._main.execute(pg_ledger.SET_REVISION, (update.revision,))

    # --- coming in

    async def _connect(self, database: str | None, stack: AsyncExitStack) -> Connection:
        timeouts = self._endpoint.timeouts
        stale = str(round(timeouts.stale_writer * 1000))
        settings = {
            "search_path": "",
            "statement_timeout": str(round(timeouts.statement * 1000)),
            "lock_timeout": str(round(timeouts.lock * 1000)),
            # A paused writer is put out by the server, so that a lock is never held by somebody who sleeps.
            "idle_in_transaction_session_timeout": stale,
            "standard_conforming_strings": "on",
        }
        connection = await connect(self._endpoint, database, application=_APPLICATION, settings=settings)
        # Closed and no more: psycopg's own context would commit, and fail once more on a connection that is lost.
        stack.push_async_callback(connection.close)
        if connection.info.server_version >= 140000:
            await connection.execute(f"SET idle_session_timeout = {int(stale)}")
        return connection

    async def _database(self, name: str) -> Connection:
        connection = self._databases.get(name)
        if connection is None or connection.closed:
            connection = await self._connect(name, self._stack)
            if self._token is not None:
                await connection.execute("SELECT set_config('application_name', %s, false)", (self._name(),))
            self._databases[name] = connection
        return connection

    async def _reached(self, name: str) -> Connection:
        """Raises ReadError when it does not let us in, PrimaryMoved when there is no primary any more that could."""
        import psycopg

        try:
            return await self._database(name)
        except ReadError:
            await self._refuse_new_leader()
            try:
                self._refuse_old_primary(await (await self._main.execute(f"SELECT {pg_ledger.PRIMARY}")).fetchone())
            except psycopg.Error as error:
                raise self._stopped(error) from None
            raise

    async def _release(self) -> None:
        """Leave every database, so that none is in the way of its own DROP or of a CREATE from it."""
        for connection in self._databases.values():
            await connection.close()
        self._databases.clear()

    def _name(self) -> str:
        return f"{_APPLICATION}/{self._token}"

    async def _verify_system(self) -> None:
        text = f"SELECT system_identifier::text, {pg_ledger.PRIMARY} FROM pg_catalog.pg_control_system()"  # noqa: S608
        row = await (await self._main.execute(text)).fetchone()
        if row is None or row[1] or row[0] != self._system:
            raise ReadError(self._endpoint.cluster, "the primary is another system than the one the plan was made on")
        self._timeline = row[2]
        self._endpoint.object_to(Session(addresses_of(self._main), row[0], row[2]))

    async def _lock(self) -> None:
        """Asks again and again instead of queueing, so that a holder that fell asleep is found out and ended."""
        timeouts = self._endpoint.timeouts
        deadline = asyncio.get_running_loop().time() + timeouts.writer
        claimed = await self._claim()
        while not await self._try_lock():
            await self._main.execute(_END_SLEEPER, (*_LOCK, f"{_APPLICATION}%", timeouts.stale_writer))
            if asyncio.get_running_loop().time() >= deadline:
                raise LockNotAcquired(
                    f"{self._endpoint.cluster}: another PgVillage is writing here ({await self._holder()}) and did not "
                    f"end within {timeouts.writer:g} s; try again later"
                )
            await asyncio.sleep(_LOCK_PAUSE)
            claimed = claimed or await self._claim()

    async def _claim(self) -> bool:
        """Say that the target is this replica's, so that an earlier one stops at its next transaction and lets go.

        False when it should be tried again. Nothing is asked of a ledger that is another role's: it could answer by
        triggers of its own.
        """
        import psycopg

        if not self._fence.token:
            return True
        owned = await (await self._main.execute(pg_ledger.FIND)).fetchone()
        found = await (await self._main.execute(pg_ledger.READ_FORMAT)).fetchone() if owned and owned[0] else None
        if found is None or found[0] != pg_ledger.FORMAT:
            return True  # what there is to claim is made under the lock
        try:
            await self._put_fence()
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    async def _put_fence(self) -> None:
        """Raises LockNotAcquired when a later replica was here."""
        if self._fence.token:
            token, holder = self._fence.token, self._fence.holder
            await self._main.execute(pg_ledger.CLAIM, (token, holder, token, self._system))
            row = await (await self._main.execute(pg_ledger.READ_FENCE, (self._system,))).fetchone()
            self._refuse_later(row)

    def _refuse_later(self, found: Sequence[Any] | None) -> None:
        """`found` is fence and holder of the row. A writer without a fence is nobody's rival here: the lock decides."""
        if self._fence.token and found is not None and found[0] > self._fence.token:
            raise LockNotAcquired(
                f"{self._endpoint.cluster}: a later replica, {found[1]!r}, looks after this target (its fence is "
                f"{found[0]}, ours {self._fence.token}); nothing written"
            )

    async def _try_lock(self) -> bool:
        row = await (await self._main.execute("SELECT pg_catalog.pg_try_advisory_lock(%s, %s)", _LOCK)).fetchone()
        return bool(row and row[0])

    async def _holder(self) -> str:
        text = f"SELECT coalesce(a.client_addr::text, 'local'), a.pid, a.backend_start::timestamp(0)::text {_HOLDER}"
        row = await (await self._main.execute(text, _LOCK)).fetchone()
        return f"from {row[0]}, backend {row[1]}, since {row[2]}" if row else "unknown"

    async def _open_ledger(self) -> None:
        """Make the ledger where there is none; without the right to, go on without it and say so."""
        import psycopg

        try:
            row = await (await self._main.execute(pg_ledger.FIND)).fetchone()
            if row is not None and not row[0]:
                self.ledger_problem = "schema pgvillage belongs to another role; it is not used"
                return
            if row is None:
                await self._main.execute(pg_ledger.CREATE)
            else:
                found = await (await self._main.execute(pg_ledger.READ_FORMAT)).fetchone()
                if found is not None and found[0] > pg_ledger.FORMAT:
                    self.ledger_problem = f"{pg_ledger.unknown_format(found[0])}; it is not used"
                    return
                if found is None or found[0] < pg_ledger.FORMAT:
                    await self._main.execute(pg_ledger.MIGRATE)
            async with self._main.transaction():
                await self._main.execute(pg_ledger.FORGET, (self._system,))
                await self._main.execute(pg_ledger.ADOPT, (pg_ledger.FORMAT, self._system))
                await self._put_fence()
                taken = await (await self._main.execute(pg_ledger.TAKE_TOKEN, (socket.gethostname(),))).fetchone()
            self._token = taken[0] if taken else None
            await self._main.execute("SELECT set_config('application_name', %s, false)", (self._name(),))
        except psycopg.errors.InsufficientPrivilege as error:
            self.ledger_problem = f"no ledger: {server_words(error)}"

    async def _end_older_writers(self) -> None:
        """Sessions of a writer that lost its lock may still hold a transaction open elsewhere: end them first."""
        text = (
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
            "WHERE application_name LIKE %s AND application_name <> %s AND usename = current_user "
            "AND pid <> pg_catalog.pg_backend_pid() AND application_name <> %s"
        )
        if self._token is None:
            return
        for _ in range(50):
            cursor = await self._main.execute(text, (f"{_APPLICATION}/%", self._name(), _APPLICATION))
            if not await cursor.fetchall():
                return
            await asyncio.sleep(0.1)
        raise LockNotAcquired(f"{self._endpoint.cluster}: sessions of an earlier writer do not end")

    async def _beat(self) -> None:
        """Show the server that we are awake, on every session, well within the time it allows us."""
        import psycopg

        while True:
            await asyncio.sleep(self._endpoint.timeouts.stale_writer / 4)
            for connection in (self._main, *self._databases.values()):
                # A session that is working is no idle one, and must not keep the others waiting for their beat.
                if connection.lock.locked():
                    continue
                # If it failed, the next statement says what happened.
                with suppress(psycopg.Error):
                    await connection.execute("SELECT 1")


class _Retry(Exception):
    pass


def _succeeded(cursor: object) -> bool:
    return getattr(cursor, "statusmessage", None) is not None


def _failure(step: SqlStep, error: Exception) -> Exception:
    addresses = ", ".join(map(str, step.addresses[:3])) + (" …" if len(step.addresses) > 3 else "")
    text = f"{addresses}: {_lost(error)}"
    state = getattr(error, "sqlstate", None)
    if state in _RETRYABLE or "concurrently updated" in str(error):
        return _Retry(text)
    return _kind_of(error)(f"{text}; the statement was: {step}")


def _kind_of(error: Exception) -> type[StepFailed]:
    """A lost connection, or a server that is shut down, starts, or takes no writes any more: not the step's fault."""
    import psycopg

    state = getattr(error, "sqlstate", None)
    if state is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return PrimaryMoved if lost else StepFailed
    return PrimaryMoved if state in _MOVED or state.startswith("08") else StepFailed


def _lost(error: Exception) -> str:
    words = server_words(error)
    if getattr(error, "sqlstate", None) is None:
        return f"the connection was lost: {words}"
    return words
