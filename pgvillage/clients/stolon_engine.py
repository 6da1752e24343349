"""Switchover and failover of a stolon cluster: the leader is taken for failed, and the sentinel elects another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pgvillage.clients.engine_turn import engine_turn
from pgvillage.clients.etcd import EtcdClient
from pgvillage.clients.stolon_store import Failing, StolonStore
from pgvillage.core.errors import ReadError
from pgvillage.core.topology import Topology


class StolonEngine:
    """stolon knows no other handover than this one, and can't be told to whom. With synchronous replication its
    sentinel elects a synchronous standby alone: then nothing acknowledged is lost.
    """

    def __init__(self, cluster: str, store: StolonStore, client: EtcdClient, failing: Failing) -> None:
        self._cluster, self._store, self._client, self._failing = cluster, store, client, failing

    @asynccontextmanager
    async def turn(self, by: str, what: str) -> AsyncIterator[None]:
        """Raises LockNotAcquired, ReadError when etcd can't be asked."""
        async with self._client as client, engine_turn(client, self._cluster, self._store.ledger_key, by, what):
            yield

    async def switchover(self, seen: Topology, to: str | None) -> None:
        """Returns once stolon is asked; who takes over, the nodes tell."""
        await self._fail(seen, to)

    async def failover(self, seen: Topology, to: str | None) -> None:
        """The same: stolon elects whoever has most, or a synchronous standby."""
        await self._fail(seen, to)

    async def _fail(self, seen: Topology, to: str | None) -> None:
        if not seen.leader:
            raise ReadError(self._cluster, "stolon names no leader that it could replace")
        node = seen.node(to) if to is not None else None
        if seen.synchronous and to is not None and (node is None or not node.engine or not node.engine.synchronous):
            raise ReadError(self._cluster, f"stolon would not promote {to!r}, which is not synchronous")
        await self._store.fail_leader(seen.leader, self._failing)
