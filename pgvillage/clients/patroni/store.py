"""What Patroni keeps of a cluster in etcd, read as of one moment, with our ledger beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pgvillage.clients.engine_writer import EngineKeys, EngineWriter, Found, Patched
from pgvillage.clients.etcd import EtcdClient, KeyValue, Range
from pgvillage.core.errors import ReadError
from pgvillage.core.fence import NO_FENCE, Fence
from pgvillage.settings import Etcd


@dataclass(frozen=True, slots=True)
class KeysFound:
    """`values` by the keys' names below the cluster's own (`config`, `members/NAME`); `config` and `ledger` whole."""

    values: Mapping[str, bytes]
    config: KeyValue | None
    ledger: KeyValue | None


class PatroniStore:
    """One Patroni cluster's keys. `name` is the cluster's in the estate, `scope` Patroni's name of it."""

    blind = ""
    connections = 0  # that are open between looks

    def __init__(self, name: str, etcd_name: str, settings: Etcd, scope: str) -> None:
        self._name = name
        self.client = EtcdClient(etcd_name, settings)
        prefix = settings.patroni_prefix.strip("/")
        self.base = f"/{prefix}/{scope}/"
        self.ledger_key = f"pgvillage/ledger/{prefix}/{scope}"
        self._missing = (
            f"no Patroni cluster {scope!r} in etcd {etcd_name!r} (no key {self.base}config); expected ha.cluster to be "
            "Patroni's scope, and patroniPrefix its namespace"
        )

    async def read(self) -> KeysFound:
        """Raises ReadError when etcd can't be read, or knows no such cluster."""
        async with self.client as client:
            return await self.found(client)

    async def found(self, client: EtcdClient) -> KeysFound:
        """All keys at one revision of etcd."""
        keys, ledger = await client.read_together([Range(self.base, prefix=True), Range(self.ledger_key)])
        values = {each.key.removeprefix(self.base): each for each in keys}
        if "config" not in values:
            raise ReadError(self._name, self._missing)
        return KeysFound(
            {key: each.value for key, each in values.items()}, values["config"], ledger[0] if ledger else None
        )

    async def look(self) -> Mapping[str, str]:
        """What moves with every change of the configuration, and when another leads; positions do not count."""
        values = (await self.read()).values
        told = [values.get(key, b"").decode(errors="replace") for key in ("config", "initialize", "leader")]
        told += sorted(key for key in values if key.startswith("members/"))
        return {"spec": hashlib.sha256(json.dumps(told).encode()).hexdigest()}

    async def close(self) -> None:
        """Nothing is kept between looks."""

    def writer(self, patched: Patched, fence: Fence = NO_FENCE) -> EngineWriter:
        """Of the configuration; what else is in the plan needs the members' REST API."""
        keys = EngineKeys(
            self._name, "Patroni", "its configuration", f"{self.base}config", self.ledger_key, self._both, patched
        )
        return EngineWriter(keys, self.client, fence)

    async def _both(self, client: EtcdClient) -> Found:
        found = await self.found(client)
        assert found.config is not None
        beside = (found.ledger.value, found.ledger.mod_revision) if found.ledger else (None, 0)
        uid = system_of(found.values)
        return Found(uid, found.config.value, found.config.mod_revision, *beside)


def system_of(values: Mapping[str, bytes]) -> str:
    """The cluster's system identifier, which tells it from others that had its name; "" before it is initialised."""
    return values.get("initialize", b"").decode(errors="replace")[:200]
