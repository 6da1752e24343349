"""A client that writes like an application while a cluster hands over, and knows how long it could not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from pgvillage.clients.pg_connect import Endpoint, connect
from pgvillage.core.errors import PgVillageError, ReadError
from pgvillage.core.outage import Outage

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

# A commit with WAL of its own, which waits for synchronous standbys, and leaves no object behind. Everybody may call it
# on PostgreSQL 13 to 18, unless somebody has revoked that.
_WRITE = b"SELECT pg_catalog.pg_logical_emit_message(true, 'pgvillage', '')"
_PAUSE = 0.1
# Longer than a commit takes, shorter than a person waits: a node that went silent must not hide the new primary.
_PATIENCE = 4.0
# No statement_timeout: a commit that it cuts short while it waits for standbys counts as one to the client.
_SESSION = {"search_path": "", "synchronous_commit": "on"}
_BEGIN_WITHIN = 10.0


class PgProbe:
    """An async context: it writes several times a second from its beginning to its end.

    Entering returns once the first write was acknowledged, or when it is clear that there will be none.
    """

    def __init__(self, endpoint: Endpoint, way: str) -> None:
        timeouts = endpoint.timeouts.model_copy(update={"connect": 2})
        self._endpoint, self._found = replace(endpoint, timeouts=timeouts), Outage(way)
        self._last = 0.0  # when a write was acknowledged, by the monotonic clock
        self._begun = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def outage(self) -> Outage:
        return self._found

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._begun.wait(), _BEGIN_WITHIN)
        return self

    async def __aexit__(self, *_: object) -> None:
        """A gap that has not ended yet counts up to now."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._last and not self._found.problem:
            self._found = replace(self._found, longest=max(self._found.longest, time.monotonic() - self._last))
        elif not self._found.problem:
            self._found = replace(self._found, problem="no write was ever acknowledged")

    async def _run(self) -> None:
        """Whatever ends a connection is an outage; what never was possible is a problem, and ends the probe."""
        self._last = 0.0
        while not self._found.problem:
            try:
                async with asyncio.timeout(_PATIENCE * max(1, len(self._endpoint.hosts))):
                    connection = await connect(
                        self._endpoint, None, application="pgvillage probe", settings=_SESSION, primary=True
                    )
                async with connection:
                    await self._write(connection)
            except (ReadError, TimeoutError):
                self._failed()
            except PgVillageError as error:
                self._found = replace(self._found, problem=str(error))
                self._begun.set()
            await asyncio.sleep(_PAUSE)

    async def _write(self, connection: AsyncConnection[TupleRow]) -> None:
        """Until one fails."""
        from psycopg import Error
        from psycopg.errors import InsufficientPrivilege

        try:
            while True:
                await _within(_PATIENCE, connection, _WRITE)
                self._acknowledged()
                await asyncio.sleep(_PAUSE)
        except InsufficientPrivilege:
            user = self._endpoint.credential.user
            self._found = replace(self._found, problem=f"{user} may not execute pg_logical_emit_message")
            self._begun.set()
        except Error:
            self._failed()

    def _acknowledged(self) -> None:
        now, found = time.monotonic(), self._found
        gap = now - self._last if self._last else 0.0
        first = found.first_success
        if found.first_failure is not None and first is None:
            first = datetime.now(UTC)
        self._found = replace(found, writes=found.writes + 1, longest=max(found.longest, gap), first_success=first)
        self._last = now
        self._begun.set()

    def _failed(self) -> None:
        """Before the first acknowledged write there is nothing that could fail."""
        found = self._found
        since = found.first_failure or datetime.now(UTC)
        self._found = replace(found, failures=found.failures + 1, first_failure=since)


async def _within(seconds: float, connection: AsyncConnection[TupleRow], statement: bytes) -> None:
    """A server that went silent is given up by shutting the socket: to cancel would wait for it again."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=os.dup(connection.fileno())) as line:

        def shut() -> None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        timer = loop.call_later(seconds, shut)
        try:
            await connection.execute(statement)
        finally:
            timer.cancel()
