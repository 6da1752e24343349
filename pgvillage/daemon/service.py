"""The daemon put together: loops, listeners, HTTP, signals, settings that are read again."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import structlog
from starlette.routing import BaseRoute

from pgvillage.clients.state.opening import open_state
from pgvillage.daemon.actions import Actions
from pgvillage.daemon.chat_service import ChatService
from pgvillage.daemon.estate_feed import EstateFeed
from pgvillage.daemon.http import http_app
from pgvillage.daemon.listening import Server, bound, renew_certificate, server_of
from pgvillage.daemon.logs import configure_logs
from pgvillage.daemon.look import Listener
from pgvillage.daemon.lookups import SharedLookups
from pgvillage.daemon.loops import Loops
from pgvillage.daemon.memory import Memory
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.recorder import Recorder
from pgvillage.daemon.reload import Reload, checked
from pgvillage.daemon.replica_metrics import ReplicaMetrics
from pgvillage.daemon.replicas import Replicas
from pgvillage.daemon.runs import Runs
from pgvillage.daemon.shared import Shared
from pgvillage.daemon.shares import Alone, Shares
from pgvillage.daemon.sharing import shares_of
from pgvillage.daemon.turns import Turns
from pgvillage.wiring import RealWorld

log = structlog.get_logger("pgvillage")

_CHEAP = 32  # cheap looks at a time


class Daemon:
    """All parts of one daemon, made in the event loop that they run in. Raises SettingsError."""

    def __init__(self, world: RealWorld, shares: Shares, replica: str) -> None:
        self.metrics = Metrics()
        self.state = open_state(world.settings, world.state_folder())
        self.chat = ChatService(self.state, world.settings, self.metrics)
        memory = Memory(self.state)
        memory.failures = self.metrics.state_failed
        self.world = world
        self.feed = EstateFeed(lambda: self.world, lambda: self.world.source().head())
        self.shared = Shared(
            world=world,
            feed=self.feed,
            shares=shares,
            memory=memory,
            metrics=self.metrics,
            runs=Runs(memory, replica, world.now),
            replica=replica,
            turns=Turns(world.settings.parallel),
            lookups=SharedLookups(world.ask),
            cheap=Turns(_CHEAP),
        )
        self.shared.listeners = self.listeners(memory)
        self.loops = Loops(self.shared)
        self._loop = asyncio.get_running_loop()
        self.actions = Actions(self.state, world.now, self._wake)

    def _wake(self, target: str) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self.loops.wake, target)

    def listeners(self, memory: Memory) -> Sequence[Listener]:
        """Who hears of looks, in this order: what is noted can be looked up by whoever is told of it."""
        return [self.metrics, Recorder(memory), self.chat]

    def routes(self) -> list[BaseRoute]:
        """What webhooks, API and dashboard bring."""
        return []

    def use(self, world: RealWorld) -> None:
        """New settings from the next look on; work that is under way ends with the old ones."""
        if world.settings.parallel != self.world.settings.parallel:
            self.shared.turns = Turns(world.settings.parallel)
        self.world = self.shared.world = world
        self.shared.lookups = SharedLookups(world.ask)
        self.feed.load_again()
        self.loops.look_at_all("new settings")


def replica_name(world: RealWorld) -> str:
    return world.settings.serve.replica or socket.gethostname()


async def serve(world: RealWorld, settings_file: Path) -> None:
    """Runs until SIGTERM or SIGINT; a write that is under way is finished first. Raises SettingsError."""
    configure_logs(checked(world).settings.serve.logs, replica_name(world))
    async with shares_of(world.settings, world.state_folder(), replica_name(world)) as shares:
        await _serve(world, shares, settings_file)


async def _serve(world: RealWorld, shares: Alone | Replicas, settings_file: Path) -> None:
    settings = world.settings.serve
    daemon = Daemon(world, shares, replica_name(world))
    if isinstance(shares, Replicas):
        shares.busy_by(daemon.loops.is_writing)
        ReplicaMetrics(shares, daemon.metrics.registry)
    server = server_of(http_app(daemon.loops, daemon.metrics, daemon.routes()), settings)
    listening = asyncio.create_task(server.serve([bound(settings.listen)]))
    stop = asyncio.Event()
    listening.add_done_callback(lambda _: stop.set())
    reload = _reload(daemon, server, settings_file)
    _on_signals(stop, reload)
    watching = asyncio.create_task(reload.run())
    log.info("serving", listen=settings.listen, tls=settings.tls is not None, apply=settings.apply)
    try:
        await daemon.shared.runs.end_those_of_the_killed()
        await daemon.loops.run(stop)
    finally:
        watching.cancel()
        server.should_exit = True
        await asyncio.gather(listening, watching, return_exceptions=True)
        daemon.state.close()
    log.info("stopped")


def _reload(daemon: Daemon, server: Server, file: Path) -> Reload:
    def apply(world: RealWorld) -> None:
        renew_certificate(server, world.settings.serve)
        daemon.use(world)

    found = Reload(file, daemon.world.settings, apply)
    found.told = lambda good: daemon.metrics.reloaded(good=good)
    return found


def _on_signals(stop: asyncio.Event, reload: Reload) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.ask)
