"""Switchover and failover of a Patroni cluster: through whichever member answers, and in Patroni's words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from pgvillage.clients.engine_turn import engine_turn
from pgvillage.clients.patroni.rest import AnswerLost, PatroniRest
from pgvillage.clients.patroni.store import PatroniStore
from pgvillage.core.errors import CredentialRefused, ReadError, StepFailed
from pgvillage.core.topology import Topology
from pgvillage.settings import PatroniApi

# Patroni looks for the outcome for twice ten seconds, or twice its loop_wait.
_SECONDS = 90
# Patroni's words when it stopped looking for the outcome before there was one.
_OPEN = "status unknown"


class PatroniEngine:
    """`store` is None for a cluster whose etcd the manifest does not name: then Patroni alone keeps two requests apart.

    `members` are URLs beside those that the topology names.
    """

    def __init__(
        self, cluster: str, api: tuple[str, PatroniApi], store: PatroniStore | None, members: Sequence[str] = ()
    ) -> None:
        self._cluster, self._api, self._store, self._members = cluster, api, store, members

    @asynccontextmanager
    async def turn(self, by: str, what: str) -> AsyncIterator[None]:
        """Raises LockNotAcquired, ReadError when etcd can't be asked."""
        if self._store is None:
            yield
            return
        async with self._store.client as client, engine_turn(client, self._cluster, self._store.ledger_key, by, what):
            yield

    async def switchover(self, seen: Topology, to: str | None) -> None:
        async def ask(rest: PatroniRest, url: str) -> str:
            return await rest.switchover(url, seen.leader, to, seconds=_SECONDS)

        await self._through_one(seen, ask)

    async def failover(self, seen: Topology, to: str | None) -> None:
        if to is None:
            raise ReadError(self._cluster, "Patroni fails over to a node that is named, and to no other")

        async def ask(rest: PatroniRest, url: str) -> str:
            return await rest.failover(url, to, seconds=_SECONDS)

        await self._through_one(seen, ask)

    async def _through_one(self, seen: Topology, ask: Callable[[PatroniRest, str], Awaitable[str]]) -> None:
        """The first that takes the request; one whose answer was lost may have passed it on, so no other is asked."""
        name, settings = self._api
        why: ReadError | CredentialRefused | None = None
        async with PatroniRest(self._cluster, name, settings) as rest:
            for url in self._urls(seen):
                try:
                    await ask(rest, url)
                except (ReadError, CredentialRefused) as error:
                    why = why or error
                    continue
                except AnswerLost:
                    return
                except StepFailed as error:
                    if _OPEN in str(error):
                        return
                    raise
                return
        raise why or ReadError(self._cluster, "no member names its REST API, and settings name none (`members`)")

    def _urls(self, seen: Topology) -> list[str]:
        """Standbys before the leader, which is about to stop."""
        nodes = sorted(seen.nodes, key=lambda node: node.name == seen.leader)
        found = [node.engine.api for node in nodes if node.engine is not None and node.engine.api]
        return list(dict.fromkeys([*found, *self._members]))
