"""The etcd client: keys, transactions, leases, watches and health of one cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Self

from pgvillage.clients.etcd.codec import KeyValue, after, encoded, integer, key_bytes, key_value, text_of
from pgvillage.clients.etcd.faults import LeaseGone
from pgvillage.clients.etcd.gateway import Gateway
from pgvillage.clients.etcd.health import EtcdHealth, EtcdStatus, look, status_of
from pgvillage.clients.etcd.txn import Compare, Operation, Put, Range, TxnAnswer, txn_answer, txn_body
from pgvillage.clients.etcd.watch import Watch, WatchAnswer
from pgvillage.core.errors import ReadError
from pgvillage.settings import Etcd


class EtcdClient:
    """One etcd cluster. Enter it as an async context manager; it may be shared by tasks of the same event loop.

    Raises ReadError when nothing was read or written, StepFailed when a write was sent and its answer was lost.
    """

    def __init__(self, name: str, settings: Etcd) -> None:
        self._gateway = Gateway(f"etcd {name}", settings)

    async def __aenter__(self) -> Self:
        """Raises SettingsError or CredentialRefused; nothing is sent yet."""
        self._gateway.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._gateway.close()

    async def get(self, key: str) -> KeyValue | None:
        """The key's newest value by a linearizable read, None when there is no such key."""
        found, _ = await self._range({"key": encoded(key)})
        return found[0] if found else None

    async def get_prefix(self, prefix: str) -> list[KeyValue]:
        """Every key that starts with `prefix`, in the order of their bytes."""
        return (await self.snapshot(prefix))[0]

    async def snapshot(self, prefix: str) -> tuple[list[KeyValue], int]:
        """Every key that starts with `prefix`, and the revision they were read at: watch from the one after it."""
        start = key_bytes(prefix) or b"\0"
        return await self._range({"key": text_of(start), "rangeEnd": text_of(after(key_bytes(prefix)))})

    async def swap(self, puts: Mapping[str, bytes], expect: Mapping[str, int]) -> bool:
        """One transaction: writes all of `puts` when every key of `expect` has that mod_revision (0: does not exist).

        False when a comparison failed; then nothing was written. Never sent twice: on StepFailed read again.
        """
        if not expect:
            raise ValueError("a swap without an expected revision would overwrite whatever is there")
        compare = [Compare(key, "MOD", revision) for key, revision in expect.items()]
        return (await self.txn(compare, [Put(key, value) for key, value in puts.items()])).succeeded

    async def txn(
        self, compare: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> TxnAnswer:
        """One transaction: `then` when every comparison holds, else `otherwise`. Never sent twice.

        Raises LeaseGone when a put names a lease that has ended, NoSpace when etcd is full; nothing was written then.
        """
        body = await self._gateway.call("kv/txn", txn_body(compare, then, otherwise), writes=True)
        try:
            return txn_answer(body)
        except (ValueError, TypeError, AttributeError, KeyError):
            raise self._strange("a transaction") from None

    async def put(self, key: str, value: bytes, lease: int = 0) -> None:
        """Writes unconditionally. Raises LeaseGone when the lease has ended."""
        body = {"key": encoded(key), "value": text_of(value)} | ({"lease": str(lease)} if lease else {})
        await self._gateway.call("kv/put", body, writes=True)

    async def delete(self, key: str) -> bool:
        """Whether there was something to delete."""
        answer = await self._gateway.call("kv/deleterange", {"key": encoded(key)}, writes=True)
        return integer(answer, "deleted") > 0

    async def grant(self, seconds: int) -> tuple[int, int]:
        """A new lease: its id, and the seconds it lasts (etcd may give more than was asked for)."""
        answer = await self._gateway.call("lease/grant", {"TTL": str(seconds)}, writes=True)
        lease = integer(answer, "ID")
        if not lease:
            raise self._strange("a request for a lease")
        return lease, integer(answer, "TTL")

    async def keep_alive(self, lease: int) -> int:
        """Renews it; the seconds it lasts, counted from some moment after this was called. Raises LeaseGone.

        A renewal may be sent to several endpoints one after the other: it does no harm to renew twice.
        """
        answer = await self._gateway.call("lease/keepalive", {"ID": str(lease)}, writes=False)
        seconds = integer(answer.get("result") or {}, "TTL")
        if seconds <= 0:
            raise LeaseGone(self._gateway.target, f"lease {lease:x} has ended")
        return seconds

    async def time_to_live(self, lease: int) -> int:
        """The seconds it still lasts. Raises LeaseGone."""
        answer = await self._gateway.call("lease/timetolive", {"ID": str(lease)}, writes=False)
        seconds = integer(answer, "TTL")
        if seconds < 0 or not integer(answer, "grantedTTL"):
            raise LeaseGone(self._gateway.target, f"lease {lease:x} has ended")
        return seconds

    async def revoke(self, lease: int) -> bool:
        """Ends it, and every key bound to it goes. False when it had ended before."""
        try:
            await self._gateway.call("lease/revoke", {"ID": str(lease)}, writes=True)
        except LeaseGone:
            return False
        return True

    def watch(
        self, key: str, start: int, *, prefix: bool = False, silence: float = 60
    ) -> AsyncGenerator[WatchAnswer, None]:
        """Tells what happened to the key from revision `start` on; see Watch. Use it in `aclosing`."""
        return Watch(self._gateway, key, start, prefix=prefix, silence=silence).answers()

    async def status(self) -> EtcdStatus:
        """What the first member that answers says of itself."""
        answer = await self._gateway.answer("maintenance/status", {}, writes=False)
        return status_of(answer.endpoint, answer.body)

    async def health(self) -> EtcdHealth:
        """What every endpoint says of itself, and what the cluster says of its members. Never raises ReadError."""
        return await look(self._gateway)

    async def read_together(self, keys: Sequence[Range]) -> list[list[KeyValue]]:
        """What stands in all of these at one revision, in their order.

        No transaction: a full etcd refuses these, also such as only read.
        """
        found, revision = await self._range(keys[0].span())
        rest = [self._range(each.span() | {"revision": str(revision)}) for each in keys[1:]]
        return [found, *(entries for entries, _ in await asyncio.gather(*rest))]

    async def _range(self, body: Mapping[str, object]) -> tuple[list[KeyValue], int]:
        answer = await self._gateway.call("kv/range", body, writes=False)
        try:
            return [key_value(each) for each in answer.get("kvs", ())], integer(answer.get("header") or {}, "revision")
        except (ValueError, TypeError, AttributeError):
            raise self._strange("a range request") from None

    def _strange(self, what: str) -> ReadError:
        return ReadError(self._gateway.target, f"the answer to {what} is not one of etcd's")
