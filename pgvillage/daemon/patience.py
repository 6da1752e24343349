"""What the HTTP server bears of a client: how long it may take to ask, and how many connections it may hold."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pgvillage.daemon.limits import network_of

ASKS = 10.0  # seconds from the connection, or from the answer before, to the end of a request's headers
READS = 30.0  # seconds that a client may leave an answer unread
MOST = 512  # connections
MOST_OF_ONE = 128  # of them from one address that is no trusted proxy's
MOST_BYTES = 32 << 10  # of a request's headers


class PatientProtocol(H11Protocol):
    """HTTP/1.1 by h11, strictly; connections that only hold a place are closed, those that hold it longest first."""

    trusted: ClassVar[tuple[str, ...]]
    of_address: ClassVar[Counter[str]]
    waiting: ClassVar[dict[PatientProtocol, None]]

    _asks: asyncio.TimerHandle | None = None
    _reads: asyncio.TimerHandle | None = None
    _from = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._from = network_of(self.client[0]) if self.client else ""
        self.of_address[self._from] += 1
        crowded = self.of_address[self._from] > MOST_OF_ONE and not self._is_proxy()
        if crowded or (len(self.connections) > MOST and not self._makes_room()):
            transport.abort()
        else:
            self._mind()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.of_address[self._from] -= 1
        if not self.of_address[self._from]:
            del self.of_address[self._from]
        self.no_longer_waits()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._mind()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._mind()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reads = self._reads or self.loop.call_later(READS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reads is not None:
            self._reads.cancel()
            self._reads = None

    def _mind(self) -> None:
        """A client from which no request is at work has so long for the next one, however it trickles."""
        at_work = self.cycle is not None and not self.cycle.response_complete
        if at_work or self.transport.is_closing():
            self.no_longer_waits()
        elif self._asks is None:
            self._asks = self.loop.call_later(ASKS, self.transport.abort)
            self.waiting[self] = None

    def no_longer_waits(self) -> None:
        self.waiting.pop(self, None)
        if self._asks is not None:
            self._asks.cancel()
            self._asks = None

    def _makes_room(self) -> bool:
        longest = next(iter(self.waiting), None)
        if longest is None:
            return False
        longest.no_longer_waits()
        longest.transport.abort()
        return True

    def _is_proxy(self) -> bool:
        address = ipaddress.ip_address(self.client[0]) if self.client else None
        return any(address in ipaddress.ip_network(each) for each in self.trusted if address is not None)


def patient(trusted: Iterable[str]) -> type[PatientProtocol]:
    """The protocol of one server, with counts of its own."""
    own = {"trusted": tuple(trusted), "of_address": Counter(), "waiting": {}}
    return type("OurProtocol", (PatientProtocol,), own)


class Unambiguous:
    """Refuses a request whose length two servers could read in two ways: the next one in it may be smuggled.

    And one whose headers are too long; h11 counts only what comes in several pieces.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)


def _refusal(scope: Scope) -> PlainTextResponse | None:
    headers, ends = Headers(scope=scope), {"connection": "close"}
    if "content-length" in headers and "transfer-encoding" in headers:
        return PlainTextResponse("a request has a content-length or a transfer-encoding, not both\n", 400, ends)
    length = sum(len(name) + len(value) for name, value in scope["headers"])
    if length + len(scope["raw_path"]) + len(scope["query_string"]) > MOST_BYTES:
        return PlainTextResponse("the headers are too long\n", 431, ends)
    return None
