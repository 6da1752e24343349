"""A stolon cluster's keys in a real etcd while sentinels rewrite them: nothing of theirs or ours is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pgvillage.clients.etcd import EtcdClient
from pgvillage.clients.stolon_store import StolonStore
from pgvillage.core.address import Address
from pgvillage.core.errors import LockNotAcquired, ReadError, StepFailed
from pgvillage.core.ledger import LedgerEntry, LedgerUpdate
from pgvillage.core.step import PatchStep
from pgvillage.resources.stolon.desired import cluster_uid, patched
from pgvillage.resources.stolon.failing import failing_leader
from pgvillage.resources.stolon.initial import skeleton
from pgvillage.resources.stolon.nodes import parse_presence
from pgvillage.settings import Etcd
from tests.servers.etcd import EtcdServer, running_etcd

KEY = "stolon/cluster/demo/clusterdata"
FIXTURE = Path(__file__).parents[1] / "fixtures" / "stolon" / "clusterdata-three-keepers-sync.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as found:
        yield found


@pytest.fixture
async def etcd(server: EtcdServer) -> AsyncIterator[EtcdClient]:
    """Emptied, with the real cluster data in it."""
    async with EtcdClient("test", Etcd(endpoints=[server.url])) as client:
        server.ctl("del", "", "--prefix")
        await client.put(KEY, FIXTURE.read_bytes())
        yield client


def store(server: EtcdServer, **more: Any) -> StolonStore:
    return StolonStore("c", "test", Etcd(endpoints=[server.url]), "demo", **more)


def update(name: str) -> tuple[LedgerUpdate, Address]:
    address = Address("c", "stolon", ("parameter", name))
    return LedgerUpdate({address: LedgerEntry(wish="w", made=True, revision="r1")}, "r1"), address


async def document(client: EtcdClient) -> dict[str, Any]:
    found = await client.get(KEY)
    assert found is not None
    return dict(json.loads(found.value))


@asynccontextmanager
async def sentinel(client: EtcdClient, pause: float) -> AsyncIterator[list[int]]:
    """Rewrites the key by compare-and-swap as the sentinel does, only more often; gives what it wrote last."""
    written = [0]

    async def rewrite() -> None:
        while True:
            found = await client.get(KEY)
            assert found is not None
            whole = json.loads(found.value)
            whole["cluster"]["generation"] = written[0] + 1
            if await client.swap({KEY: json.dumps(whole).encode()}, {KEY: found.mod_revision}):
                written[0] += 1
            await asyncio.sleep(pause)

    task = asyncio.create_task(rewrite())
    try:
        yield written
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("pause", [1.0, 0.02])
async def test_a_write_wins_against_a_sentinel(server: EtcdServer, etcd: EtcdClient, pause: float) -> None:
    async with sentinel(etcd, pause) as written:
        async with store(server).writer(cluster_uid, patched) as writer:
            for number in range(20):
                note, _ = update(f"p{number}")
                await writer.run([PatchStep((), {"pgParameters": {f"x.p{number}": str(number)}})], note)
        found = await document(etcd)
        assert found["cluster"]["generation"] in (written[0], written[0] + 1)
    names = {name for name in found["cluster"]["spec"]["pgParameters"] if name.startswith("x.")}
    assert names == {f"x.p{number}" for number in range(20)}
    _, ledger = await store(server).read(cluster_uid)
    assert len(ledger.entries) == 20


async def test_of_several_writers_each_that_says_done_is_there(server: EtcdServer, etcd: EtcdClient) -> None:
    """Who is late is told so, and has written nothing: neither to the cluster nor to the ledger."""
    done: set[str] = set()

    async def write(name: str) -> None:
        note, _ = update(name)
        try:
            async with store(server).writer(cluster_uid, patched) as writer:
                await asyncio.sleep(0.01)
                await writer.run([PatchStep((), {"pgParameters": {f"x.{name}": "1"}})], note)
                done.add(name)
        except LockNotAcquired:
            pass

    async with sentinel(etcd, 0.02), asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(write(f"w{number}"))
        await asyncio.sleep(2)
    assert done
    spec = (await document(etcd))["cluster"]["spec"]
    assert {name.removeprefix("x.") for name in spec["pgParameters"] if name.startswith("x.")} == done
    _, ledger = await store(server).read(cluster_uid)
    assert {address.name[1] for address in ledger.entries} == done


async def test_a_cluster_is_made_once(server: EtcdServer, etcd: EtcdClient) -> None:
    await etcd.delete(KEY)
    with pytest.raises(ReadError, match="no stolon cluster 'demo'"):
        await store(server).read(cluster_uid)
    live, _ = await store(server, skeleton=skeleton).read(cluster_uid)
    assert live.rows["clusterdata"] == []
    first, second = store(server, skeleton=skeleton), store(server, skeleton=skeleton)
    note, _ = update("work_mem")
    step = PatchStep((), {"initMode": "new", "pgParameters": {"work_mem": "1MB"}})
    async with first.writer(cluster_uid, patched) as one, second.writer(cluster_uid, patched) as two:
        await one.run([step], note)
        with pytest.raises(LockNotAcquired):
            await two.run([PatchStep((), {"initMode": "new"})], note)
    found = await document(etcd)
    assert found["cluster"]["status"] == {"phase": "initializing"}
    assert found["cluster"]["spec"] == {"initMode": "new", "pgParameters": {"work_mem": "1MB"}}
    _, ledger = await store(server).read(cluster_uid)
    assert ledger.entries


async def test_what_stolon_would_refuse_is_not_made(server: EtcdServer, etcd: EtcdClient) -> None:
    await etcd.delete(KEY)
    note, _ = update("x")
    with pytest.raises(StepFailed, match="initMode is missing"):
        async with store(server, skeleton=skeleton).writer(cluster_uid, patched) as writer:
            await writer.run([PatchStep((), {"failInterval": "5s"})], note)
    assert await etcd.get(KEY) is None


async def test_the_leader_is_to_be_replaced(server: EtcdServer, etcd: EtcdClient) -> None:
    before = await document(etcd)
    async with sentinel(etcd, 0.02):
        await store(server).fail_leader("keeper3", failing_leader)
    after = await document(etcd)
    assert after["keepers"]["keeper3"]["status"].pop("forceFail") is True
    assert after["keepers"] == before["keepers"]
    assert after["dbs"] == before["dbs"]
    with pytest.raises(StepFailed, match="keeper3 does"):
        await store(server).fail_leader("keeper1", failing_leader)


async def test_keys_beside_it(server: EtcdServer, etcd: EtcdClient) -> None:
    lease, _ = await etcd.grant(60)
    await etcd.put("stolon/cluster/demo/keepers/info/keeper1", b"{}", lease)
    await etcd.put("stolon/cluster/demo/keepers/info/dead", b"{}")
    await etcd.put("stolon/cluster/demo/sentinel-leader/1f", b"s1", lease)
    await etcd.put("stolon/cluster/demo2/keepers/info/foreign", b"{}", lease)
    live, _ = await store(server).read(cluster_uid)
    found = parse_presence(live.rows["keys"])
    assert (found.keepers, found.leading_sentinel) == (frozenset({"keeper1"}), "s1")
