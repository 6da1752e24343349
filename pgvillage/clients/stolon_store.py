"""stolon's cluster in etcd: read its clusterdata, and change its spec by compare-and-swap with our ledger beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from pgvillage.clients.etcd import EtcdClient
from pgvillage.clients.stolon_ledger import Document, document_of, parse_store_ledger, recorded, suspended, with_fence
from pgvillage.core.errors import LockNotAcquired, ReadError, StepFailed
from pgvillage.core.fence import NO_FENCE, Fence
from pgvillage.core.ledger import Ledger, LedgerUpdate
from pgvillage.core.live import Live
from pgvillage.core.status import Suspension
from pgvillage.core.step import PatchStep
from pgvillage.settings import Etcd

_TRIES = 30

Patched = Callable[[bytes, Mapping[str, Any]], tuple[dict[str, Any], list[str]]]
UidOf = Callable[[bytes], str]
Changed = Callable[[Document], Document]


class StolonStore:
    """One stolon cluster's keys. `name` is the cluster's in the estate, `cluster` the one in etcd."""

    blind = ""
    connections = 0  # that are open between looks

    def __init__(self, name: str, etcd_name: str, settings: Etcd, cluster: str) -> None:
        self._name = name
        self._client = EtcdClient(etcd_name, settings)
        self.data_key = f"{settings.prefix.strip('/')}/{cluster}/clusterdata"
        self.ledger_key = f"pgvillage/ledger/{settings.prefix.strip('/')}/{cluster}"
        self._missing = f"no stolon cluster {cluster!r} in etcd {etcd_name!r} (no key {self.data_key})"

    async def read(self, uid_of: UidOf) -> tuple[Live, Ledger]:
        """Clusterdata and our ledger. Raises ReadError when etcd or the cluster can't be read."""
        async with self._client as client:
            data, ledger, _ = await self._both(client)
            uid = _uid(uid_of, data, self._name)
            return Live(self._name, {"clusterdata": [(data,)]}), parse_store_ledger(self._name, uid, ledger)

    async def _both(self, client: EtcdClient) -> tuple[bytes, bytes | None, tuple[int, int]]:
        data, ledger = await client.get(self.data_key), await client.get(self.ledger_key)
        if data is None:
            raise ReadError(self._name, self._missing)
        return data.value, ledger.value if ledger else None, (data.mod_revision, ledger.mod_revision if ledger else 0)

    async def look(self) -> Mapping[str, str]:
        """What moves with every change of the cluster's spec; the sentinel's own writes of status do not count."""
        async with self._client as client:
            data, _, _ = await self._both(client)
        try:
            found = json.loads(data)["cluster"]
            return {"spec": hashlib.sha256(json.dumps([found["uid"], found.get("spec")]).encode()).hexdigest()}
        except (ValueError, KeyError, TypeError):
            return {"spec": "not to be read"}

    async def close(self) -> None:
        """Nothing is kept between looks."""

    def writer(self, uid_of: UidOf, patched: Patched, fence: Fence = NO_FENCE) -> StolonWriter:
        return StolonWriter(self, self._client, self._name, (uid_of, patched), fence)


class StolonWriter:
    """An async context. Our own key is the lock: whoever writes it first makes every other writer refuse.

    A replica's fence stands in that key; entering writes it there, and raises LockNotAcquired when a later one is.
    """

    def __init__(
        self, store: StolonStore, client: EtcdClient, name: str, functions: tuple[UidOf, Patched], fence: Fence
    ) -> None:
        self._store, self._client, self._name = store, client, name
        self._uid_of, self._patched = functions
        self._fence = fence
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
                ledger = await client.get(self._store.ledger_key)
                self._revision = ledger.mod_revision if ledger else 0
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def reach(self, databases: Sequence[str]) -> None:
        """There are no databases in etcd."""

    async def run(self, steps: Sequence[PatchStep], update: LedgerUpdate) -> None:
        """Merge all patches and record them, in one etcd transaction. The sentinel rewrites the key all the time, so
        losing the race is usual: read, merge and try again at once.

        Raises StepFailed, LockNotAcquired when another PgVillage wrote meanwhile.
        """
        patch: dict[str, Any] = {}
        for step in steps:
            for name, value in step.patch.items():
                patch[name] = {**patch.get(name, {}), **value} if isinstance(value, Mapping) else value
        await self._until_written(patch, lambda document: recorded(document, update))

    async def suspend(self, suspension: Suspension | None) -> None:
        """Note it beside the cluster; None ends it."""
        await self._until_written({}, lambda document: suspended(document, suspension))

    async def _until_written(self, patch: Mapping[str, Any], change: Changed) -> None:
        for attempt in range(_TRIES):
            if await self._swap(patch, change):
                return
            await asyncio.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - jitter, no secret
        raise StepFailed(f"{self._name}: clusterdata changed {_TRIES} times while we wrote it; is etcd slow?")

    async def _swap(self, patch: Mapping[str, Any], change: Changed) -> bool:
        store = self._store
        data, ledger, (data_revision, ledger_revision) = await store._both(self._client)  # noqa: SLF001 - one class in two
        document = document_of(self._name, _uid(self._uid_of, data, self._name), ledger)
        self._refuse_later(document)
        if self._revision is not None and ledger_revision != self._revision:
            raise LockNotAcquired(f"{self._name}: another PgVillage has written meanwhile; nothing written here")
        puts = {
            store.ledger_key: json.dumps(self._fenced(change(document)), sort_keys=True, ensure_ascii=False).encode()
        }
        expect = {store.ledger_key: ledger_revision}
        if patch:
            whole, faults = self._patched(data, patch)
            if faults:
                raise StepFailed(f"{self._name}: stolon would refuse this: {'; '.join(faults)}")
            puts[store.data_key] = json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
            expect[store.data_key] = data_revision
        if not await self._client.swap(puts, expect):
            return False
        written = await self._client.get(store.ledger_key)
        # Anything else there now is another writer's: our place is gone with it.
        ours = written is not None and written.value == puts[store.ledger_key]
        self._revision = written.mod_revision if written and ours else -1
        return True

    def _refuse_later(self, document: Document) -> None:
        found, holder = document.get("fence", 0), document.get("fenceHolder", "")
        if self._fence.token and found > self._fence.token:
            raise LockNotAcquired(
                f"{self._name}: a later replica, {holder!r}, looks after this target (its fence is {found}, ours "
                f"{self._fence.token}); nothing written here"
            )

    def _fenced(self, document: Document) -> Document:
        return with_fence(document, self._fence) if self._fence.token else document


def _uid(uid_of: UidOf, data: bytes, name: str) -> str:
    try:
        return uid_of(data)
    except ValueError as error:
        raise ReadError(name, f"stolon's clusterdata can't be read: {error}") from None
