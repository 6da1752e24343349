"""Directories asked once for all targets: what one asks, the others share for a short while."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial

from pgvillage.core.lookup import GroupQuery, Lookups, Unanswered
from pgvillage.usecases.estate import Ask

_SHARED = 15.0  # seconds


class SharedLookups:
    """An answer is for who comes within its time; a refusal for those alone who waited for it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._asked: dict[GroupQuery, tuple[float, asyncio.Task[Lookups]]] = {}

    async def ask(self, queries: Collection[GroupQuery], *, fresh: bool = False) -> Lookups:
        """`fresh` is for a look that somebody asked for: it shares no answer from before."""
        now = asyncio.get_running_loop().time()
        self._forget(now)
        missing = [query for query in queries if fresh or query not in self._asked]
        if missing:
            asking = asyncio.ensure_future(self._ask(missing))
            task = asyncio.create_task(_answer(asking))
            self._asked |= dict.fromkeys(missing, (now, task))
            task.add_done_callback(partial(self._heard, missing))
        tasks = {query: self._asked[query][1] for query in queries}
        # Shielded: one who gives up waiting takes the answer from nobody.
        for each in set(tasks.values()):
            await asyncio.shield(each)
        return Lookups({query: task.result().groups[query] for query, task in tasks.items()})

    def _forget(self, now: float) -> None:
        self._asked = {q: entry for q, entry in self._asked.items() if now - entry[0] < _SHARED or not entry[1].done()}

    def _heard(self, queries: Collection[GroupQuery], task: asyncio.Task[Lookups]) -> None:
        failed = task.cancelled() or task.exception() is not None
        for query in queries:
            entry = self._asked.get(query)
            if (
                entry is not None
                and entry[1] is task
                and (failed or isinstance(task.result().groups.get(query), Unanswered))
            ):
                del self._asked[query]


async def _answer(asking: asyncio.Future[Lookups]) -> Lookups:
    return await asking
