"""Sends what is in the outbox: a task a channel, one message at a time, in order, until it is through."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from pgvillage.clients.chat_answers import Delivered, Fault, NotDelivered
from pgvillage.clients.state.outbox import UNSURE, Outbox
from pgvillage.core.errors import PgVillageError
from pgvillage.core.history import Message
from pgvillage.core.notice import Notice, notice_of
from pgvillage.settings import Channel

log = structlog.get_logger("pgvillage.chat")

Deliver = Callable[[str, Channel, Notice, str, str], Awaitable[Delivered]]

_LEASE = timedelta(seconds=20)  # longer than any delivery takes
_FIRST_RETRY = 5.0
_LAST_RETRY = 600.0
_BROKEN = 3600.0
_LOOK = 5.0  # seconds between looks at an outbox that others fill too
_LIMIT = 15.0
_KEPT = timedelta(days=30)


class Sender:
    """`counted` is told of every try: channel and result (ok, failed, broken, refused)."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        deliver: Deliver,
        *,
        counted: Callable[[str, str], None] = lambda _channel, _result: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        retry: float = _FIRST_RETRY,
    ) -> None:
        self._outbox, self._channels, self._deliver = outbox, channels, deliver
        self._counted, self._now, self._retry = counted, now, retry
        self._woken = {name: asyncio.Event() for name in channels}
        self._broken: set[str] = set()

    @property
    def broken(self) -> Collection[str]:
        """Channels that a person must mend."""
        return frozenset(self._broken)

    def wake(self) -> None:
        """Something was queued. To be called in the loop that `run` runs in."""
        for event in self._woken.values():
            event.set()

    async def run(self) -> None:
        """Until it is cancelled; what is being sent then is sent again after its lease."""
        async with asyncio.TaskGroup() as group:
            for name in self._channels:
                group.create_task(self._serve(name))

    async def waiting(self) -> dict[str, tuple[int, float]]:
        """Of every channel: how many messages are undelivered, and the age of the oldest in seconds."""
        found = await asyncio.to_thread(self._outbox.waiting)
        now = self._now()
        return {
            name: (found[name][0], max((now - found[name][1]).total_seconds(), 0.0)) if name in found else (0, 0.0)
            for name in self._channels
        }

    async def _serve(self, name: str) -> None:
        while True:
            self._woken[name].clear()
            try:
                sent = await self.send_next(name)
            except Exception as error:  # noqa: BLE001 - a full disk or a lost database must not end the task
                log.error("outbox not read", channel=name, type=type(error).__name__)
                sent = False
            if not sent:
                await self._pause(name)

    async def _pause(self, name: str) -> None:
        try:
            due = await asyncio.to_thread(self._outbox.next_due, name)
        except Exception:  # noqa: BLE001 - said by the next try
            due = None
        seconds = (due - self._now()).total_seconds() if due is not None else _LOOK
        try:
            await asyncio.wait_for(self._woken[name].wait(), min(max(seconds, 0.05), _LOOK))
        except TimeoutError:
            return

    async def send_next(self, name: str) -> bool:
        """Send one message; False when none is due."""
        message = await asyncio.to_thread(self._outbox.claim, name, self._now(), _LEASE)
        if message is None:
            return False
        notice = notice_of(message.body)
        reference = await asyncio.to_thread(self._outbox.reference, name, message.thread)
        try:
            async with asyncio.timeout(_LIMIT):
                done = await self._deliver(name, self._channels[name], notice, str(message.id), reference)
        except NotDelivered as error:
            await self._failed(message, error)
        except TimeoutError:
            await self._failed(message, NotDelivered(name, Fault.UNSURE, f"it took longer than {_LIMIT:.0f} s"))
        except PgVillageError as error:  # its secret can't be had
            await self._failed(message, NotDelivered(name, Fault.BROKEN, str(error)))
        else:
            await asyncio.to_thread(self._outbox.delivered, message, done.reference, self._now())
            await asyncio.to_thread(self._outbox.prune, self._now() - _KEPT)
            self._broken.discard(name)
            self._counted(name, "ok")
            log.info("message delivered", channel=name, kind=notice.kind, told=str(notice.told), target=notice.target)
        return True

    async def _failed(self, message: Message, error: NotDelivered) -> None:
        name = message.channel
        if error.fault is Fault.REFUSED:
            await asyncio.to_thread(self._outbox.dropped, message)
            self._counted(name, "refused")
            log.error("message dropped", channel=name, key=message.key, error=error.words)
            return
        seconds = self._wait_for(message, error)
        words = f"{UNSURE if error.fault is Fault.UNSURE else ''}{error.words}"
        await asyncio.to_thread(self._outbox.postponed, message, words, self._now() + timedelta(seconds=seconds))
        if error.fault is not Fault.BROKEN:
            self._counted(name, "failed")
            log.warning("message not delivered", channel=name, error=error.words, again_in=round(seconds))
            return
        self._counted(name, "broken")
        if name not in self._broken:
            self._broken.add(name)
            log.error("channel is broken, it is tried again every hour", channel=name, error=error.words)

    def _wait_for(self, message: Message, error: NotDelivered) -> float:
        """Seconds to the next try: as the service asks, hourly for a broken channel, else full jitter."""
        if error.fault is Fault.BROKEN:
            return _BROKEN
        most = min(_LAST_RETRY, self._retry * 2.0 ** min(message.tries - 1, 10))
        jitter = random.uniform(most / 10, most)  # noqa: S311 - jitter
        return max(error.after, 0.1) if error.after is not None else jitter
