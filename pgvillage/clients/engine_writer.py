"""Writing what an HA engine keeps in etcd: by compare-and-swap, with our ledger beside it, which is also the lock."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

from pgvillage.clients.engine_ledger import Document, document_of, recorded, suspended, with_fence
from pgvillage.clients.engine_turn import turn_key, turn_words
from pgvillage.clients.etcd import EtcdClient
from pgvillage.core.errors import LockNotAcquired, StepFailed
from pgvillage.core.fence import NO_FENCE, Fence
from pgvillage.core.ledger import LedgerUpdate
from pgvillage.core.status import Suspension
from pgvillage.core.step import PatchStep

_TRIES = 30

Patched = Callable[[bytes, Mapping[str, Any]], tuple[dict[str, Any], list[str]]]
Changed = Callable[[Document], Document]


@dataclass(frozen=True, slots=True)
class Found:
    """The engine's document and our ledger beside it as they are now. `uid` tells the cluster from others that had its
    name; the revisions are etcd's of these keys, 0 where there is no ledger.
    """

    uid: str
    data: bytes
    data_revision: int
    ledger: bytes | None
    ledger_revision: int


@dataclass(frozen=True, slots=True)
class EngineKeys:
    """One cluster's keys. `name` is the cluster's in the estate, `engine` and `document` what messages call them.

    `find` reads both keys and raises ReadError; `patched` gives the whole document with a patch merged, and every
    reason why the engine would not take it.
    """

    name: str
    engine: str
    document: str
    data: str
    ledger: str
    find: Callable[[EtcdClient], Awaitable[Found]]
    patched: Patched


class EngineWriter:
    """An async context. Our own key is the lock: whoever writes it first makes every other writer refuse.

    A replica's fence stands in that key; entering writes it there, and raises LockNotAcquired when a later one is.
    """

    def __init__(self, keys: EngineKeys, client: EtcdClient, fence: Fence = NO_FENCE) -> None:
        self._keys, self._client, self._fence = keys, client, fence
        self._stack = AsyncExitStack()
        self._revision: int | None = None  # of our key as we saw or wrote it; None before
        self.ledger_problem = ""
        self.notes: list[str] = []

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(self._client)
            if self._fence.token:
                await self._until_written({}, lambda document: document)
            else:
                ledger = await client.get(self._keys.ledger)
                self._revision = ledger.mod_revision if ledger else 0
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def reach(self, databases: Sequence[str]) -> None:
        """There are no databases in etcd."""

    async def run(self, steps: Sequence[PatchStep], update: LedgerUpdate) -> None:
        """Merge all patches and record them, in one etcd transaction. An engine may rewrite its key all the time, so
        losing the race is usual: read, merge and try again at once.

        Raises StepFailed, LockNotAcquired when another PgVillage wrote meanwhile.
        """
        patch: dict[str, Any] = {}
        for step in steps:
            patch = combined(patch, step.patch)
        await self._until_written(patch, lambda document: recorded(document, update))

    async def hold(self) -> None:
        """Raises LockNotAcquired when another PgVillage wrote since, or a later replica took over; nothing is written.

        What an engine does is in no transaction with our key, so this is asked just before it.
        """
        found = await self._keys.find(self._client)
        self._refuse_others(document_of(self._keys.name, found.uid, found.ledger), found)
        await self._refuse_in_turn()

    async def suspend(self, suspension: Suspension | None) -> None:
        """Note it beside the cluster; None ends it."""
        await self._until_written({}, lambda document: suspended(document, suspension))

    async def _until_written(self, patch: Mapping[str, Any], change: Changed) -> None:
        for attempt in range(_TRIES):
            if await self._swap(patch, change):
                return
            await asyncio.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - jitter, no secret
        document = self._keys.document
        raise StepFailed(f"{self._keys.name}: {document} changed {_TRIES} times while we wrote it; is etcd slow?")

    async def _swap(self, patch: Mapping[str, Any], change: Changed) -> bool:
        keys = self._keys
        found = await keys.find(self._client)
        document = document_of(keys.name, found.uid, found.ledger)
        self._refuse_others(document, found)
        puts = {keys.ledger: json.dumps(self._fenced(change(document)), sort_keys=True, ensure_ascii=False).encode()}
        expect = {keys.ledger: found.ledger_revision, turn_key(keys.ledger): 0}
        if patch:
            whole, faults = keys.patched(found.data, patch)
            if faults:
                raise StepFailed(f"{keys.name}: {keys.engine} would refuse this: {'; '.join(faults)}")
            puts[keys.data] = json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
            expect[keys.data] = found.data_revision
        if not await self._client.swap(puts, expect):
            await self._refuse_in_turn()
            return False
        written = await self._client.get(keys.ledger)
        # Anything else there now is another writer's: our place is gone with it.
        ours = written is not None and written.value == puts[keys.ledger]
        self._revision = written.mod_revision if written and ours else -1
        return True

    async def _refuse_in_turn(self) -> None:
        """Nothing is applied while the cluster hands over."""
        if whose := await turn_words(self._client, self._keys.name, turn_key(self._keys.ledger)):
            raise LockNotAcquired(whose)

    def _refuse_others(self, document: Document, found: Found) -> None:
        fence, holder = document.get("fence", 0), document.get("fenceHolder", "")
        name = self._keys.name
        if self._fence.token and fence > self._fence.token:
            raise LockNotAcquired(
                f"{name}: a later replica, {holder!r}, looks after this target (its fence is {fence}, ours "
                f"{self._fence.token}); nothing written here"
            )
        if self._revision is not None and found.ledger_revision != self._revision:
            raise LockNotAcquired(f"{name}: another PgVillage has written meanwhile; nothing written here")

    def _fenced(self, document: Document) -> Document:
        return with_fence(document, self._fence) if self._fence.token else document


def combined(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """One merge patch that does what both do one after the other; null stays, as it deletes."""
    found = dict(first)
    for name, value in then.items():
        below = found.get(name)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        found[name] = combined(below, value) if both else value  # type: ignore[arg-type]
    return found
