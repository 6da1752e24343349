"""A small question to one node on a kept connection: primary or standby, timeline, system identifier, position."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

from pgvillage.clients.pg_connect import Endpoint, connect
from pgvillage.clients.pg_read import server_words
from pgvillage.core.errors import ReadError
from pgvillage.core.node_answer import NodeAnswer

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

_APPLICATION = "pgvillage routing"
# A primary's timeline is that of the WAL it writes: the control file has the old one until the checkpoint that
# follows a promotion. Of a standby, whatever says most.
_QUESTION = """
SELECT r, (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
  CASE WHEN r THEN greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
                            (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
                            (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver))
       ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
  (CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END - '0/0')::bigint,
  (SELECT substring(conninfo FROM 'application_name=(\\S+)') FROM pg_catalog.pg_stat_wal_receiver),
  ARRAY(SELECT application_name FROM pg_catalog.pg_stat_replication WHERE sync_state IN ('sync', 'quorum') LIMIT 100)
FROM (SELECT pg_catalog.pg_is_in_recovery() AS r OFFSET 0) AS here
"""


class PgProbe:
    """One node's kept connection. Not for two tasks at a time; after an error it begins anew at the next look.

    `endpoint` has the one host; `connecting` and `asking` are seconds.
    """

    def __init__(self, endpoint: Endpoint, connecting: float, asking: float) -> None:
        self._endpoint, self._connecting, self._asking = endpoint, connecting, asking
        self._connection: AsyncConnection[TupleRow] | None = None

    async def ask(self) -> NodeAnswer:
        """Raises ReadError, CredentialRefused, SecretError."""
        try:
            return await self._ask()
        except TimeoutError:
            await self.close()
            raise ReadError(self._endpoint.hosts[0], "no answer in time") from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        found, self._connection = self._connection, None
        if found is not None:
            with contextlib.suppress(Exception):  # what is broken is gone already
                await found.close()

    async def _ask(self) -> NodeAnswer:
        import psycopg

        if self._connection is None or self._connection.closed:
            limit = {"statement_timeout": str(round(self._asking * 1000)), "default_transaction_read_only": "on"}
            async with asyncio.timeout(self._connecting):
                self._connection = await connect(
                    self._endpoint, None, application=_APPLICATION, settings=limit, primary=False
                )
        try:
            row = await self._row(self._connection)
        except psycopg.Error as error:
            raise ReadError(self._endpoint.hosts[0], server_words(error)) from None
        assert row is not None
        recovering, system, timeline, position, name, synchronous = row
        if position is None:
            raise ReadError(self._endpoint.hosts[0], "it has replayed nothing yet")
        return NodeAnswer(recovering, system, timeline, position, name or "", frozenset(synchronous))

    async def _row(self, connection: AsyncConnection[TupleRow]) -> TupleRow | None:
        """The answer. Raises TimeoutError.

        A query that is cancelled would have psycopg wait for the server's word about that, which a server that hangs
        never gives: so it is the socket that is shut, and the query ends by itself.
        """
        late = False

        def shut() -> None:
            nonlocal late
            late = True
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as found:
                found.shutdown(socket.SHUT_RDWR)

        timer = asyncio.get_running_loop().call_later(self._asking, shut)
        task = asyncio.ensure_future(self._fetched(connection))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            shut()
            await asyncio.wait({task})
            raise
        except Exception:
            if late:
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    async def _fetched(self, connection: AsyncConnection[TupleRow]) -> TupleRow | None:
        return await (await connection.execute(_QUESTION)).fetchone()
