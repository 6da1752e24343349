"""The outbox and its sender: order, outages, broken channels, several replicas."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from pgvillage.clients.chat_answers import Fault
from pgvillage.clients.state.state import State
from tests.unit.chat_bench import Bench, limit, mighty


async def opened(bench: Bench, value: int = 5, cluster: str = "orders") -> None:
    for _ in range(2):
        await bench.look(limit(value, cluster=cluster), cluster=cluster)


async def test_what_was_missed_arrives_once_as_it_is_now(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fail()
    await opened(bench, 5)
    await opened(bench, 6)
    await opened(bench, 7)
    assert bench.told() == []
    assert bench.waiting() == 1
    bench.down.clear()
    await bench.later(3600)
    assert bench.told() == ["drift opened"]
    assert "connection_limit: 7" in bench.sent[0][1].lines[0]
    await bench.look()
    assert bench.told() == ["drift opened", "drift resolved"]


async def test_what_opened_and_ended_in_an_outage_is_never_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fail()
    await opened(bench)
    await bench.look()
    bench.down.clear()
    await bench.later(3600)
    assert (bench.told(), bench.waiting()) == ([], 0)


async def test_what_ended_and_came_back_in_an_outage_is_no_news(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await opened(bench)
    bench.fail()
    await bench.look()
    await opened(bench)
    bench.down.clear()
    await bench.later(3600)
    assert bench.told() == ["drift opened"]


async def test_what_may_have_arrived_is_followed_by_its_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fail(fault=Fault.UNSURE)
    await opened(bench)
    await bench.look()
    bench.down.clear()
    await bench.later(3600)
    assert bench.told() == ["drift opened", "drift resolved"]


async def test_one_channel_that_is_down_delays_no_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "dba", "ops")
    bench.fail("ops")
    await opened(bench)
    assert (bench.told("dba"), bench.told("ops")) == (["drift opened"], [])
    bench.down.clear()
    await bench.later(3600)
    assert bench.told("ops") == ["drift opened"]


async def test_retries_wait_as_long_as_the_service_asks(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fail(after=120)
    await bench.look(mighty(), after=3)
    tries = len(bench.results)
    await bench.later(100)
    assert len(bench.results) == tries == 1
    bench.down.clear()
    await bench.later(25)
    assert bench.results == [("dba", "failed"), ("dba", "ok")]


async def test_a_channel_that_waits_keeps_its_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fail(after=600)
    await bench.look(mighty(), after=3)
    bench.down.clear()
    await bench.look(mighty("crm"), cluster="crm", after=60)
    assert bench.told() == []
    await bench.later(600)
    assert [notice.target for _, notice, _ in bench.sent] == ["orders", "crm"]


async def test_a_broken_channel_is_tried_hourly_and_heals(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fail(fault=Fault.BROKEN)
    await bench.look(mighty(), after=3)
    for _ in range(59):
        await bench.later(60)
    assert bench.results == [("dba", "broken")]
    assert bench.sender.broken == {"dba"}
    await bench.later(120)
    assert bench.results == [("dba", "broken")] * 2
    bench.down.clear()
    await bench.later(3601)
    assert bench.told() == ["drift opened"]
    assert not bench.sender.broken


async def test_a_message_that_no_one_takes_blocks_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fail(fault=Fault.REFUSED)
    await bench.look(mighty(), after=3)
    assert (bench.results, bench.waiting()) == ([("dba", "refused")], 0)


async def test_killed_while_sending_it_is_sent_again_after_the_lease(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.look(mighty(), after=0)
    bench.now += timedelta(seconds=5)
    claimed = bench.state.outbox.claim("dba", bench.now, timedelta(seconds=60))
    assert claimed is not None  # and here its sender dies
    bench.start()
    await bench.later(30)
    assert bench.told() == []
    await bench.later(31)
    assert bench.told() == ["drift opened"]


async def test_each_message_is_sent_by_one_of_several_replicas(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(30):
        await bench.notifier.looked(
            bench.as_look(__import__("tests.unit.report_plans", fromlist=["target"]).target(
                limit(number, cluster=f"pg{number}"), mighty(f"pg{number}"), cluster=f"pg{number}"), {}, None)
        )  # fmt: skip
    bench.now += timedelta(seconds=60)
    states = [State.in_file(tmp_path / "state.db") for _ in range(3)]
    taken: list[int] = []

    def drain(state: State) -> None:
        misses = 0
        while misses < 50 and len(taken) < 30:
            message = state.outbox.claim("dba", bench.now, timedelta(seconds=600))
            if message is None:
                misses += 1
                continue
            taken.append(message.id)
            state.outbox.delivered(message, "", bench.now)

    await asyncio.gather(*(asyncio.to_thread(drain, state) for state in states))
    assert len(taken) == len(set(taken)) == 30
    for state in states:
        state.close()


async def test_two_replicas_that_see_the_same_tell_it_once(tmp_path: Path) -> None:
    first, second = Bench(tmp_path), Bench(tmp_path)
    for bench in (first, second):
        await bench.notifier.estate_read("c0ffee", "broken")
    assert first.waiting() == 1


async def test_waiting_is_counted_with_its_age(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "dba", "ops")
    bench.fail("dba")
    await bench.look(mighty(), after=90)
    assert await bench.sender.waiting() == {"dba": (1, 90.0), "ops": (0, 0.0)}


@pytest.mark.parametrize("days", [29, 31])
async def test_what_was_delivered_is_kept_for_a_month(tmp_path: Path, days: int) -> None:
    bench = Bench(tmp_path)
    await bench.look(mighty())
    bench.now += timedelta(days=days)
    await bench.look(mighty("crm"), cluster="crm")
    assert len(bench.state.outbox.history()) == (2 if days < 30 else 1)
