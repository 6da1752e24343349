"""What is ours by our lease: claims in etcd, taken and given up by transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from pgvillage.clients.etcd import Compare, Delete, EtcdClient, Operation, Put
from pgvillage.clients.etcd.tenure import Tenure
from pgvillage.daemon.replica_keys import CLAIMS, Estate, Keys
from pgvillage.daemon.share_plan import Moves, View

_AT_ONCE = 16  # transactions under way at a time


@dataclass(slots=True)
class Counts:
    """For metrics: since the start. `errors`: requests to etcd that failed."""

    claimed: int = 0
    given_up: int = 0
    asked: int = 0
    leases_lost: int = 0
    errors: int = 0


class Claims:
    """`tokens` of the units that are ours. Others ask for those in `leaving`: nothing new begins on them."""

    def __init__(self, client: EtcdClient, keys: Keys, me: str, tenure: Tenure) -> None:
        self._client, self._keys, self._me, self._tenure = client, keys, me, tenure
        self._given: set[str] = set()
        self.tokens: dict[str, int] = {}
        self.leaving: frozenset[str] = frozenset()
        self.changed = asyncio.Event()
        self.counts = Counts()
        self.busy: Callable[[str], bool] = lambda _: False

    def forget(self) -> None:
        self.tokens, self.leaving, self._given = {}, frozenset(), set()
        self.changed.set()

    def take_note(self, view: View, estate: Estate, lease: int) -> None:
        """What etcd says is ours, is ours; but for what we give up, should that not have arrived there yet."""
        if lease != self._tenure.lease:
            return
        ours = {unit: estate.base + claim.revision for unit, claim in view.claims.items() if claim.lease == lease}
        self._given &= set(ours)
        tokens = {unit: token for unit, token in ours.items() if unit not in self._given}
        if tokens != self.tokens:
            self.tokens = tokens
            self.changed.set()

    async def move(self, moves: Moves, estate: Estate, lease: int) -> bool:
        """False when something that should be given up is busy. Raises ReadError, StepFailed or LeaseGone."""
        if moves.give != self.leaving:
            self.leaving = moves.give
            self.changed.set()
        ready = [unit for unit in sorted(moves.give) if not self._is_busy(unit)]
        await _each(self._give_up(unit, estate, lease) for unit in ready)
        await _each(self._unask(unit) for unit in moves.unask)
        await _each(self._claim(unit, estate, lease) for unit in moves.claim)
        await _each(self._ask(unit, lease) for unit in moves.ask)
        return len(ready) == len(moves.give)

    def _is_busy(self, unit: str) -> bool:
        return unit.startswith(CLAIMS) and self.busy(unit.removeprefix(CLAIMS))

    async def _claim(self, unit: str, estate: Estate, lease: int) -> None:
        key = self._keys.unit(unit)
        free = [Compare.absent(key), Compare(self._keys.estate, "CREATE", estate.made)]
        then: list[Operation] = [
            Put(key, self._me.encode("utf-8", "surrogateescape"), lease),
            Delete(self._keys.want(unit)),
        ]
        done = await self._client.txn(free, then)
        if done.succeeded and lease == self._tenure.lease:
            self.tokens[unit] = estate.base + done.revision
            self.counts.claimed += 1
            self.changed.set()

    async def _give_up(self, unit: str, estate: Estate, lease: int) -> None:
        """We stop counting on it before etcd is told."""
        token = self.tokens.pop(unit, None)
        if token is not None:
            self.counts.given_up += 1
        self._given.add(unit)
        self.changed.set()
        key = self._keys.unit(unit)
        ours = [Compare(key, "LEASE", lease)]
        if token is not None:
            ours.append(Compare(key, "CREATE", token - estate.base))
        await self._client.txn(ours, [Delete(key)])

    async def _ask(self, unit: str, lease: int) -> None:
        await self._client.put(self._keys.want(unit), self._me.encode("utf-8", "surrogateescape"), lease)
        self.counts.asked += 1

    async def _unask(self, unit: str) -> None:
        key = self._keys.want(unit)
        await self._client.txn([Compare(key, "VALUE", self._me.encode("utf-8", "surrogateescape"))], [Delete(key)])


async def _each(calls: Iterable[Awaitable[None]]) -> None:
    """All of them, a few at a time; then the first error."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Awaitable[None]) -> None:
        async with limit:
            await call

    for answer in await asyncio.gather(*(one(call) for call in calls), return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
