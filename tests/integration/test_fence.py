"""Replicas that write to one target: the later one is let in, the earlier one is refused inside the target."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pgvillage.core.address import Address, parse_address
from pgvillage.core.errors import LockNotAcquired
from pgvillage.core.fence import Fence
from pgvillage.core.ledger import LedgerEntry, LedgerUpdate
from pgvillage.core.plan import System, TargetId
from pgvillage.core.run import Outcome
from pgvillage.core.step import PatchStep, SqlStep
from pgvillage.usecases.apply import apply_plan
from pgvillage.usecases.estate import Scope
from pgvillage.usecases.plan import NO_CONSENT, make_plan
from pgvillage.usecases.world import Writer
from pgvillage.wiring import RealWorld, real_world
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EstateBuilder, cluster, free_policy, group
from tests.integration.test_crash import fill_small
from tests.integration.test_stolon_loop import estate as stolon_estate
from tests.integration.test_stolon_loop import etcd, spec_of
from tests.servers.etcd import EtcdServer
from tests.servers.postgres import PostgresServer

__all__ = ["etcd", "stolon_estate"]

FIVE, SEVEN, TERMINAL = Fence(5, "replica-a"), Fence(7, "replica-b"), Fence(0, "")
PG, STOLON = TargetId("c"), TargetId("c", System.STOLON)
UPDATE = LedgerUpdate({parse_address("c/role/x"): LedgerEntry("w", made=True)}, "r1")


@pytest.fixture
def world(pg: PostgresServer, estate_of: EstateMaker) -> Iterator[RealWorld]:
    estate = estate_of(pg, timeouts={"writer": 20, "lock": 1})
    estate.documents = {"a": [free_policy(), cluster("c", pg.host), group("o")]}
    estate.commit()
    yield real_world(estate.settings_file)
    pg.sql(*(f"DROP ROLE IF EXISTS {name}" for name in "abcd"))


@asynccontextmanager
async def writing(world: RealWorld, fence: Fence | None, target: TargetId = PG) -> AsyncIterator[Writer]:
    planned = await make_plan(world, Scope([str(target)]))
    reading = planned.observations[target].reading
    async with world.writer(target, planned.estate.views["c"], reading, fence) as writer:
        yield writer


def create(name: str) -> list[SqlStep]:
    return [SqlStep((Address("c", "role", (name,)),), (f"CREATE ROLE {name}",))]


def roles(pg: PostgresServer) -> list[str]:
    return [name for (name,) in pg.sql("SELECT rolname FROM pg_roles WHERE length(rolname) = 1 ORDER BY 1")]


async def test_a_later_replica_takes_over_between_two_transactions(world: RealWorld, pg: PostgresServer) -> None:
    async with writing(world, TERMINAL):
        pass  # the ledger is there
    async with writing(world, FIVE) as five:
        await five.run(create("a"), UPDATE)
        later = asyncio.create_task(_create_with(world, SEVEN, "b"))
        await _until(pg, "SELECT fence = 7 FROM pgvillage.target")
        with pytest.raises(LockNotAcquired, match=r"'replica-b', looks after this target .*fence is 7, ours 5"):
            await five.run(create("c"), UPDATE)
        assert not later.done(), "the lock was not waited for"
    await later
    assert roles(pg) == ["a", "b"]
    with pytest.raises(LockNotAcquired, match="replica-b"):
        await _create_with(world, FIVE, "d")
    assert roles(pg) == ["a", "b"]
    assert pg.sql("SELECT fence, fence_holder FROM pgvillage.target") == [(7, "replica-b")]


async def test_the_row_waits_for_a_transaction_under_way_and_nothing_of_it_is_lost(
    world: RealWorld, pg: PostgresServer
) -> None:
    """The earlier one is in the middle of a transaction: it ends it, and is refused at the next."""
    async with writing(world, FIVE) as five:
        slow = SqlStep((Address("c", "role", ("a",)),), ("SELECT pg_sleep(2.5)",))
        first = asyncio.create_task(five.run([slow, *create("a")], UPDATE))
        await _until(pg, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        later = asyncio.create_task(_create_with(world, SEVEN, "b"))
        await first
        await _until(pg, "SELECT fence = 7 FROM pgvillage.target")
        with pytest.raises(LockNotAcquired):
            await five.run([], UPDATE)
    await later
    assert roles(pg) == ["a", "b"]


async def test_steps_outside_a_transaction_are_refused_too(world: RealWorld, pg: PostgresServer) -> None:
    async with writing(world, FIVE) as five:
        pg.sql("UPDATE pgvillage.target SET fence = 7, fence_holder = 'o''brien\n<script>'")
        for alone in (False, True):
            step = SqlStep((Address("c", "role", ("a",)),), ("CREATE ROLE a",), transactional=False, alone=alone)
            with pytest.raises(LockNotAcquired) as refused:
                await five.run([step], UPDATE)
            assert "\n" not in str(refused.value)
        with pytest.raises(LockNotAcquired):
            await five.suspend(None)
    assert roles(pg) == []


async def test_a_terminal_is_neither_fenced_nor_lowers_the_fence(world: RealWorld, pg: PostgresServer) -> None:
    async with writing(world, SEVEN):
        pass
    async with writing(world, None) as writer:
        await writer.run(create("a"), UPDATE)
    async with writing(world, TERMINAL) as writer:
        await writer.run(create("b"), UPDATE)
    assert roles(pg) == ["a", "b"]
    assert pg.sql("SELECT fence FROM pgvillage.target") == [(7,)]


async def test_the_fence_of_another_system_says_nothing(world: RealWorld, pg: PostgresServer) -> None:
    async with writing(world, SEVEN) as writer:
        await writer.run([], UPDATE)
    pg.sql("UPDATE pgvillage.target SET system_identifier = '1', suspended_by = 'x', suspended_since = now()")
    async with writing(world, FIVE) as five:
        await five.run(create("a"), UPDATE)
    assert pg.sql("SELECT fence, suspended_by FROM pgvillage.target") == [(5, None)]


async def test_a_schema_of_another_role_is_not_asked_for_a_fence(world: RealWorld, pg: PostgresServer) -> None:
    pg.sql(
        "CREATE ROLE d", "GRANT CREATE ON DATABASE postgres TO d", "CREATE SCHEMA pgvillage AUTHORIZATION d",
        "SET ROLE d", "CREATE TABLE pgvillage.target (format int, fence bigint)",
        "INSERT INTO pgvillage.target VALUES (3, 9)",
    )  # fmt: skip
    async with writing(world, FIVE) as five:
        assert "belongs to another role" in five.ledger_problem
        await five.run(create("a"), UPDATE)
    pg.sql("DROP SCHEMA pgvillage CASCADE", "DROP OWNED BY d")


async def test_a_share_that_moved_stops_the_run(pg: PostgresServer, estate_of: EstateMaker) -> None:
    """At once when it moved before, else before the next transaction."""
    estate = estate_of(pg)
    fill_small(estate, pg.host)
    world = real_world(estate.settings_file)
    run = await apply_plan(world, await make_plan(world, Scope()), NO_CONSENT, fence_of=lambda _: None)
    assert [(each.outcome, "another replica's" in each.error) for each in run.targets] == [(Outcome.LOCKED, True)]
    assert not run.targets[0].done
    asked: list[str] = []

    def fence_of(target: str) -> Fence | None:
        asked.append(target)
        return FIVE if len(asked) < 4 else None

    run = await apply_plan(world, await make_plan(world, Scope()), NO_CONSENT, fence_of=fence_of)
    assert asked == ["c"] * 4
    assert run.targets[0].outcome is Outcome.LOCKED
    assert run.targets[0].done
    assert run.targets[0].left
    estate.apply().done()
    estate.settled()


def test_a_refused_replica_is_told_in_the_run(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    fill_small(estate, pg.host)
    estate.apply().done()
    pg.sql("DROP ROLE app", "UPDATE pgvillage.target SET fence = 7, fence_holder = 'replica-b'")
    world = real_world(estate.settings_file)

    async def run() -> Any:
        return await apply_plan(world, await make_plan(world, Scope()), NO_CONSENT, fence_of=lambda _: FIVE)

    (ran,) = asyncio.run(run()).targets
    assert (ran.outcome, ran.done) == (Outcome.LOCKED, ())
    assert "a later replica, 'replica-b'" in ran.error
    estate.apply().done()


# --- the same in etcd


def patch(value: str) -> list[PatchStep]:
    step = PatchStep((Address("c", "stolon", ("parameter", "work_mem")),), {"pgParameters": {"work_mem": value}})
    return [step]


def key_of(etcd: EtcdServer) -> dict[str, Any]:
    found = json.loads(etcd.ctl("get", "pgvillage/ledger/stolon/cluster/demo", "--print-value-only"))
    assert isinstance(found, dict)
    return found


async def test_etcd_lets_the_later_replica_in(stolon_estate: EstateBuilder, etcd: EtcdServer) -> None:
    world = real_world(stolon_estate.settings_file)
    async with writing(world, FIVE, STOLON) as five:
        await five.run(patch("1MB"), UPDATE)
        async with writing(world, SEVEN, STOLON) as seven:
            with pytest.raises(LockNotAcquired, match=r"'replica-b', looks after this target .*fence is 7, ours 5"):
                await five.run(patch("2MB"), UPDATE)
            assert spec_of(etcd)["pgParameters"]["work_mem"] == "1MB"
            await seven.run(patch("3MB"), UPDATE)
    with pytest.raises(LockNotAcquired, match="replica-b"):
        async with writing(world, FIVE, STOLON):
            pass
    async with writing(world, None, STOLON) as writer:
        await writer.run(patch("4MB"), UPDATE)
    assert spec_of(etcd)["pgParameters"]["work_mem"] == "4MB"
    assert (key_of(etcd)["fence"], key_of(etcd)["fenceHolder"], key_of(etcd)["format"]) == (7, "replica-b", 3)


async def test_etcd_a_ledger_of_format_2_is_read_and_carried_over(
    stolon_estate: EstateBuilder, etcd: EtcdServer
) -> None:
    stolon_estate.apply().done()
    old = {k: v for k, v in key_of(etcd).items() if not k.startswith("fence")} | {"format": 2}
    etcd.ctl("put", "pgvillage/ledger/stolon/cluster/demo", json.dumps(old))
    stolon_estate.settled()
    assert "the ledger" not in stolon_estate.run("plan").text
    async with writing(real_world(stolon_estate.settings_file), FIVE, STOLON):
        pass
    assert key_of(etcd) == {**old, "format": 3, "fence": 5, "fenceHolder": "replica-a"}
    stolon_estate.settled()


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 3}', "null", '"x"'])
def test_etcd_a_broken_ledger_is_begun_anew(stolon_estate: EstateBuilder, etcd: EtcdServer, text: str) -> None:
    etcd.ctl("put", "pgvillage/ledger/stolon/cluster/demo", text)
    stolon_estate.apply().done()
    assert key_of(etcd)["format"] == 3
    stolon_estate.settled()


def test_etcd_a_ledger_of_a_later_format_is_left_alone(stolon_estate: EstateBuilder, etcd: EtcdServer) -> None:
    stolon_estate.apply().done()
    later = {**key_of(etcd), "format": 4, "new": "thing"}
    etcd.ctl("put", "pgvillage/ledger/stolon/cluster/demo", json.dumps(later))
    stolon_estate.documents["a"][1]["spec"]["postgres"]["parameters"]["work_mem"] = "9MB"
    stolon_estate.commit()
    ran = stolon_estate.apply()
    assert "the ledger has format 4; this PgVillage knows 3" in ran.done(6).text
    assert key_of(etcd) == later


async def _create_with(world: RealWorld, fence: Fence, name: str) -> None:
    async with writing(world, fence) as writer:
        await writer.run(create(name), UPDATE)


async def _until(pg: PostgresServer, question: str) -> None:
    for _ in range(300):
        if (await asyncio.to_thread(pg.sql, question)) == [(True,)]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(question)
