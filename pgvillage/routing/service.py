"""The life of `pgvillage routing`: it starts, follows the estate, serves, remembers, and stops."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import structlog

from pgvillage.core.errors import PgVillageError, SettingsError
from pgvillage.core.node_name import node_name
from pgvillage.daemon.api_auth import Auth, Caller, token_table
from pgvillage.daemon.faults import words
from pgvillage.daemon.listening import Server, bound, make_room, renew_certificate, server_of
from pgvillage.daemon.logs import configure_logs
from pgvillage.daemon.origin import LOCAL, host_of
from pgvillage.daemon.systemd import notify, watchdog_pause
from pgvillage.routing.agent import Agent, agent_server
from pgvillage.routing.answers import Answers
from pgvillage.routing.clusters import Clusters, probe_of
from pgvillage.routing.http import RoutingHttp
from pgvillage.routing.memory_file import MemoryFile
from pgvillage.routing.metrics import RoutingMetrics
from pgvillage.routing.monitor import Monitor
from pgvillage.settings import Routing
from pgvillage.settings.api import Scope
from pgvillage.wiring import RealWorld

log = structlog.get_logger("pgvillage.routing")

_LOOK = 0.5  # seconds between looks for wishes to forget
_SECTION = "routing"


def memory_file(world: RealWorld, node: str = "") -> MemoryFile:
    """Processes that stand for one node each have a file each."""
    name = f"routing-{node_name(node.replace('/', '-'))}.json" if node else "routing.json"
    return MemoryFile(world.settings.routing.memory or world.state_folder() / name)


def stands_for(node: str, clusters: Sequence[str]) -> tuple[str, str] | None:
    """GROUP/NODE, or NODE where one cluster is named. Raises SettingsError."""
    if not node:
        return None
    group, slash, name = node.partition("/")
    if slash and group and name:
        return group, node_name(name)
    if slash or len(clusters) != 1:
        raise SettingsError(f"--node {node!r}: expected CLUSTER/NODE, or NODE together with one --clusters NAME")
    return clusters[0], node_name(node)


def is_open(settings: Routing) -> bool:
    """Whether whoever reaches it may ask without a token. Raises SettingsError where nobody could ask at all."""
    guarded = host_of(settings.listen) in LOCAL or (settings.tls is not None and settings.tls.client_ca is not None)
    found = guarded if settings.anonymous_read is None else settings.anonymous_read
    if not found and not settings.tokens:
        raise SettingsError(
            f"routing.listen: {settings.listen} is not this machine alone, and nobody could ask without a token: "
            "say `anonymousRead: true`, or add `tokens`, or let clients show certificates (`tls.clientCa`)"
        )
    if (
        settings.agent is not None
        and settings.anonymous_read is not True
        and host_of(settings.agent.listen) not in LOCAL
    ):
        raise SettingsError(
            "routing.agent: agent-check knows no tokens; listen on 127.0.0.1, or say `anonymousRead: true`"
        )
    return found


def _auth(settings: Routing) -> Auth:
    named = []
    for token in settings.tokens:
        scopes = {Scope.READ, Scope.APPROVE} if token.forget else {Scope.READ}
        named.append((token.secret, Caller(f"token:{token.name}", frozenset(scopes))))
    return Auth(token_table(_SECTION, named))


async def serve_routing(world: RealWorld, clusters: Sequence[str], node: str = "") -> None:
    """Runs until SIGTERM or SIGINT. Raises SettingsError, SecretError, UsageError."""
    settings, one = world.settings.routing, stands_for(node, clusters)
    open_, auth = is_open(settings), _auth(settings)
    configure_logs(world.settings.serve.logs, "routing")
    make_room()
    file = memory_file(world, node)
    with file.held():
        life = _Life(world, file, list(clusters) or ([one[0]] if one else []))
        server = server_of(
            RoutingHttp(life.answers, life.metrics, auth, open_, one).app(), settings, _SECTION, _ca(settings)
        )
        await life.run(server)


def _ca(settings: Routing) -> Path | None:
    return settings.tls.client_ca if settings.tls is not None else None


class _Life:
    """One process: monitor, memory and estate, until it is told to stop."""

    def __init__(self, world: RealWorld, file: MemoryFile, clusters: Sequence[str]) -> None:
        self._settings, self._file = world.settings.routing, file
        self._unsaved, self._fresh = asyncio.Event(), asyncio.Event()
        self._fault: PgVillageError | None = None
        self._clusters = Clusters(world, clusters)
        self._clusters.feed.tell(self._fresh.set)
        self._pause = world.settings.serve.poll
        self.monitor = Monitor(self._settings, probe_of, file.read(), self._unsaved.set)
        self.answers = Answers(self.monitor, self._settings.max_lag)
        self.metrics = RoutingMetrics(self.monitor)

    async def run(self, server: Server) -> None:
        """Raises SettingsError, UsageError."""
        stop = asyncio.Event()
        listening = asyncio.create_task(server.serve([bound(self._settings.listen, _SECTION)]))
        listening.add_done_callback(lambda _: stop.set())
        agent = await self._agent()
        self._on_signals(stop, server)
        parts = (self._clusters.feed.run(), self._follow(stop), self._save(), self._grant(), _beat())
        tasks = [asyncio.create_task(each) for each in parts]
        log.info(
            "serving", listen=self._settings.listen, tls=self._settings.tls is not None, memory=str(self._file.path)
        )
        notify("READY=1")
        try:
            await stop.wait()
        finally:
            notify("STOPPING=1")
            for task in tasks:
                task.cancel()
            server.should_exit = True
            if agent is not None:
                agent.close()
            await asyncio.gather(listening, *tasks, return_exceptions=True)
            await self.monitor.close()
            self._write()
        if self._fault is not None:
            raise self._fault
        log.info("stopped")

    async def _agent(self) -> asyncio.Server | None:
        if self._settings.agent is None:
            return None
        host, _, port = self._settings.agent.listen.rpartition(":")
        try:
            return await agent_server(Agent(self.answers, self._settings.max_lag), host.strip("[]"), int(port))
        except (OSError, ValueError, OverflowError) as error:
            raise SettingsError(
                f"routing.agent.listen: can't listen on {self._settings.agent.listen}: {error}"
            ) from None

    def _on_signals(self, stop: asyncio.Event, server: Server) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._renew(server))

    def _renew(self, server: Server) -> None:
        try:
            renew_certificate(server, self._settings, _SECTION)
        except SettingsError as error:
            log.error("certificate not taken", error=str(error), stays="the old one is in force")

    async def _follow(self, stop: asyncio.Event) -> None:
        """Who is asked follows the estate, and the HA engine where that names the nodes."""
        first = True
        while True:
            try:
                async with asyncio.timeout(self._pause):
                    await self._fresh.wait()
            except TimeoutError:
                pass
            self._fresh.clear()
            try:
                if self._clusters.feed.good is not None:
                    await self.monitor.use(await self._clusters.groups())
                    first = False
            except PgVillageError as error:
                log.error("groups not taken", **words(error))
                if first:
                    self._fault = error
                    stop.set()

    async def _save(self) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            if not await asyncio.to_thread(self._write):
                await asyncio.sleep(_LOOK)
                self._unsaved.set()

    def _write(self) -> bool:
        try:
            self._file.write(self.monitor.memories)
        except OSError as error:
            self.metrics.unsaved.inc()
            log.error("memory not written", file=str(self._file.path), error=error.strerror)
            return False
        return True

    async def _grant(self) -> None:
        """What the command line asked to forget; it could write beside the memory, so it may."""
        while True:
            for group in self._file.wishes():
                if not self.monitor.forget(group):
                    log.warning("nothing to forget", group=group[:100])
                self._file.granted(group)
            await asyncio.sleep(_LOOK)


async def _beat() -> None:
    pause = watchdog_pause()
    while pause is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(pause)
