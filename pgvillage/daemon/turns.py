"""Who works when: so many at a time, in the order they came, and those that failed last time apart from the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_SHARE_OF_FAILING = 4


class Turns:
    """`parallel` places for targets that answered last time; a quarter as many more for those that did not.

    A dead host costs its time limit at every try: apart, it costs that to nobody else.
    """

    def __init__(self, parallel: int) -> None:
        self._well = asyncio.Semaphore(parallel)
        self._failing = asyncio.Semaphore(max(1, parallel // _SHARE_OF_FAILING))
        self.waiting = 0
        self.working = 0

    @asynccontextmanager
    async def turn(self, *, failing: bool) -> AsyncIterator[None]:
        place = self._failing if failing else self._well
        self.waiting += 1
        try:
            await place.acquire()
        finally:
            self.waiting -= 1
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1
            place.release()
