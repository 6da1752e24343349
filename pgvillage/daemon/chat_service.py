"""Chat as one part of the daemon: it listens to looks, sends from the outbox, and takes new settings."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from pgvillage.clients.state.state import State
from pgvillage.core.errors import SettingsError
from pgvillage.daemon.chat import Gather, Notifier
from pgvillage.daemon.chat_delivery import deliver
from pgvillage.daemon.chat_sender import Sender
from pgvillage.daemon.look import EstateNews, Look
from pgvillage.daemon.metrics import Metrics
from pgvillage.settings import Settings

_LOOK = 15.0  # seconds between looks at what waits


class ChatService:
    """A Listener, and an EstateListener. Settings are checked (`check_channels`) before they come here."""

    def __init__(self, state: State, settings: Settings, metrics: Metrics) -> None:
        self._state, self._metrics = state, metrics
        self._fresh = asyncio.Event()
        self._set(settings)

    def use(self, settings: Settings) -> None:
        """New settings: what is being sent now is sent again by them."""
        self._set(settings)
        self._fresh.set()

    def _set(self, settings: Settings) -> None:
        serve = settings.serve
        self._sender = Sender(self._state.outbox, settings.channels, deliver, counted=self._metrics.delivered)
        self._notifier = Notifier(
            self._state.outbox,
            settings.channels,
            serve.notify,
            url=serve.url,
            gather=Gather.within(serve.observe),
            wake=self._sender.wake,
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._fresh.clear()
            tasks = [asyncio.create_task(each) for each in (self._sender.run(), self._measure(), self._fresh.wait())]
            try:
                await tasks[2]
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _measure(self) -> None:
        while True:
            self._metrics.undelivered(await self._sender.waiting())
            await asyncio.sleep(_LOOK)

    async def looked(self, look: Look) -> None:
        await self._notifier.looked(look)

    async def keep(self, targets: Collection[str]) -> None:
        await self._notifier.keep(targets)

    async def estate(self, news: EstateNews) -> None:
        await self._notifier.estate_read(news.broken or news.revision, news.fault)


def check_channels(settings: Settings) -> None:
    """Raises SettingsError for channels that the settings do not have."""
    unknown = sorted(set(settings.serve.notify) - set(settings.channels))
    if unknown:
        raise SettingsError(f"serve.notify names channels the settings do not have: {', '.join(unknown)}")
