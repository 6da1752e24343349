"""A cluster's turn in etcd: one switchover at a time, and no apply to the engine meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from pgvillage.clients.etcd import Compare, EtcdClient, LeaseGone, Put
from pgvillage.core.errors import LockNotAcquired, PgVillageError

# So long a killed command keeps others waiting; it is renewed three times as often.
_SECONDS = 30
_TRIES = 20
_LONGEST = 200  # characters of what another one wrote


def turn_key(ledger_key: str) -> str:
    return ledger_key.replace("pgvillage/ledger/", "pgvillage/turn/", 1)


@asynccontextmanager
async def engine_turn(client: EtcdClient, cluster: str, ledger_key: str, by: str, what: str) -> AsyncIterator[None]:
    """The turn, from an entered client. It ends with the context, and some seconds after a kill -9.

    Writers that began before it refuse to go on: the ledger's key is written anew. Raises LockNotAcquired.
    """
    lease, seconds = await client.grant(_SECONDS)
    key = turn_key(ledger_key)
    try:
        said = {"by": by, "what": what, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        value = json.dumps(said, ensure_ascii=False).encode()
        taken = await client.txn([Compare.absent(key)], [Put(key, value, lease)])
        if not taken.succeeded:
            raise LockNotAcquired(await turn_words(client, cluster, key) or f"{cluster}: somebody else has the turn")
        await _touch(client, cluster, ledger_key)
        renewal = asyncio.create_task(_renew(client, lease, seconds / 3))
        try:
            yield
        finally:
            renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewal
    finally:
        # What can't be ended now ends by itself.
        with contextlib.suppress(PgVillageError):
            await client.revoke(lease)


async def turn_words(client: EtcdClient, cluster: str, key: str) -> str:
    """Who has the turn, "" when nobody has."""
    found = await client.get(key)
    if found is None:
        return ""
    try:
        said = json.loads(found.value)
        by, what, since = (str(said[name])[:_LONGEST] for name in ("by", "what", "since"))
    except (ValueError, KeyError, TypeError):
        by, what, since = "somebody", "a switchover", "?"
    return (
        f"{cluster}: {what} by {by} is under way since {since}; nothing done here. If that command was killed, its "
        f"turn ends within {_SECONDS} seconds"
    )


async def _touch(client: EtcdClient, cluster: str, ledger_key: str) -> None:
    for _ in range(_TRIES):
        ledger = await client.get(ledger_key)
        if ledger is None or await client.swap({ledger_key: ledger.value}, {ledger_key: ledger.mod_revision}):
            return
    raise LockNotAcquired(f"{cluster}: an apply is writing all the time; nothing done here")


async def _renew(client: EtcdClient, lease: int, every: float) -> None:
    """Tried again while etcd is away; a turn that was lost can't be had back."""
    while True:
        await asyncio.sleep(every)
        try:
            await client.keep_alive(lease)
        except LeaseGone:
            return
        except PgVillageError:
            continue
