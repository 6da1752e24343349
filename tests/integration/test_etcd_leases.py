"""Leases, transactions, watches and health of etcd: one real server, and a cluster that loses members."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from pgvillage.clients.etcd import (
    Compare,
    Delete,
    EtcdClient,
    Events,
    Interrupted,
    LeaseGone,
    NoSpace,
    Put,
    Range,
    Resync,
    WatchAnswer,
)
from pgvillage.core.errors import ReadError, StepFailed
from tests.integration.test_etcd import PASSWORD, client_of
from tests.servers import free_port
from tests.servers.etcd import EtcdCluster, EtcdServer, running_cluster, running_etcd


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[EtcdClient]:
    async with client_of(etcd.url) as opened:
        etcd.ctl("del", "--prefix", "")
        yield opened


# Leases


async def test_a_lease_lives_while_it_is_renewed_and_takes_its_keys_along(client: EtcdClient) -> None:
    lease, seconds = await client.grant(60)
    assert seconds == 60
    await client.put("bound", b"1", lease)
    assert await client.keep_alive(lease) == 60
    assert 0 < await client.time_to_live(lease) <= 60
    found = await client.get("bound")
    assert found is not None
    assert found.lease == lease
    assert await client.revoke(lease)
    assert await client.get("bound") is None


async def test_a_lease_that_is_gone_is_told_by_every_call(client: EtcdClient) -> None:
    lease, _ = await client.grant(60)
    assert await client.revoke(lease)
    assert not await client.revoke(lease)
    for call in (
        client.keep_alive(lease),
        client.time_to_live(lease),
        client.put("a", b"", lease),
        client.txn([Compare.absent("a")], [Put("a", b"", lease)]),
    ):
        with pytest.raises(LeaseGone, match="lease"):
            await call
    assert await client.get("a") is None


async def test_a_lease_ends_by_itself(client: EtcdClient) -> None:
    lease, _ = await client.grant(1)
    await client.put("bound", b"1", lease)
    async with asyncio.timeout(20):
        while await client.get("bound"):
            await asyncio.sleep(0.1)
    with pytest.raises(LeaseGone):
        await client.keep_alive(lease)


# Transactions


async def test_each_comparison_holds_and_fails_as_it_says(client: EtcdClient) -> None:
    lease, _ = await client.grant(60)
    await client.put("a", b"1")
    await client.put("a", b"2", lease)
    at = await client.get("a")
    assert at is not None
    assert at.version == 2
    holds = [
        Compare("a", "VERSION", 2), Compare("a", "CREATE", at.create_revision), Compare("a", "MOD", at.mod_revision),
        Compare("a", "LEASE", lease), Compare("a", "VALUE", b"2"), Compare("a", "VERSION", 1, "GREATER"),
        Compare("a", "MOD", 1, "NOT_EQUAL"), Compare.absent("b"), Compare.absent("b/", prefix=True),
    ]  # fmt: skip
    fails = [
        Compare("a", "VERSION", 1), Compare("a", "CREATE", at.mod_revision), Compare("a", "MOD", at.create_revision),
        Compare("a", "LEASE", 0), Compare("a", "VALUE", b"1"), Compare("a", "VERSION", 2, "LESS"),
        Compare.absent("a"), Compare.absent("", prefix=True),
    ]  # fmt: skip
    assert (await client.txn(holds, [])).succeeded
    for compare in fails:
        assert not (await client.txn([compare], [Delete("a")])).succeeded, compare
    assert await client.get("a") == at


async def test_both_branches_answer_in_their_order(client: EtcdClient) -> None:
    lease, _ = await client.grant(60)
    compare, then = [Compare.absent("claim")], [Put("claim", b"one", lease), Range("none"), Delete("old/", prefix=True)]
    await client.put("old/1", b"")
    await client.put("old/2", b"")
    done = await client.txn(compare, then, [Range("claim")])
    assert done.succeeded
    assert done.results[1:] == ((), 2)
    late = await client.txn(compare, then, [Range("claim")])
    assert not late.succeeded
    found = late.found()
    assert found is not None
    assert (found.value, found.lease, found.create_revision) == (b"one", lease, done.revision)


# Watches


async def nexts(watch: AsyncIterator[WatchAnswer], count: int) -> list[tuple[bool, str, bytes]]:
    """So many events, whatever else is told on the way."""
    found: list[tuple[bool, str, bytes]] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            answer = await anext(watch)
            assert not isinstance(answer, Resync)
            if isinstance(answer, Events):
                found += [(event.deleted, event.kv.key, event.kv.value) for event in answer.events]
    return found


async def test_a_watch_tells_what_was_and_what_comes(client: EtcdClient) -> None:
    _, at = await client.snapshot("w/")
    await client.put("w/a", b"1")
    async with aclosing(client.watch("w/", at + 1, prefix=True)) as watch:
        assert await nexts(watch, 1) == [(False, "w/a", b"1")]
        await client.put("other", b"")
        await client.put("w/b", b"2")
        await client.delete("w/a")
        assert await nexts(watch, 2) == [(False, "w/b", b"2"), (True, "w/a", b"")]


async def test_a_watch_that_is_silent_is_opened_again_and_loses_nothing(client: EtcdClient, etcd: EtcdServer) -> None:
    _, at = await client.snapshot("s/")
    async with client_of(etcd.url) as own, aclosing(own.watch("s/", at + 1, prefix=True, silence=0.2)) as watch:
        told = asyncio.create_task(nexts(watch, 20))
        for number in range(20):
            await client.put(f"s/{number}", b"")
            await asyncio.sleep(0.3 if number % 5 == 0 else 0)
        assert [key for _, key, _ in await told] == [f"s/{number}" for number in range(20)]


async def test_a_watch_from_a_forgotten_revision_asks_to_read_again(client: EtcdClient, etcd: EtcdServer) -> None:
    for _ in range(5):
        await client.put("c", b"")
    now = (await client.status()).revision
    etcd.ctl("compact", str(now))
    async with aclosing(client.watch("c", now - 3)) as watch:
        async with asyncio.timeout(20):
            assert [answer async for answer in watch] == [Resync(now)]


async def test_a_watch_finds_another_endpoint(client: EtcdClient, etcd: EtcdServer) -> None:
    _, at = await client.snapshot("e")
    await client.put("e", b"1")
    dead = f"http://127.0.0.1:{free_port()}"
    async with client_of(dead, etcd.url) as own, aclosing(own.watch("e", at + 1)) as watch:
        async with asyncio.timeout(20):
            first = await anext(watch)
            assert isinstance(first, Interrupted)
            assert dead in first.why
        assert await nexts(watch, 1) == [(False, "e", b"1")]


async def test_a_watch_with_a_login_renews_it_and_knows_a_lack_of_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_TEST_PASSWORD", PASSWORD)
    login = {"user": "village", "password": {"env": "ETCD_TEST_PASSWORD"}}
    with running_etcd(tmp_path / "etcd") as server:
        server.enable_auth("village", PASSWORD, "readwrite", "--prefix=true", "mine/")
        async with client_of(server.url, timeout=1, **login) as client:
            lease, _ = await client.grant(60)
            await client.put("mine/a", b"1", lease)
            assert await client.keep_alive(lease) == 60
            client._gateway._token = "forgotten.1"
            async with aclosing(client.watch("mine/", 1, prefix=True)) as watch:
                assert await nexts(watch, 1) == [(False, "mine/a", b"1")]
            async with asyncio.timeout(20):
                with pytest.raises(ReadError, match="was refused"):
                    async for _ in client.watch("others/", 1, prefix=True):
                        pass
            assert (await client.health()).quorum


# Health


async def test_a_full_etcd_renews_leases_and_takes_no_writes(tmp_path: Path) -> None:
    with running_etcd(tmp_path / "etcd", arguments=["--quota-backend-bytes=200000"]) as server:
        async with client_of(server.url) as client:
            assert (await client.health()).problems == ()
            lease, _ = await client.grant(60)
            with pytest.raises(NoSpace, match="compact and defragment"):
                for number in range(50):
                    await client.put(f"big/{number}", b"x" * 50_000)
            with pytest.raises(NoSpace):
                await client.txn([Compare.absent("claim")], [Put("claim", b"", lease)])
            assert await client.keep_alive(lease) == 60
            health = await client.health()
            assert [alarm.kind for alarm in health.alarms or ()] == ["NOSPACE"]
            assert any("NOSPACE" in problem for problem in health.problems)
            assert health.db_size > 100_000


async def test_a_cluster_that_loses_members(tmp_path: Path) -> None:
    """One test for one cluster: its start takes longest."""
    with running_cluster(tmp_path / "etcd") as cluster:
        async with client_of(*cluster.urls, timeout=2) as client:
            health = await client.health()
            assert (health.problems, health.quorum, len(health.members or ())) == ((), True, 3)
            assert health.leader == int(cluster.status(0)[1])
            lease, _ = await client.grant(60)
            _, at = await client.snapshot("k/")
            async with aclosing(client.watch("k/", at + 1, prefix=True, silence=2)) as watch:
                told = asyncio.create_task(nexts(watch, 3))
                await client.put("k/1", b"", lease)
                await _one_dead(client, cluster, lease)
                await _leader_stopped(client, cluster, lease)
                assert [key for _, key, _ in await told] == ["k/1", "k/2", "k/3"]
            await _quorum_lost(client, cluster)


async def _one_dead(client: EtcdClient, cluster: EtcdCluster, lease: int) -> None:
    dead = (cluster.leader() + 1) % 3
    cluster.signal(dead, signal.SIGKILL)
    await _patiently(lambda: client.put("k/2", b"", lease))
    health = await client.health()
    assert health.quorum
    assert len(health.problems) == 1
    assert cluster.urls[dead] in health.problems[0]
    cluster.start(dead)
    async with asyncio.timeout(30):
        while (await client.health()).problems:
            await asyncio.sleep(0.1)


async def _leader_stopped(client: EtcdClient, cluster: EtcdCluster, lease: int) -> None:
    leader = cluster.leader()
    cluster.signal(leader, signal.SIGSTOP)
    try:
        await _patiently(lambda: client.put("k/3", b"", lease))
        assert await client.keep_alive(lease) == 60
        health = await client.health()
        assert health.quorum
        assert "no answer within 2 s" in str(health.answers[cluster.urls[leader]])
    finally:
        cluster.signal(leader, signal.SIGCONT)


async def _quorum_lost(client: EtcdClient, cluster: EtcdCluster) -> None:
    last = cluster.leader()
    for at in range(3):
        if at != last:
            cluster.signal(at, signal.SIGKILL)
    health = await client.health()
    assert not health.quorum
    assert any("no quorum" in problem for problem in health.problems)
    with pytest.raises(ReadError):
        await client.get("k/1")
    with pytest.raises((ReadError, StepFailed)):
        await client.put("k/4", b"")


async def _patiently(write) -> None:  # type: ignore[no-untyped-def]
    """An election takes a second or two, and until then an answer may be lost."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await write()
            except (ReadError, StepFailed):
                await asyncio.sleep(0.1)
