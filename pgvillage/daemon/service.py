"""The daemon's life: it starts, serves, takes new settings, and stops without leaving work half done."""

from __future__ import annotations

import asyncio
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from pgvillage.daemon.assembly import Daemon
from pgvillage.daemon.listening import Server, bound, make_room, renew_certificate, server_of
from pgvillage.daemon.logs import configure_logs
from pgvillage.daemon.reload import Reload, checked
from pgvillage.daemon.replicas import Replicas
from pgvillage.daemon.shares import Alone
from pgvillage.daemon.sharing import shares_of
from pgvillage.daemon.systemd import notify, reloading, watchdog_pause
from pgvillage.wiring import RealWorld

log = structlog.get_logger("pgvillage")

_THREADS = 16  # for git, secret stores and directories, besides one for each target at work


def replica_name(world: RealWorld) -> str:
    return world.settings.serve.replica or socket.gethostname()


async def serve(world: RealWorld, settings_file: Path) -> None:
    """Runs until SIGTERM or SIGINT; a write that is under way is finished first. Raises SettingsError."""
    replica = replica_name(checked(world))
    configure_logs(world.settings.serve.logs, replica)
    make_room()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS + world.settings.parallel))
    async with shares_of(world.settings, world.state_folder(), replica) as shares:
        await _serve(world, shares, settings_file)


async def _serve(world: RealWorld, shares: Alone | Replicas, settings_file: Path) -> None:
    settings = world.settings.serve
    daemon = Daemon(world, shares, replica_name(world))
    server = server_of(daemon.app, settings)
    listening = asyncio.create_task(server.serve([bound(settings.listen)]))
    stop = asyncio.Event()
    listening.add_done_callback(lambda _: stop.set())
    reload = _reload(daemon, server, settings_file)
    _on_signals(stop, reload)
    parts = (reload.run(), daemon.chat.run(), daemon.keeping(), daemon.jobs.run(), _beat(daemon))
    tasks = [asyncio.create_task(each) for each in parts]
    log.info("serving", listen=settings.listen, tls=settings.tls is not None, apply=settings.apply)
    notify("READY=1")
    try:
        await daemon.shared.runs.end_those_of_the_killed()
        await daemon.loops.run(stop)
    finally:
        notify("STOPPING=1")
        for task in tasks:
            task.cancel()
        server.should_exit = True
        await asyncio.gather(listening, *tasks, return_exceptions=True)
        daemon.shared.memory.close()
    log.info("stopped")


async def _beat(daemon: Daemon) -> None:
    """Tell systemd that the loops move, as long as they do."""
    pause = watchdog_pause()
    while pause is not None:
        if daemon.loops.alive:
            notify("WATCHDOG=1")
        await asyncio.sleep(pause)


def _reload(daemon: Daemon, server: Server, file: Path) -> Reload:
    def apply(world: RealWorld) -> None:
        reloading()
        try:
            renew_certificate(server, world.settings.serve)
            daemon.use(world)
        finally:
            notify("READY=1")

    found = Reload(file, daemon.world.settings, apply)
    found.told = lambda good: daemon.metrics.reloaded(good=good)
    return found


def _on_signals(stop: asyncio.Event, reload: Reload) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.ask)
