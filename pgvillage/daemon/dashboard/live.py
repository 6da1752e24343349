"""News as server-sent events: the state's events, read once a second for all who watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import structlog
from starlette.types import Receive, Scope, Send

from pgvillage.clients.state.events import Events
from pgvillage.core.history import Event

log = structlog.get_logger("pgvillage.dashboard")

_EVERY = 1.0
_QUEUE = 200  # events that a slow client may be behind
_MOST = 200  # clients
_MOST_OF_ONE = 30  # of them from one address: a team behind one proxy that is not trusted
_MISSED = 500  # more than that and the page is loaded anew
_BEAT = 15.0
_SLOW = 20.0  # seconds that one write may take


class Feed:
    """One poller for all clients, which runs while somebody watches."""

    def __init__(self, events: Events, every: float = _EVERY) -> None:
        self._events, self._every = events, every
        self._clients: dict[asyncio.Queue[Event | None], str] = {}
        self._poller: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._clients)

    def full(self, address: str) -> bool:
        mine = sum(each == address for each in self._clients.values())
        return len(self._clients) >= _MOST or mine >= _MOST_OF_ONE

    def join(self, address: str) -> asyncio.Queue[Event | None]:
        """What comes from now on; None means that the client was too slow."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUE)
        self._clients[queue] = address
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        return queue

    def leave(self, queue: asyncio.Queue[Event | None]) -> None:
        self._clients.pop(queue, None)
        if not self._clients and self._poller is not None:
            self._poller.cancel()
            self._poller = None

    async def missed(self, last: int) -> list[Event] | None:
        """What came behind number `last`; None when that is too much to tell, or of another database."""
        if last > await asyncio.to_thread(self._events.last):
            return None
        found = await asyncio.to_thread(self._events.after, last, None, _MISSED + 1)
        return found if len(found) <= _MISSED else None

    async def last(self) -> int:
        return await asyncio.to_thread(self._events.last)

    async def _poll(self) -> None:
        last: int | None = None
        while True:
            try:
                if last is None:
                    last = max(0, await self.last() - 20)  # an event may have come before the first look
                found = await asyncio.to_thread(self._events.after, last)
            except Exception as error:  # noqa: BLE001 - a database that is away comes back
                log.warning("events not read", type=type(error).__name__)
                found = []
            for event in found:
                last = event.id
                self._tell(event)
            await asyncio.sleep(self._every)

    def _tell(self, event: Event) -> None:
        for queue in tuple(self._clients):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                del self._clients[queue]
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)


class EventStream:
    """The answer to one client; ends when it goes, is too slow, or `allowed` says no more."""

    def __init__(self, feed: Feed, address: str, last: int | None, allowed: Callable[[], Awaitable[bool]]) -> None:
        self._feed, self._address, self._last, self._allowed = feed, address, last, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        queue = self._feed.join(self._address)
        gone = asyncio.create_task(_gone(receive))
        told = asyncio.create_task(self._tell(queue, send))
        try:
            await asyncio.wait((gone, told), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._feed.leave(queue)
            for task in (gone, told):
                task.cancel()
            await asyncio.gather(gone, told, return_exceptions=True)

    async def _tell(self, queue: asyncio.Queue[Event | None], send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"),
                   (b"x-accel-buffering", b"no")]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with suppress(TimeoutError):
            async for text in self._texts(queue):
                async with asyncio.timeout(_SLOW):
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            async with asyncio.timeout(_SLOW):
                await send({"type": "http.response.body", "body": b""})

    async def _texts(self, queue: asyncio.Queue[Event | None]) -> AsyncIterator[str]:
        yield "retry: 3000\n\n"
        last = self._last if self._last is not None else await self._feed.last()
        missed = await self._feed.missed(last)
        if missed is None:
            last = await self._feed.last()
            yield f"id: {last}\nevent: reload\ndata: {{}}\n\n"
        for event in missed or ():
            last = event.id
            yield as_text(event)
        while True:
            try:
                async with asyncio.timeout(_BEAT):
                    news = await queue.get()
            except TimeoutError:
                if not await self._allowed():
                    return
                yield ": still here\n\n"
                continue
            if news is None:
                return
            if news.id > last:
                last = news.id
                yield as_text(news)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def as_text(event: Event) -> str:
    """JSON escapes line ends, so no message can pretend to be another event."""
    told = {
        "target": event.target, "reason": event.reason, "message": event.message, "severity": event.severity,
        "at": event.at.isoformat(),
    }  # fmt: skip
    return f"id: {event.id}\nevent: news\ndata: {json.dumps(told)}\n\n"


def last_seen(header: str | None, after: str | None) -> int | None:
    """What the browser says it saw last: the header of a reconnect before the address of the first time."""
    for text in (header, after):
        if text and text.isascii() and text.isdecimal() and len(text) < 19:
            return int(text)
    return None
