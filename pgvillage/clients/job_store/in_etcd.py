"""Claims of runs in etcd: records without a lease, and beside them keys under the lease of whoever holds them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from pgvillage.clients.etcd.client import EtcdClient
from pgvillage.clients.etcd.codec import KeyValue
from pgvillage.clients.etcd.faults import LeaseGone
from pgvillage.clients.etcd.tenure import Tenure
from pgvillage.clients.etcd.txn import Compare, Delete, Operation, Put, Range
from pgvillage.clients.job_store.held import HeldRun
from pgvillage.clients.job_store.record import as_json, from_json
from pgvillage.core.errors import ReadError, StepFailed
from pgvillage.core.job_run import OpenRun, RunRecord, RunStatus, RunTaken
from pgvillage.core.run_key import RunKey

log = structlog.get_logger("pgvillage.jobs")

_BATCH = 40  # runs a transaction: etcd takes 128 operations, and each run is compared twice
_OPEN, _HELD, _ENDED, _CANCEL, _UNTIL = "jobs/open/", "jobs/held/", "jobs/ended/", "jobs/cancel/", "jobs/until/"


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands of one run: its record, where and at which revision, and the keys beside it."""

    record: RunRecord | None = None
    revision: int = 0
    ended: bool = False
    held: KeyValue | None = None
    cancel: str = ""


class EtcdRunStore:
    """See running.contract.RunStore. An async context; a lease of `seconds` is kept alive while a run is held."""

    def __init__(self, client: EtcdClient, prefix: str, seconds: float = 15) -> None:
        self._client, self._prefix, self._seconds = client, prefix.rstrip("/") + "/", seconds
        self._tenure = Tenure(client, seconds)
        self._claims: dict[str, HeldRun] = {}
        self._renewing = asyncio.Lock()
        self._beat: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._beat is not None:
            self._beat.cancel()
            with suppress(asyncio.CancelledError):
                await self._beat
        if self._tenure.lease:
            with suppress(ReadError, StepFailed):  # it ends by itself
                await self._client.revoke(self._tenure.lease)

    async def cursor(self, job: str, cluster: str, now: datetime) -> datetime:
        key = self._key(_UNTIL, _name(job, cluster))
        found = await self._client.get(key)
        if found is None:
            made = await self._client.txn([Compare.absent(key)], [Put(key, _until(job, cluster, now))], [Range(key)])
            if made.succeeded:
                return now
            found = await self._client.get(key)
        return _moment(found) if found is not None else now

    async def take_up(self, job: str, cluster: str, until: datetime, records: Sequence[RunRecord]) -> list[RunRecord]:
        new: list[RunRecord] = []
        for start in range(0, len(records), _BATCH):
            new += await self._note_new(records[start : start + _BATCH])
        key = self._key(_UNTIL, _name(job, cluster))
        while True:
            found = await self._client.get(key)
            if found is not None and _moment(found) >= until:
                return new
            seen = Compare(key, "MOD", found.mod_revision) if found is not None else Compare.absent(key)
            if (await self._client.txn([seen], [Put(key, _until(job, cluster, until))])).succeeded:
                return new

    async def _note_new(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Those of one transaction that are not known; tried anew without those that somebody noted meanwhile."""
        left = list(records)
        while left:
            places = [self._key(kind, record.key.id) for record in left for kind in (_OPEN, _ENDED)]
            puts = [Put(self._key(_OPEN, record.key.id), _bytes(record)) for record in left]
            if (await self._client.txn([Compare.absent(place) for place in places], puts)).succeeded:
                break
            there = await self._client.read_together([Range(place) for place in places])
            known = {kv.key.rpartition("/")[2] for kvs in there for kv in kvs}
            left = [record for record in left if record.key.id not in known]
        return left

    async def open(self, clusters: Collection[str] | None = None) -> list[OpenRun]:
        kinds = [Range(self._key(kind, ""), prefix=True) for kind in (_OPEN, _HELD, _CANCEL)]
        records, held, cancels = await self._client.read_together(kinds)
        names = {_run(kv) for kv in held}
        asked = {_run(kv): _text(kv) for kv in cancels}
        runs = [OpenRun(_with(self._record(kv), asked.get(_run(kv), "")), _run(kv) in names) for kv in records]
        return [run for run in runs if clusters is None or run.record.key.cluster in clusters]

    async def find(self, run: str) -> OpenRun | None:
        found = await self._look(run)
        return OpenRun(found.record, found.held is not None) if found.record is not None else None

    async def _look(self, run: str) -> _Found:
        kinds = (_OPEN, _ENDED, _HELD, _CANCEL)
        going, ended, held, cancel = await self._client.read_together([Range(self._key(kind, run)) for kind in kinds])
        kv = next(iter(going or ended), None)
        if kv is None:
            return _Found()
        by = _text(cancel[0]) if cancel else ""
        return _Found(_with(self._record(kv), by), kv.mod_revision, not going, next(iter(held), None), by)

    @asynccontextmanager
    async def claim(self, key: RunKey, owner: str, *, again: bool = False) -> AsyncIterator[HeldRun]:
        held = await self._claim(key, owner, again)
        self._claims[key.id] = held
        if self._beat is None or self._beat.done():
            self._beat = asyncio.create_task(self._keep())
        try:
            yield held
        finally:
            self._claims.pop(key.id, None)
            if not held.lost.is_set():
                with suppress(ReadError, StepFailed):  # its lease ends by itself
                    await asyncio.shield(self._give_up(held.record))

    async def _claim(self, key: RunKey, owner: str, again: bool) -> HeldRun:
        await self._renew()
        found = await self._look(key.id)
        if found.record is None:
            raise RunTaken(f"run {key.id} of job {key.job} is not noted", None)
        if found.held is not None:
            raise RunTaken(f"{found.record.owner} runs it", found.record)
        if found.ended and not again:
            raise RunTaken(f"it has {found.record.status.value} already", found.record)
        record = replace(found.record, token=found.record.token + 1, owner=owner)
        noted = replace(record, cancel="")
        here, hold = self._key(_ENDED if found.ended else _OPEN, key.id), self._key(_HELD, key.id)
        free = [Compare(here, "MOD", found.revision), Compare.absent(hold)]
        then: list[Operation] = [
            Put(self._key(_OPEN, key.id), _bytes(noted)),
            Put(hold, _bytes(noted), self._tenure.lease),
        ]
        if found.ended:
            then += [Delete(here), Delete(self._key(_CANCEL, key.id))]
            record = noted
        done = await self._client.txn(free, then)
        if not done.succeeded:
            raise RunTaken("somebody else took it at this moment", found.record)
        held = HeldRun(
            record,
            found.record.status,
            write=lambda fresh: self._write(fresh, done.revision),
            close=lambda fresh: self._close(fresh, done.revision),
        )
        if record.cancel:
            held.cancelled.set()
        return held

    async def _write(self, record: RunRecord, made: int) -> bool:
        ours = Compare(self._key(_HELD, record.key.id), "CREATE", made)
        return (await self._client.txn([ours], [Put(self._key(_OPEN, record.key.id), _bytes(record))])).succeeded

    async def _close(self, record: RunRecord, made: int) -> bool:
        """A run that waits for its next try stays open; one that has ended is no longer looked at."""
        run = record.key.id
        ours = Compare(self._key(_HELD, run), "CREATE", made)
        then: list[Operation] = [Delete(self._key(_HELD, run))]
        if record.status.ended:
            gone = [Delete(self._key(_OPEN, run)), Delete(self._key(_CANCEL, run))]
            then += [*gone, Put(self._key(_ENDED, run), _bytes(record))]
        else:
            then.append(Put(self._key(_OPEN, run), _bytes(record)))
        return (await self._client.txn([ours], then)).succeeded

    async def _give_up(self, record: RunRecord) -> None:
        hold = self._key(_HELD, record.key.id)
        await self._client.txn([Compare(hold, "LEASE", self._tenure.lease)], [Delete(hold)])

    async def _renew(self) -> None:
        async with self._renewing:
            if self._tenure.age < self._seconds / 5 and self._tenure.holds:
                return
            if self._tenure.lease and not self._tenure.holds and not self._claims:
                self._tenure.forget()
            try:
                await self._tenure.renew()
            except LeaseGone:
                self._lose_all()
                await self._tenure.renew()

    def _lose_all(self) -> None:
        self._tenure.forget()
        for held in self._claims.values():
            held.lost.set()
        self._claims.clear()

    async def _keep(self) -> None:
        """While runs are held. What sleeps knows at once after it that its time is over, without asking etcd."""
        while self._claims:
            await asyncio.sleep(self._seconds / 5)
            if not self._tenure.holds:
                self._lose_all()
                return
            try:
                await self._renew()
                await self._see_wishes()
            except (ReadError, StepFailed) as error:
                log.warning("claims of runs could not be renewed", error=str(error))

    async def _see_wishes(self) -> None:
        """Who asked for an end, and whether the claims stand."""
        asked = [Range(self._key(kind, ""), prefix=True) for kind in (_HELD, _CANCEL)]
        holds, cancels = await self._client.read_together(asked)
        ours = {_run(kv) for kv in holds if kv.lease == self._tenure.lease}
        wishes = {_run(kv): _text(kv) for kv in cancels}
        for run, held in list(self._claims.items()):
            if run not in ours and not held.record.status.ended:
                held.lost.set()
            elif run in wishes and not held.cancelled.is_set():
                held.record = replace(held.record, cancel=wishes[run])
                held.cancelled.set()

    async def ask_cancel(self, run: str, by: str) -> bool:
        while True:
            found = await self._look(run)
            if found.record is None or found.ended:
                return False
            place = self._key(_OPEN, run)
            seen = [Compare(place, "MOD", found.revision)]
            then: list[Operation] = [Put(self._key(_CANCEL, run), by.encode("utf-8", "replace"))]
            if found.held is None and found.record.status is RunStatus.DUE:
                why, now = f"cancelled by {by}", datetime.now(UTC)
                over = replace(found.record, status=RunStatus.CANCELLED, why=why, ended=now, cancel=by)
                seen.append(Compare.absent(self._key(_HELD, run)))
                then = [Delete(place), Put(self._key(_ENDED, run), _bytes(over)), Delete(self._key(_CANCEL, run))]
            if (await self._client.txn(seen, then)).succeeded:
                return True

    async def forget(self, before: datetime) -> int:
        gone = 0
        for kv in await self._client.get_prefix(self._key(_ENDED, "")):
            ended = self._record(kv).ended
            if ended is not None and ended < before:
                gone += await self._client.delete(kv.key)
        return gone

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}{kind}{name}"

    def _record(self, kv: KeyValue) -> RunRecord:
        try:
            return from_json(json.loads(kv.value))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ReadError("jobs in etcd", f"the key {kv.key!r} was not written by this PgVillage") from None


def _with(record: RunRecord, cancel: str) -> RunRecord:
    return replace(record, cancel=cancel) if cancel else record


def _run(kv: KeyValue) -> str:
    return kv.key.rpartition("/")[2]


def _text(kv: KeyValue) -> str:
    return kv.value.decode("utf-8", "replace")


def _bytes(record: RunRecord) -> bytes:
    return json.dumps(as_json(record), sort_keys=True).encode()


def _name(job: str, cluster: str) -> str:
    return hashlib.sha256(json.dumps([job, cluster]).encode()).hexdigest()[:32]


def _until(job: str, cluster: str, until: datetime) -> bytes:
    found = {"job": job, "cluster": cluster, "until": until.astimezone(UTC).isoformat()}
    return json.dumps(found, sort_keys=True).encode()


def _moment(kv: KeyValue) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(kv.value)["until"])
    except (ValueError, KeyError, TypeError):
        raise ReadError("jobs in etcd", f"the key {kv.key!r} was not written by this PgVillage") from None
