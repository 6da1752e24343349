"""The connections of one run: kept from step to step, as many as steps run SQL at a time."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from pgvillage.core.errors import PgVillageError
from pgvillage.core.job_work import Sink, SqlWork, WorkResult
from pgvillage.running.contract import SqlSession
from pgvillage.running.means import Means, Order

_BETWEEN = 1.0  # seconds between two looks for a node


class Sessions:
    """Closed with the context. A connection whose answer was lost is not used again."""

    def __init__(self, means: Means, order: Order) -> None:
        self._ways, self._key, self._target = means.ways, order.key, order.job.spec.target
        self._idle: list[SqlSession] = []
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def run(self, work: SqlWork, sink: Sink) -> WorkResult:
        """Raises ReadError where the node can't be had: nothing was sent then."""
        session = self._idle.pop() if self._idle else await self._another()
        result = await session.run(work, sink)
        if not (result.moved or result.uncertain or result.transient):
            self._idle.append(session)
        return result

    async def _another(self) -> SqlSession:
        key = self._key
        return await self._open.enter_async_context(self._ways.sql(key.cluster, key.database, key.node, self._target))

    async def await_node(self, seconds: float) -> str:
        """Until the node that the job asks for can be had; "" then, or why it can't."""
        due = time.monotonic() + seconds
        self._idle.clear()
        while True:
            try:
                self._idle.append(await self._another())
            except PgVillageError as error:
                if time.monotonic() >= due:
                    return str(error)
            else:
                return ""
            await asyncio.sleep(_BETWEEN)
