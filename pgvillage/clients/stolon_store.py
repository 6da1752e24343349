"""stolon's cluster in etcd: read its clusterdata, and change its spec by compare-and-swap with our ledger beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Mapping

from pgvillage.clients.engine_ledger import parse_store_ledger
from pgvillage.clients.engine_writer import EngineKeys, EngineWriter, Found, Patched
from pgvillage.clients.etcd import EtcdClient, Range
from pgvillage.core.errors import ReadError, StepFailed
from pgvillage.core.fence import NO_FENCE, Fence
from pgvillage.core.ledger import Ledger
from pgvillage.core.live import Live
from pgvillage.settings import Etcd

_TRIES = 30

UidOf = Callable[[bytes], str]
Failing = Callable[[bytes, str], bytes]


class StolonStore:
    """One stolon cluster's keys. `name` is the cluster's in the estate, `cluster` the one in etcd."""

    blind = ""
    connections = 0  # that are open between looks

    def __init__(
        self, name: str, etcd_name: str, settings: Etcd, cluster: str, skeleton: Callable[[], bytes] | None = None
    ) -> None:
        """With `skeleton` a cluster that is not there may be made: it is what a new one's clusterdata starts from."""
        self._name = name
        self._skeleton = skeleton
        self._client = EtcdClient(etcd_name, settings)
        self.prefix = f"{settings.prefix.strip('/')}/{cluster}/"
        self.data_key = f"{self.prefix}clusterdata"
        self.ledger_key = f"pgvillage/ledger/{settings.prefix.strip('/')}/{cluster}"
        self._missing = f"no stolon cluster {cluster!r} in etcd {etcd_name!r} (no key {self.data_key})"

    async def read(self, uid_of: UidOf) -> tuple[Live, Ledger]:
        """Clusterdata, the keys beside it and our ledger, of one moment. Raises ReadError when etcd or the cluster
        can't be read.

        `rows["keys"]` are name below the cluster's prefix, value, whether a lease holds it, and create revision.
        """
        async with self._client as client:
            found, ledger = await client.read_together([Range(self.prefix, prefix=True), Range(self.ledger_key)])
        keys = {each.key.removeprefix(self.prefix): each for each in found}
        data = keys.pop("clusterdata", None)
        beside = [(name, each.value, each.lease != 0, each.create_revision) for name, each in sorted(keys.items())]
        if data is None:
            if self._skeleton is None:
                raise ReadError(self._name, self._missing)
            return Live(self._name, {"clusterdata": [], "keys": beside}), Ledger()
        uid = _uid(uid_of, data.value, self._name)
        live = Live(self._name, {"clusterdata": [(data.value,)], "keys": beside})
        return live, parse_store_ledger(self._name, uid, ledger[0].value if ledger else None)

    async def _found(self, client: EtcdClient, uid_of: UidOf) -> Found:
        """Where there is no cluster and one may be made, that one, whose revision 0 no key has that exists."""
        data, ledger = await client.get(self.data_key), await client.get(self.ledger_key)
        if data is None and self._skeleton is None:
            raise ReadError(self._name, self._missing)
        beside = (ledger.value, ledger.mod_revision) if ledger else (None, 0)
        value, revision = (data.value, data.mod_revision) if data else (self._new(), 0)
        return Found(_uid(uid_of, value, self._name), value, revision, *beside)

    def _new(self) -> bytes:
        assert self._skeleton is not None
        return self._skeleton()

    async def look(self) -> Mapping[str, str]:
        """What moves with every change of the cluster's spec; the sentinel's own writes of status do not count."""
        async with self._client as client:
            data = await client.get(self.data_key)
        if data is None and self._skeleton is None:
            raise ReadError(self._name, self._missing)
        if data is None:
            return {"spec": "none yet"}
        try:
            found = json.loads(data.value)["cluster"]
            return {"spec": hashlib.sha256(json.dumps([found["uid"], found.get("spec")]).encode()).hexdigest()}
        except (ValueError, KeyError, TypeError):
            return {"spec": "not to be read"}

    async def fail_leader(self, keeper: str, failing: Failing) -> None:
        """What `stolonctl failkeeper` does, only to the keeper that leads: the sentinel elects another at its next
        look, with synchronous replication a synchronous standby. Returns once it is asked for, not once it is done.

        `failing` changes the document; it raises ValueError when that keeper leads no more. Raises StepFailed then, or
        when the answer to the write was lost (look who leads before asking again), ReadError when nothing was written.
        """
        async with self._client as client:
            for attempt in range(_TRIES):
                data = await client.get(self.data_key)
                if data is None:
                    raise ReadError(self._name, self._missing)
                try:
                    document = failing(data.value, keeper)
                except ValueError as error:
                    raise StepFailed(f"{self._name}: {error}; nothing was asked of stolon") from None
                if await client.swap({self.data_key: document}, {self.data_key: data.mod_revision}):
                    return
                await asyncio.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - jitter, no secret
        raise StepFailed(f"{self._name}: clusterdata changed {_TRIES} times while we wrote it; is etcd slow?")

    async def close(self) -> None:
        """Nothing is kept between looks."""

    def writer(self, uid_of: UidOf, patched: Patched, fence: Fence = NO_FENCE) -> EngineWriter:
        async def find(client: EtcdClient) -> Found:
            return await self._found(client, uid_of)

        keys = EngineKeys(self._name, "stolon", "clusterdata", self.data_key, self.ledger_key, find, patched)
        return EngineWriter(keys, self._client, fence)


def _uid(uid_of: UidOf, data: bytes, name: str) -> str:
    try:
        return uid_of(data)
    except ValueError as error:
        raise ReadError(name, f"stolon's clusterdata can't be read: {error}") from None
