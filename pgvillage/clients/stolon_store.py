"""stolon's cluster in etcd: read its clusterdata, and change its spec by compare-and-swap with our ledger beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any, Self

from pgvillage.clients.etcd import EtcdClient
from pgvillage.clients.pg_ledger import FORMAT, ledger_key
from pgvillage.core.address import parse_address
from pgvillage.core.errors import LockNotAcquired, ReadError, StepFailed
from pgvillage.core.ledger import Ledger, LedgerEntry, LedgerUpdate
from pgvillage.core.live import Live
from pgvillage.core.step import PatchStep
from pgvillage.settings import Etcd

_TRIES = 30

Patched = Callable[[bytes, Mapping[str, Any]], tuple[dict[str, Any], list[str]]]
UidOf = Callable[[bytes], str]


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

    def writer(self, uid_of: UidOf, patched: Patched) -> StolonWriter:
        return StolonWriter(self, self._client, self._name, uid_of, patched)


class StolonWriter:
    """An async context. Our own key is the fence: whoever writes it first makes every other writer refuse."""

    def __init__(self, store: StolonStore, client: EtcdClient, name: str, uid_of: UidOf, patched: Patched) -> None:
        self._store, self._client, self._name = store, client, name
        self._uid_of, self._patched = uid_of, patched
        self._stack = AsyncExitStack()
        self._fence = 0
        self.ledger_problem = ""
        self.notes: list[str] = []

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(self._client)
            ledger = await client.get(self._store.ledger_key)
            self._fence = ledger.mod_revision if ledger else 0
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
        for attempt in range(_TRIES):
            if await self._swap(patch, update):
                return
            await asyncio.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - jitter, no secret
        raise StepFailed(f"{self._name}: clusterdata changed {_TRIES} times while we wrote it; is etcd slow?")

    async def _swap(self, patch: Mapping[str, Any], update: LedgerUpdate) -> bool:
        store = self._store
        data, ledger, (data_revision, ledger_revision) = await store._both(self._client)  # noqa: SLF001 - one class in two
        if ledger_revision != self._fence:
            raise LockNotAcquired(f"{self._name}: another PgVillage has written meanwhile; nothing written here")
        puts = {store.ledger_key: _written(self._uid_of(data), ledger, update)}
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
        # Anything else there now is another writer's: our fence is gone with it.
        ours = written is not None and written.value == puts[store.ledger_key]
        self._fence = written.mod_revision if written and ours else -1
        return True


def _uid(uid_of: UidOf, data: bytes, name: str) -> str:
    try:
        return uid_of(data)
    except ValueError as error:
        raise ReadError(name, f"stolon's clusterdata can't be read: {error}") from None


def parse_store_ledger(cluster: str, uid: str, data: bytes | None) -> Ledger:
    """The ledger beside a stolon cluster; it belongs to the cluster with this uid alone."""
    if data is None:
        return Ledger()
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            return Ledger(why_not=f"the ledger has format {document['format']!r}; this PgVillage knows {FORMAT}")
        if document["system"] != uid:
            return Ledger(why_not="the ledger was written for another cluster of this name")
        entries = {parse_address(f"{cluster}/{key}"): _entry(row) for key, row in document["entries"].items()}
        return Ledger(usable=True, why_not="", revision=document["revision"], entries=entries)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Ledger(why_not=f"the ledger can't be read: {error!r}")


def _entry(row: Mapping[str, Any]) -> LedgerEntry:
    since = row.get("disabled_since")
    return LedgerEntry(
        wish=str(row["wish"]),
        made=bool(row["made"]),
        revision=str(row.get("revision", "")),
        directory=str(row.get("directory", "")),
        disabled_since=datetime.fromisoformat(since) if since else None,
    )


def _written(uid: str, old: bytes | None, update: LedgerUpdate) -> bytes:
    document = json.loads(old) if old else {}
    entries = dict(document.get("entries", {})) if document.get("system") == uid else {}
    for address, entry in update.rows.items():
        if entry is None:
            entries.pop(ledger_key(address), None)
        else:
            entries[ledger_key(address)] = {"wish": entry.wish, "made": entry.made, "revision": entry.revision}
    whole = {"format": FORMAT, "system": uid, "revision": update.revision, "entries": entries}
    return json.dumps(whole, sort_keys=True, ensure_ascii=False).encode()
