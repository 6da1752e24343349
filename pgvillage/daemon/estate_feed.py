"""The estate as the repository has it: followed by polls and pokes, loaded once a commit for all targets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from pgvillage.core.errors import ManifestError, PgVillageError, UnsignedError
from pgvillage.core.plan import TargetId
from pgvillage.daemon.faults import text, words
from pgvillage.estate.loader import Manifests
from pgvillage.usecases.estate import Scope, select_targets
from pgvillage.usecases.world import Checkout, World

log = structlog.get_logger("pgvillage.estate")

JITTER = 0.2
_LONG = 3600.0  # seconds that a poll may take: all it waits for has a time limit
_LEAST = 1.0  # seconds between polls, however often they are asked for
_SHOWN = 2_000


@dataclass(frozen=True, slots=True, repr=False)
class Commit:
    """A commit whose manifests are valid."""

    checkout: Checkout
    manifests: Manifests
    targets: tuple[TargetId, ...]

    @property
    def revision(self) -> str:
        return self.checkout.revision


class EstateFeed:
    """Keeps the last good commit. `fault` says why there is no newer one, "" while the newest is good."""

    def __init__(self, world: Callable[[], World], head: Callable[[], str]) -> None:
        self._world, self._head = world, head
        self._poked = asyncio.Event()
        self._told: list[Callable[[], None]] = []
        self.good: Commit | None = None
        self.fault = ""
        self.valid = False
        self.invalid = False  # there is a newer commit, and it is the one at fault
        self.broken = ""  # the revision that is not good, as far as it is known
        self.due = asyncio.get_running_loop().time() + _LONG
        self._seen, self._again = "", False
        self._refused = ""  # why the newest commit is none of ours, though an older one is at hand

    def tell(self, listener: Callable[[], None]) -> None:
        """`listener` is called after every change of `good` or `fault`."""
        self._told.append(listener)

    def poke(self) -> None:
        """Poll at once. Many pokes make one poll, and there is at most one a second."""
        self._poked.set()

    def load_again(self) -> None:
        """The settings are others: what was valid by the old ones may not be, and the other way round."""
        self._again = True
        self.poke()

    async def run(self) -> None:
        """Until cancelled; no error ends it."""
        clock = asyncio.get_running_loop().time
        while True:
            self._poked.clear()
            began = clock()
            self.due = began + _LONG
            await self._poll()
            poll = self._world().settings.serve.poll
            pause = poll * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter
            self.due = clock() + pause + _LONG
            try:
                async with asyncio.timeout(pause):
                    await self._poked.wait()
                await asyncio.sleep(max(0.0, min(_LEAST, poll) - (clock() - began)))
            except TimeoutError:
                continue

    async def _poll(self) -> None:
        try:
            fresh = await asyncio.to_thread(self._newer)
        except Exception as error:  # noqa: BLE001 - the last good estate stays in force, whatever it was
            self._failed(error)
            return
        if fresh is not None and (self.good is None or fresh.revision != self.good.revision):
            log.info("new commit", revision=fresh.revision, subject=fresh.checkout.subject)
        elif fresh is None and self.fault == self._refused:
            return
        self.good = fresh or self.good
        if self._refused and self._refused != self.fault:
            log.error("estate not valid", revision=self.broken, error=self._refused)
        self.fault, self.valid, self.invalid = self._refused, not self._refused, bool(self._refused)
        self.broken = self.broken if self._refused else ""
        self._say()

    def _newer(self) -> Commit | None:
        """In a thread. None when the repository has nothing that was not loaded already."""
        world = self._world()
        head = self._head()
        again, self._again = self._again, False
        local = "://" not in world.settings.repository.url  # a work tree changes without a commit
        if head == self._seen and self.good is not None and not (local or again or self.fault):
            return None
        self.broken = head
        checkout = world.checkout(None)
        self._seen, self._refused = head, checkout.refused[:_SHOWN]
        self.broken = head if checkout.refused else checkout.revision
        if self.good is not None and checkout.revision == self.good.revision and not again:
            said = self.good.checkout.refused == checkout.refused
            return None if said else replace(self.good, checkout=checkout)
        manifests = world.manifests(checkout)
        return Commit(checkout, manifests, select_targets(manifests, Scope()))

    def _failed(self, error: Exception) -> None:
        """A repository that can't be reached says nothing about the commit that is in force."""
        invalid = isinstance(error, ManifestError | UnsignedError)
        of_commit = f"commit {self.broken[:12]} is not in force" if invalid else "the repository can't be read"
        stays = f"; {self.good.revision[:12]} stays" if self.good else ""
        fault = f"{of_commit}{stays}: {text(error)}"[:_SHOWN]
        self.valid = self.valid and not invalid and isinstance(error, PgVillageError)
        if fault == self.fault:
            return
        self.fault, self.invalid = fault, invalid
        write = log.error if invalid else log.warning
        write("estate not valid" if invalid else "repository not read", revision=self.broken, **words(error))
        self._say()

    def _say(self) -> None:
        for listener in self._told:
            listener()
