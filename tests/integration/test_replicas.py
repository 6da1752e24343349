"""Replicas on a real etcd: claims and their tokens, leases that end, names, estates, locks of folders."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from pgvillage.core.errors import SettingsError
from pgvillage.daemon.folder_lock import folder_lock
from pgvillage.daemon.membership import Tempo
from pgvillage.daemon.replica_keys import CLAIMS, Identity
from pgvillage.daemon.replicas import Replicas
from pgvillage.daemon.share_plan import ranked
from pgvillage.daemon.sharing import shares_of
from pgvillage.settings import Repository, Settings
from tests.integration.test_etcd import client_of
from tests.servers import free_port
from tests.servers.etcd import EtcdServer, running_etcd

TARGETS = [f"t{number}" for number in range(30)]
HOSTILE = ["a/b", "ключ", "x y", "%s{}", "<script>", "@here", "n\nl", "'; --"]
ESTATE = Identity.of(Repository(url="ssh://git@git.example/estate.git", branch="main"))
QUICK = Tempo(lease=3, settle=0.5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
def etcd(server: EtcdServer) -> EtcdServer:
    server.ctl("del", "--prefix", "")
    return server


@asynccontextmanager
async def replica(etcd: EtcdServer, name: str, identity: Identity = ESTATE) -> AsyncIterator[Replicas]:
    async with (
        client_of(etcd.url, timeout=0.75) as client,
        Replicas(client, "village", name, identity, QUICK) as replicas,
    ):
        yield replicas


async def until(ready: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(40):
            while not ready():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


async def shared_out(replicas: list[Replicas], targets: list[str] = TARGETS) -> None:
    """Each target is with whom it should be."""
    for each in replicas:
        await each.of(targets)
    names = [each._me for each in replicas]

    def settled() -> bool:
        return all(
            (CLAIMS + target in each._claims.tokens) == (ranked(CLAIMS + target, names)[0] == each._me)
            for target in targets
            for each in replicas
        )

    await until(settled, "every target with its owner")


async def test_a_replica_alone_has_everything_and_tokens_grow(etcd: EtcdServer) -> None:
    tokens = []
    for _ in range(2):
        async with replica(etcd, "a") as one:
            await shared_out([one], TARGETS + HOSTILE)
            assert await one.of(TARGETS + HOSTILE) == set(TARGETS + HOSTILE)
            fences = [one.fence(target) for target in TARGETS + HOSTILE]
            assert all(fence is not None and fence.holder == "a" for fence in fences)
            tokens.append([fence.token for fence in fences if fence is not None])
            assert one.fence("another") is None
            assert one.changed.is_set()
    assert max(tokens[0]) < min(tokens[1])
    assert etcd.ctl("get", "--prefix", "village/claims/", "--keys-only") == "", "whoever leaves, leaves nothing behind"


async def test_tokens_grow_even_in_a_new_etcd(etcd: EtcdServer, tmp_path: Path) -> None:
    async with replica(etcd, "a") as one:
        await shared_out([one], ["t"])
        before = one.fence("t")
    with running_etcd(tmp_path / "new") as fresh:
        async with replica(fresh, "a") as one:
            await shared_out([one], ["t"])
            after = one.fence("t")
    assert before is not None
    assert after is not None
    assert before.token < after.token < 2**53


async def test_each_target_and_duty_has_one_owner_and_moves_when_it_goes(etcd: EtcdServer) -> None:
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(replica(etcd, name)) for name in "ab"]
        async with replica(etcd, "c") as c:
            await shared_out([a, b, c])
            await until(lambda: min(a.held, b.held, c.held) > 0, "each has a share")
            owned = [await each.of(TARGETS) for each in (a, b, c)]
            assert sum(map(len, owned)) == len(set().union(*owned)) == len(TARGETS)
            await until(lambda: sum(each.duty("schedule:nightly") is not None for each in (a, b, c)) == 1, "one owner")
            claimed = a.counts.claimed + b.counts.claimed
            moved = c.held
        await shared_out([a, b])
        await until(lambda: sum(each.duty("schedule:nightly") is not None for each in (a, b)) == 1, "one owner")
        assert moved <= a.counts.claimed + b.counts.claimed - claimed <= moved + 1, "its share alone (and its duty)"
        assert a.members == b.members == ("a", "b")


async def test_a_claim_is_given_up_only_after_its_apply(etcd: EtcdServer) -> None:
    async with replica(etcd, "a") as a:
        working = True
        a.busy_by(lambda _: working)
        await shared_out([a])
        async with replica(etcd, "b") as b:
            await b.of(TARGETS)
            await until(lambda: b.counts.asked > 0, "b asks")
            await until(lambda: a.held > len(a._claims.tokens) - len(a._claims.leaving), "a begins nothing new there")
            assert len(await a.of(TARGETS)) < len(TARGETS)
            assert all(a.fence(target) for target in TARGETS), "what runs may end"
            assert b.held == 0
            working = False
            await until(lambda: b.held > 0 and a.held + b.held == len(TARGETS), "b has its share")


async def test_by_its_own_clock_a_lease_ends_before_it_ends_in_etcd(etcd: EtcdServer) -> None:
    """As for one that was stopped: no answer of etcd is needed to know."""
    async with replica(etcd, "a") as one:
        await shared_out([one], ["t"])
        assert one.fence("t") is not None
        ahead = one._tenure._clock() + 2.75
        one._tenure._clock = lambda: ahead
        assert one.fence("t") is None
        assert await one.of(["t"]) == {"t"}, "it may look"
        assert etcd.ctl("get", "village/claims/t", "--keys-only").strip() == "village/claims/t"


async def test_a_lease_that_etcd_ended_is_begun_anew(etcd: EtcdServer) -> None:
    async with replica(etcd, "a") as one:
        await shared_out([one], ["t"])
        first = one.fence("t")
        etcd.ctl("lease", "revoke", f"{one._tenure.lease:x}")
        await until(lambda: one.counts.leases_lost == 1 and one.fence("t") is not None, "claimed anew")
        second = one.fence("t")
        assert first is not None
        assert second is not None
        assert second.token > first.token


async def test_the_estates_key_removed_makes_all_begin_again(etcd: EtcdServer) -> None:
    async with replica(etcd, "a") as one:
        await shared_out([one], ["t"])
        first = one.fence("t")
        assert first is not None
        etcd.ctl("del", "village/estate")
        await until(lambda: (one.fence("t") or first).token > first.token, "a greater token")


async def test_an_etcd_lost_for_a_while_stops_writing_and_nothing_else(tmp_path: Path) -> None:
    ports = (free_port(), free_port())
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(f"http://127.0.0.1:{ports[0]}", timeout=0.75))
        one = await stack.enter_async_context(Replicas(client, "village", "a", ESTATE, QUICK))
        assert not one.reachable
        assert "no endpoint answered" in one.problem
        with running_etcd(tmp_path / "etcd", ports=ports):
            await shared_out([one], ["t"])
            await until(lambda: one.fence("t") is not None and one.reachable, "it came by itself")
        await until(lambda: one.fence("t") is None, "writing stops")
        assert await one.of(["t"]) == {"t"}
        assert not one.may_write
        with running_etcd(tmp_path / "etcd", ports=ports):
            await until(lambda: one.fence("t") is not None and not one.problem, "it is back by itself")


async def test_another_estate_under_the_same_prefix_is_refused_while_one_lives_there(etcd: EtcdServer) -> None:
    other = Identity.of(Repository(url="https://oauth2:s3cret@git.example/other.git", branch="main"))
    async with replica(etcd, "a"):
        with pytest.raises(SettingsError, match=r"of another estate: ssh://git.example/estate.git at main"):
            async with replica(etcd, "b", other):
                pass
    async with replica(etcd, "b", other) as later:
        await shared_out([later], ["t"])
    assert "s3cret" not in etcd.ctl("get", "--prefix", "")


async def test_a_namesake_waits_and_says_why(etcd: EtcdServer) -> None:
    async with AsyncExitStack() as stack:
        async with replica(etcd, "a") as first:
            await shared_out([first], ["t"])
            second = await stack.enter_async_context(replica(etcd, "a"))
            await second.of(["t"])
            assert "another replica is called 'a'" in second.problem
            assert second.fence("t") is None
        await until(lambda: second.fence("t") is not None, "the name is free")


def settings_of(**serve: object) -> Settings:
    return Settings.model_validate({"repository": {"url": "/srv/estate"}, "serve": serve})


async def test_an_etcd_that_the_settings_do_not_have(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"serve.replicas.etcd: the settings have no etcd 'etcd-b'; known: none"):
        async with shares_of(settings_of(replicas={"etcd": "etcd-b"}), tmp_path, "a"):
            pass


async def test_alone_everything_is_ours(tmp_path: Path) -> None:
    async with shares_of(settings_of(), tmp_path / "state", "one") as shares:
        assert await shares.of(["a", "b"]) == {"a", "b"}
        assert shares.duty("retention") == shares.fence("a")


# The state folder


def test_a_second_daemon_on_the_folder_is_told_who_has_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from pgvillage.daemon.folder_lock import folder_lock\n"
        "with folder_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SettingsError, match=rf"\(process {holder.pid} on .*, since 20.*\)"), folder_lock(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with folder_lock(tmp_path):
            pass


def test_a_lock_file_with_nonsense_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "daemon.lock").write_bytes(b"\xff{" * 10_000)
    with folder_lock(tmp_path):
        assert set(json.loads((tmp_path / "daemon.lock").read_text())) == {"pid", "host", "since"}


def test_a_folder_that_can_not_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="state: can't write"), folder_lock(tmp_path / "file"):
        pass
