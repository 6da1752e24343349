"""Several daemons on one estate: each holds a lease in etcd, and by it the claims on its share of the targets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Self

import structlog

from pgvillage.clients.etcd import EtcdClient, Events, LeaseGone, Resync
from pgvillage.clients.etcd.tenure import Tenure, running_clock
from pgvillage.core.errors import PgVillageError, SettingsError
from pgvillage.core.fence import Fence
from pgvillage.daemon.claims import Claims, Counts
from pgvillage.daemon.membership import Membership, Tempo
from pgvillage.daemon.replica_keys import CLAIMS, DUTIES, Identity, Keys
from pgvillage.daemon.share_plan import Member, View, decide

log = structlog.get_logger("pgvillage.replicas")

_LULL = 0.3  # seconds between rounds, about: a change in etcd seldom comes alone
_LET_LIE = 4  # leases after which a free unit is no longer only the first one's to claim
_BUSY_LOOK = 1.0  # seconds between looks at whether an apply has ended


class Replicas:
    """Shares of the targets among replicas, as an async context manager.

    What it answers comes from memory; etcd is asked by tasks of its own. Entering raises SettingsError when the prefix
    belongs to another estate.
    """

    def __init__(self, client: EtcdClient, prefix: str, me: str, identity: Identity, tempo: Tempo) -> None:
        self._client, self._me, self._tempo = client, me, tempo
        self._keys = Keys(prefix)
        self._clock = running_clock
        self._tenure = Tenure(client, tempo.lease, self._clock)
        self._claims = Claims(client, self._keys, me, self._tenure)
        self._membership = Membership(client, self._keys, me, identity, tempo)
        self._known: frozenset[str] | None = None
        self._duties: set[str] = set()
        self._free_since: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._wrote = False
        self._problems: dict[str, str] = {}
        self.members: tuple[str, ...] = ()

    # What the loops ask

    async def of(self, targets: Collection[str]) -> frozenset[str]:
        """Ours to look at. While etcd is silent they stay ours to look at; `fence` says that nothing is written."""
        known = frozenset(CLAIMS + target for target in targets)
        if known != self._known:
            self._known = known
            self._wake.set()
        tokens, leaving = self._claims.tokens, self._claims.leaving
        return frozenset(t for t in targets if CLAIMS + t in tokens and CLAIMS + t not in leaving)

    def fence(self, target: str) -> Fence | None:
        return self._fence(CLAIMS + target)

    def duty(self, name: str) -> Fence | None:
        """Work that one replica does for all: our right to it, None while it is another's. Ask each time."""
        if name not in self._duties:
            self._duties.add(name)
            self._wake.set()
        return self._fence(DUTIES + name)

    @property
    def changed(self) -> asyncio.Event:
        return self._claims.changed

    def busy_by(self, busy: Callable[[str], bool]) -> None:
        """`busy` says whether an apply is under way on a target: its claim is then given up only after it."""
        self._claims.busy = busy

    # What metrics and the status page ask

    @property
    def counts(self) -> Counts:
        return self._claims.counts

    @property
    def may_write(self) -> bool:
        """Whether our lease holds by our own clock."""
        return self._tenure.holds

    @property
    def reachable(self) -> bool:
        """Whether etcd renewed our lease when it was last asked to."""
        return "lease" not in self._problems

    @property
    def problem(self) -> str:
        """What is wrong with the lease or the sharing, in words; empty when nothing is."""
        return "; ".join(dict.fromkeys(self._problems.values()))

    @property
    def lease_age(self) -> float:
        """Seconds since etcd was last known to have renewed our lease; infinite without one."""
        return self._tenure.age

    @property
    def held(self) -> int:
        """Claims on targets."""
        return sum(unit.startswith(CLAIMS) for unit in self._claims.tokens)

    # Coming and going

    async def __aenter__(self) -> Self:
        """An etcd that does not answer is no reason not to start: it is tried again, and nothing is written."""
        try:
            async with asyncio.timeout(self._tempo.lease):
                await self._tenure.renew()
                await self._round()
        except SettingsError:
            await self._leave()
            raise
        except (PgVillageError, TimeoutError) as error:
            self._told("shares" if self._tenure.lease else "lease", error)
        self._tasks = [asyncio.create_task(each) for each in (self._renewing(), self._rounds(), self._watching())]
        for task in self._tasks:
            task.add_done_callback(_must_not_end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._leave()

    async def _leave(self) -> None:
        """Others need not wait for our lease to end."""
        lease = self._tenure.lease
        self._forget()
        if lease:
            with suppress(PgVillageError, TimeoutError):  # then it ends by itself
                async with asyncio.timeout(self._tempo.lease):
                    await self._client.revoke(lease)

    def _forget(self) -> None:
        """Nothing is ours any more."""
        self._tenure.forget()
        self._membership.estate = None
        self._claims.forget()

    # Our right to write

    def _fence(self, unit: str) -> Fence | None:
        token = self._claims.tokens.get(unit)
        if token is None or not self._has_right():
            return None
        return Fence(token, self._me)

    def _has_right(self) -> bool:
        """By our own clock, now. Says so once when it ends, and once when it is back."""
        holds = self._tenure.holds
        if self._wrote and not holds:
            log.warning("the lease was not renewed in time: nothing is written until etcd answers", error=self.problem)
        elif holds and not self._wrote:
            log.info("the lease holds: shares may be written", replica=self._me)
        self._wrote = holds
        return holds

    async def _renewing(self) -> None:
        while True:
            pause = self._tempo.lease / 3
            try:
                async with asyncio.timeout(self._tempo.lease):
                    await self._tenure.renew()
                self._heard("lease")
            except LeaseGone:
                log.warning(
                    "etcd has ended our lease: others may claim our share, and we begin again", replica=self._me
                )
                self.counts.leases_lost += 1
                self._forget()
                pause = 0.1
            except (PgVillageError, TimeoutError) as error:
                self._told("lease", error)
                pause = self._tempo.lease / 15
            self._has_right()
            await asyncio.sleep(pause * random.uniform(0.8, 1))  # noqa: S311 - jitter

    def _told(self, what: str, error: BaseException) -> None:
        """Logged once for each trouble, not for each request."""
        self.counts.errors += 1
        words = str(error) or f"etcd gave no answer within {self._tempo.lease:g} s"
        if what not in self._problems:
            log.warning("etcd does not do what is asked", what=what, error=words)
        self._problems[what] = words

    def _heard(self, what: str) -> None:
        if self._problems.pop(what, None) is not None:
            log.info("etcd does it again", what=what)

    # Rounds

    async def _rounds(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._tempo.lease / 3):
                    await self._wake.wait()
            await asyncio.sleep(_LULL * random.uniform(0.3, 1.5))  # noqa: S311 - jitter
            self._wake.clear()
            if not self._has_right():
                continue
            try:
                async with asyncio.timeout(2 * self._tempo.lease):
                    await self._round()
                self._heard("shares")
            except LeaseGone:
                continue  # the renewal is told the same
            except (PgVillageError, TimeoutError) as error:
                self._told("shares", error)
            except Exception as error:  # noqa: BLE001 - a bug must be seen, and must not end the sharing
                log.error("a round of sharing failed; this is a bug, please report it", type=type(error).__name__)

    async def _watching(self) -> None:
        """Only wakes the rounds, which read everything themselves: a watch that fails costs time and nothing else."""
        while True:
            try:
                _, revision = await self._client.snapshot(self._keys.estate)
                silence = 2 * self._tempo.lease
                stream = self._client.watch(self._keys.prefix, revision + 1, prefix=True, silence=silence)
                async with aclosing(stream) as answers:
                    async for answer in answers:
                        self._heard("watch")
                        if isinstance(answer, Events | Resync):
                            self._wake.set()
            except PgVillageError as error:
                self._told("watch", error)
                await asyncio.sleep(self._tempo.lease / 3)

    async def _round(self) -> None:
        lease = self._tenure.lease
        kvs, _ = await self._client.snapshot(self._keys.prefix)
        found = self._keys.understand(kvs)
        if self._membership.is_another(found):
            log.warning("the estate's key in etcd was removed or made anew: we begin again", replica=self._me)
            await self._leave()
            return
        me = self._membership.lives(found, lease)
        if me is None:
            await self._membership.enter(found, lease, self._clock)
            self._wake.set()
            return
        self.members = tuple(sorted(found.view.members))
        estate = self._membership.estate
        if estate is None or lease != self._tenure.lease:
            return
        self._claims.take_note(found.view, estate, lease)
        if self._known is not None:
            await self._move(found.view, me)

    async def _move(self, view: View, me: Member) -> None:
        me = await self._activated(view, me)
        estate = self._membership.estate
        if estate is None:
            return
        known = (self._known or frozenset()) | {DUTIES + name for name in self._duties}
        view = View({**view.members, me.name: me}, view.claims, view.wants)
        moves = decide(view, me, known, self._tempo.window, self._patience(view, known))
        if not await self._claims.move(moves, estate, me.lease):
            self._wake_in(_BUSY_LOOK)

    async def _activated(self, view: View, me: Member) -> Member:
        if me.active:
            return me
        pause = self._membership.pause(view, self._clock)
        if pause <= 0:
            return await self._membership.activate(me)
        self._wake_in(pause)
        return me

    def _wake_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._wake.set)

    def _patience(self, view: View, known: Iterable[str]) -> dict[str, int]:
        """How many better ones have let a free unit lie, by how long we have seen it free."""
        now, free = self._clock(), [unit for unit in known if unit not in view.claims]
        self._free_since = {unit: self._free_since.get(unit, now) for unit in free}
        return {unit: int((now - since) / (_LET_LIE * self._tempo.lease)) for unit, since in self._free_since.items()}


def _must_not_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        error = task.exception()
        log.error("sharing has stopped; this is a bug, please report it", type=type(error).__name__)
