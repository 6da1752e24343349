"""The daemon put together: loops, listeners, HTTP, signals, settings that are read again."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
from starlette.routing import BaseRoute

from pgvillage.clients.chat import post
from pgvillage.clients.secrets import read_secret
from pgvillage.clients.state.state import State
from pgvillage.daemon.actions import Actions
from pgvillage.daemon.estate_feed import EstateFeed
from pgvillage.daemon.http import http_app
from pgvillage.daemon.listening import Server, bound, renew_certificate, server_of
from pgvillage.daemon.logs import configure_logs
from pgvillage.daemon.look import Listener
from pgvillage.daemon.lookups import SharedLookups
from pgvillage.daemon.loops import Loops
from pgvillage.daemon.memory import Memory
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.notices import Notices
from pgvillage.daemon.recorder import Recorder
from pgvillage.daemon.reload import Reload, checked
from pgvillage.daemon.runs import Runs
from pgvillage.daemon.shared import Shared
from pgvillage.daemon.shares import Alone, Shares
from pgvillage.daemon.turns import Turns
from pgvillage.wiring import RealWorld

log = structlog.get_logger("pgvillage")

_CHEAP = 32  # cheap looks at a time
_THREADS = 16  # for git, secret stores and directories, besides one for each target at work


class Daemon:
    """All parts of one daemon, made in the event loop that they run in. Raises SettingsError."""

    def __init__(self, world: RealWorld, shares: Shares, replica: str) -> None:
        self.metrics = Metrics()
        self.state = open_state(world)
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
        settings = self.world.settings
        channels = {name: settings.channels[name] for name in settings.serve.notify}
        notices = Notices(self.world.state_folder() / "notices.json", channels, post, self.metrics)
        return [self.metrics, Recorder(memory), notices]

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


def open_state(world: RealWorld) -> State:
    """Raises SecretError."""
    source = world.settings.serve.database
    if source is not None:
        return State.in_postgres(read_secret(source, "serve.database").reveal())
    return State.in_file(world.state_folder() / "state.db")


def replica_name(world: RealWorld) -> str:
    return world.settings.serve.replica or socket.gethostname()


async def serve(world: RealWorld, settings_file: Path) -> None:
    """Runs until SIGTERM or SIGINT; a write that is under way is finished first. Raises SettingsError."""
    settings, replica = checked(world).settings.serve, replica_name(world)
    configure_logs(settings.logs, replica)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS + world.settings.parallel))
    daemon = Daemon(world, Alone(replica), replica)
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
        daemon.shared.memory.close()
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
