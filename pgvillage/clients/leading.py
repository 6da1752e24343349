"""Asking etcd who leads a cluster: once with every node's address, and cheaply whether it is still the same."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from pgvillage.clients.etcd import EtcdClient, KeyValue
from pgvillage.core.errors import ReadError
from pgvillage.core.leadership import EngineKeys, Kept, Leadership
from pgvillage.settings import Etcd


class StateUnusable(ReadError):
    """Etcd answered, and what it holds of the cluster is nothing to go by."""


class Lead:
    """An async context; `cluster` is the name in the estate. May be entered again after it was left."""

    def __init__(self, cluster: str, etcd_name: str, settings: Etcd, keys: EngineKeys) -> None:
        self._cluster, self._etcd, self._keys = cluster, etcd_name, keys
        self._client = EtcdClient(etcd_name, settings)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def ask(self) -> Leadership:
        """Raises ReadError when etcd can't be asked, StateUnusable when its answer is no good."""
        keys = self._keys
        if keys.whole:
            found = await self._client.get_prefix(keys.prefix)
        else:
            found = [each for each in [await self._client.get(f"{keys.prefix}{keys.leader_key}")] if each]
        if not found:
            raise StateUnusable(
                self._cluster, f"no {keys.engine} cluster in etcd {self._etcd!r} (nothing at {keys.prefix})"
            )
        try:
            return keys.leadership_of({each.key.removeprefix(keys.prefix): _kept(each) for each in found})
        except ValueError as error:
            raise self._unusable(error) from None

    async def term(self) -> str:
        """The term of whoever leads now, by one key alone. Raises as `ask`."""
        found = await self._client.get(f"{self._keys.prefix}{self._keys.leader_key}")
        try:
            return self._keys.term_of(_kept(found) if found else None)
        except ValueError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: ValueError) -> StateUnusable:
        return StateUnusable(
            self._cluster, f"the state of {self._keys.engine} in etcd {self._etcd!r} is nothing to go by: {error}"
        )


def _kept(found: KeyValue) -> Kept:
    return Kept(found.value, found.create_revision)
