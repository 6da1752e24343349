"""All parts of one daemon put together, and put together anew when its settings change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from pgvillage.clients.state.opening import open_state
from pgvillage.daemon.actions import Actions
from pgvillage.daemon.api import About, Loop, api_routes
from pgvillage.daemon.api_auth import Auth
from pgvillage.daemon.chat_service import ChatService
from pgvillage.daemon.dashboard.access import asked_live
from pgvillage.daemon.dashboard.board import Board, Pulse
from pgvillage.daemon.dashboard.routes import dashboard_routes
from pgvillage.daemon.estate_feed import EstateFeed
from pgvillage.daemon.http import http_app
from pgvillage.daemon.jobs.part import JobPart
from pgvillage.daemon.look import Listener
from pgvillage.daemon.lookups import SharedLookups
from pgvillage.daemon.loops import Loops
from pgvillage.daemon.memory import Memory
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.origin import address_of
from pgvillage.daemon.recorder import Recorder
from pgvillage.daemon.replica_metrics import ReplicaMetrics
from pgvillage.daemon.replicas import Replicas
from pgvillage.daemon.runs import Runs
from pgvillage.daemon.shared import Shared
from pgvillage.daemon.shares import Alone
from pgvillage.daemon.turns import Turns
from pgvillage.daemon.webhooks import webhook_routes
from pgvillage.settings import Settings
from pgvillage.wiring import RealWorld

_CHEAP = 32  # cheap looks at a time
_PRUNE = 3600.0  # seconds between looks for history that is too old
_DUTY = 30.0  # seconds between looks at whose work that is


class Daemon:
    """Made in the event loop that it runs in. Raises SettingsError, SecretError, StateError."""

    def __init__(self, world: RealWorld, shares: Alone | Replicas, replica: str) -> None:
        self.world, self.shares, self.replica = world, shares, replica
        self.metrics = Metrics()
        self.state = open_state(world.settings, world.state_folder())
        self.memory = Memory(self.state)
        self.memory.failures = self.metrics.state_failed
        self.chat = ChatService(self.state, world.settings, self.metrics)
        self.feed = EstateFeed(lambda: self.world, lambda: self.world.source().head())
        self.jobs = JobPart(lambda: self.world, self.feed, self.state, self.metrics.registry, replica)
        self.shared = self._shared()
        self.shared.listeners = self._listeners()
        self.metrics.working_by(lambda: self.shared.turns)
        self.loops = Loops(self.shared)
        self.actions = Actions(self.state, world.now, self._wake)
        self._loop = asyncio.get_running_loop()
        self._started = world.now()
        if isinstance(shares, Replicas):
            shares.busy_by(self.loops.is_writing)
            ReplicaMetrics(shares, self.metrics.registry)
        self.app = Switch(self._app(world.settings))

    def _shared(self) -> Shared:
        return Shared(
            world=self.world,
            feed=self.feed,
            shares=self.shares,
            memory=self.memory,
            metrics=self.metrics,
            runs=Runs(self.memory, self.replica, self.world.now),
            replica=self.replica,
            turns=Turns(self.world.settings.parallel),
            lookups=SharedLookups(self.world.ask),
            cheap=Turns(_CHEAP),
        )

    def _listeners(self) -> Sequence[Listener]:
        """Who hears of looks, in this order: what is noted can be looked up by whoever is told of it."""
        return [self.metrics, Recorder(self.memory), self.chat, self.jobs.service]

    def _wake(self, target: str) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self.loops.wake, target)

    def _app(self, settings: Settings) -> Starlette:
        auth = Auth.of(settings)
        about = About(
            self.replica, self._started, self._moves, self.world.now, partial(address_of, serve=settings.serve)
        )
        return http_app(self.loops, self.metrics, auth, about, self._routes(settings, auth, about))

    def _routes(self, settings: Settings, auth: Auth, about: About) -> list[BaseRoute]:
        """The dashboard takes what nobody else does, so it comes last."""
        board = Board(self.state, self.actions, settings, asked_live(self.world), self._pulse)
        return [
            *webhook_routes(
                settings, self.feed.poke, self.state.intake, self.metrics.hooked, address_of=about.address_of
            ),
            *api_routes(self.state, self.actions, auth, about),
            *dashboard_routes(board),
        ]

    def _moves(self) -> list[Loop]:
        return [Loop(name, moves, late) for name, moves, late in self.loops.standing()]

    def _pulse(self) -> Pulse:
        members = sorted(self.shares.members) if isinstance(self.shares, Replicas) else [self.replica]
        return Pulse(members, self._started)

    async def keeping(self) -> None:
        """Forget history that is older than the settings keep; one replica does it for all. Until cancelled."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            if self.shares.duty("retention") is not None and clock() >= due:
                await self.memory.do("forget what is old", self._prune, None)
                due = clock() + _PRUNE
            await asyncio.sleep(_DUTY)

    def _prune(self) -> None:
        self.state.prune(self.world.now(), self.world.settings.serve.retention)

    def use(self, world: RealWorld) -> None:
        """New settings from the next look on; work that is under way ends with the old ones.

        Raises SettingsError, SecretError before anything is changed.
        """
        before, self.world = self.world, world
        try:
            app = self._app(world.settings)
            self.chat.use(world.settings)
            self.jobs.use(world.settings)
        except BaseException:
            self.world = before
            raise
        self.app.inner = app
        if world.settings.parallel != before.settings.parallel:
            self.shared.turns = Turns(world.settings.parallel)
        self.shared.world = world
        self.shared.lookups = SharedLookups(world.ask)
        self.feed.load_again()
        self.loops.look_at_all("new settings")


class Switch:
    """An application that can be another one from the next request on."""

    def __init__(self, inner: Starlette) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.inner(scope, receive, send)
