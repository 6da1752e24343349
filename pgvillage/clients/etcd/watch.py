"""Watches that lose nothing: every new stream begins one revision after the last that was told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from pgvillage.clients.etcd.codec import KeyValue, after, encoded, integer, key_bytes, key_value, text_of
from pgvillage.clients.etcd.faults import Fault, shown
from pgvillage.clients.etcd.gateway import Gateway
from pgvillage.core.errors import ReadError

_FIRST_PAUSE = 0.1
_LAST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Event:
    """A key was put (`kv` is how it is now) or deleted (`kv` has its name, and the revision that deleted it)."""

    deleted: bool
    kv: KeyValue


@dataclass(frozen=True, slots=True)
class Events:
    """Whole revisions, in their order."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything up to `revision` has been told."""

    revision: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The stream broke and another is being opened; nothing is lost, but what comes may come late."""

    why: str


@dataclass(frozen=True, slots=True)
class Resync:
    """etcd has forgotten what happened before `revision`: read everything again, and watch from there. The end."""

    revision: int


WatchAnswer = Events | Progress | Interrupted | Resync


class _Ended(Exception):
    def __init__(self, compacted: int) -> None:
        super().__init__()
        self.compacted = compacted


class Watch:
    """One key, or with `prefix` all that begin with it, from `start` on (a revision; the first that is told).

    A stream that is silent for `silence` seconds is opened again elsewhere: a cut connection says nothing either.
    """

    def __init__(self, gateway: Gateway, key: str, start: int, *, prefix: bool, silence: float) -> None:
        self._gateway, self._key, self._prefix = gateway, key, prefix
        self._next = start
        self._silence = silence
        self._refused = False
        self._pause = _FIRST_PAUSE

    async def answers(self) -> AsyncGenerator[WatchAnswer, None]:
        """Without end unless Resync. Raises ReadError where etcd refuses for good; close it (aclosing) when done."""
        while True:
            endpoint = self._gateway.endpoints[0]
            try:
                async with aclosing(self._stream(endpoint)) as stream:
                    async for answer in stream:
                        self._pause, self._refused = _FIRST_PAUSE, False
                        yield answer
            except Fault as fault:
                self._gateway.pass_over(endpoint)
                yield Interrupted(f"{endpoint}: {fault}")
                await asyncio.sleep(random.uniform(0, self._pause))  # noqa: S311 - jitter
                self._pause = min(_LAST_PAUSE, self._pause * 2)
            except TimeoutError:
                self._gateway.pass_over(endpoint)
            except _Ended as ended:
                yield Resync(ended.compacted)
                return

    async def _stream(self, endpoint: str) -> AsyncGenerator[WatchAnswer, None]:
        opening = min(self._gateway.timeout, self._silence)
        async with self._gateway.stream(endpoint, "watch", self._body(), opening) as results:
            while True:
                async with asyncio.timeout(self._silence):
                    result = await anext(results)
                answer = await self._understood(result)
                if answer is not None:
                    yield answer

    def _body(self) -> dict[str, object]:
        request: dict[str, object] = {
            "key": encoded(self._key) if self._key or not self._prefix else text_of(b"\0"),
            "startRevision": str(self._next),
            "progressNotify": True,
        }
        if self._prefix:
            request["rangeEnd"] = text_of(after(key_bytes(self._key)))
        return {"createRequest": request}

    async def _understood(self, result: Mapping[str, Any]) -> WatchAnswer | None:
        try:
            compacted = integer(result, "compact_revision")
            events = tuple(_event(entry) for entry in result.get("events", ()))
            at = integer(result.get("header") or {}, "revision")
        except (ValueError, TypeError, AttributeError, KeyError):
            raise ReadError(self._gateway.target, "the answer to a watch is not one of etcd's") from None
        if result.get("canceled"):
            if compacted:
                raise _Ended(compacted)
            await self._canceled(shown(str(result.get("cancel_reason", "no reason given"))))
        if events:
            self._next = max(event.kv.mod_revision for event in events) + 1
            return Events(events)
        if result.get("created"):
            return None
        self._next = max(self._next, at + 1)
        return Progress(at)

    async def _canceled(self, why: str) -> None:
        """A token that etcd forgot is told as a lack of rights: one more login, and then it is one."""
        if "permission denied" in why.lower() or "auth" in why.lower():
            if self._refused:
                raise ReadError(self._gateway.target, f"watching {self._key!r} was refused: {why}")
            self._refused = True
            await self._gateway.renew_login()
        raise Fault(why, sent=True)


def _event(entry: Mapping[str, Any]) -> Event:
    return Event(entry.get("type") == "DELETE", key_value(entry["kv"]))
