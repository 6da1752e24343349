"""What all pages share: state, actions, settings, templates, limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from pgvillage.access.who_can import Answers
from pgvillage.clients.oidc import OidcClient
from pgvillage.clients.state.state import State
from pgvillage.daemon.actions import Actions
from pgvillage.daemon.dashboard.live import Feed
from pgvillage.daemon.limits import Limiter
from pgvillage.daemon.origin import is_https, listens_locally
from pgvillage.settings import Settings

AskAccess = Callable[[str, str, str], Awaitable[Answers]]  # target, privilege, object; asked live


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the process knows of itself: the replicas that it sees, and since when it runs."""

    replicas: Sequence[str] = ()
    started: datetime | None = None


def _no_pulse() -> Pulse:
    return Pulse()


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Board:
    """`ask_access` None: this service has no live reads to offer. `now` is UTC."""

    state: State
    actions: Actions
    settings: Settings
    ask_access: AskAccess | None = None
    pulse: Callable[[], Pulse] = _no_pulse
    now: Callable[[], datetime] = _utc
    clock: Callable[[], float] = time.monotonic

    @property
    def public(self) -> bool:
        """May people look without signing in?"""
        said = self.settings.dashboard.public
        return listens_locally(self.settings.serve) if said is None else said

    @property
    def https(self) -> bool:
        return is_https(self.settings.serve)

    @property
    def can_sign_in(self) -> bool:
        return bool(self.settings.dashboard.users) or self.settings.dashboard.oidc is not None

    @cached_property
    def feed(self) -> Feed:
        return Feed(self.state.events)

    @cached_property
    def provider(self) -> OidcClient:
        """It remembers the provider's keys."""
        assert self.settings.dashboard.oidc is not None
        return OidcClient(self.settings.dashboard.oidc)

    @cached_property
    def by_address(self) -> Limiter:
        """Sign-ins that failed, and those begun at a provider."""
        return Limiter(20, 300, self.clock)

    @cached_property
    def by_user(self) -> Limiter:
        return Limiter(10, 300, self.clock)

    @cached_property
    def questions(self) -> Limiter:
        """Live reads that one person asks for."""
        return Limiter(20, 60, self.clock)

    @cached_property
    def reading(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(3)

    @cached_property
    def hashing(self) -> asyncio.Semaphore:
        """Each takes 32 MiB."""
        return asyncio.Semaphore(2)

    async def ask(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The state database, off the event loop."""
        return await asyncio.to_thread(call, *arguments, **named)
