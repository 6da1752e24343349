"""The scheduler in fake time: what begins when, once, in which order, and what a day without it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pgvillage.core.job_run import RunStatus
from tests.unit.jobs.scheduler_case import EPOCH, Case, MemoryStore, job, utc


def live(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def cron(text: str, zone: str = "UTC") -> dict[str, str]:
    return {"cron": text, "timeZone": zone}


def test_runs_begin_at_their_time_and_once() -> None:
    async def story() -> None:
        case = Case(EPOCH)
        case.jobs(job("j", ["a", "b"], schedule={"every": "10m"}))
        await case.until(EPOCH + timedelta(hours=1, seconds=30))
        assert len(case.seen.began) == 12
        assert all(late == timedelta() for _, late in case.seen.began)
        assert {r.status for r in case.store.records.values()} == {RunStatus.SUCCEEDED}
        assert len(case.store.records) == 12

    live(story)


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("Europe/Amsterdam", "2026-03-28T12:00", ["03-29T01:00", "03-30T00:30"]),  # 02:30 is skipped: right after
        ("Europe/Amsterdam", "2026-10-24T12:00", ["10-25T00:30", "10-26T01:30"]),  # 02:30 comes twice: the first
        ("America/New_York", "2026-03-07T12:00", ["03-08T07:00", "03-09T06:30"]),
        ("America/New_York", "2026-10-31T12:00", ["11-01T07:30", "11-02T07:30"]),
    ],
)
def test_daylight_saving(zone: str, day: str, expected: list[str]) -> None:
    async def story() -> None:
        case = Case(utc(day))
        case.jobs(job("j", schedule=cron("30 2 * * *", zone)))
        await case.until(utc(day) + timedelta(days=2))
        assert case.times == expected

    live(story)


_EVERY_HOUR = [f"03-0{1 + hour // 24}T{hour % 24:02}:00" for hour in range(13, 37)]


@pytest.mark.parametrize(
    ("missed", "late", "skipped"), [("skip", [], 24), ("once", ["03-02T12:00"], 23), ("all", _EVERY_HOUR, 0)]
)
def test_down_for_a_day(missed: str, late: list[str], skipped: int) -> None:
    async def story() -> None:
        store, start = MemoryStore(), utc("2026-03-01T11:30")
        one = Case(start, store=store)
        hourly = job("j", schedule={"every": "1h"}, missed=missed)
        one.jobs(hourly)
        await one.until(start + timedelta(hours=1))
        assert one.times == ["03-01T12:00"]
        two = Case(start + timedelta(hours=25), store=store)  # 12:30 the next day
        two.jobs(hourly)
        await two.until(start + timedelta(hours=26))
        assert two.times == [*late, "03-02T13:00"]
        assert two.seen.missed == skipped

    live(story)


@pytest.mark.parametrize(
    ("overlap", "statuses", "cancelled"),
    [
        ("forbid", ["succeeded", "skipped", "skipped"], []),
        ("queue", ["succeeded", "succeeded", "succeeded"], []),
        ("replace", ["succeeded", "cancelled", "succeeded"], ["00:10", "00:10", "00:20"]),
    ],
)
def test_overlap(overlap: str, statuses: list[str], cancelled: list[str]) -> None:
    async def story() -> None:
        case = Case(EPOCH)
        case.hold.clear()
        case.jobs(job("j", schedule={"every": "10m"}, overlap=overlap))
        await case.until(EPOCH + timedelta(minutes=30))
        assert len(case.seen.began) == 1, "never two at a time"
        case.hold.set()
        await case.until(EPOCH + timedelta(minutes=31))
        found = sorted(case.store.records.values(), key=lambda r: r.key.scheduled)
        assert [r.status.value for r in found] == statuses
        assert case.store.cancels == cancelled

    live(story)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_set_makes_no_run_twice(hours: int) -> None:
    async def story() -> None:
        case = Case(utc("2026-03-01T12:05"))
        case.jobs(job("j", schedule={"every": "1h"}, missed="all"))
        await case.until(utc("2026-03-01T14:30"))
        assert case.times == ["03-01T13:00", "03-01T14:00"]
        case.time.wall += timedelta(hours=hours)
        await case.until(utc("2026-03-01T19:30"))
        expected = [f"03-01T{hour}:00" for hour in range(13, 20)]
        assert case.times == expected

    live(story)


def test_a_target_that_stands_still_begins_nothing_until_it_goes_on() -> None:
    async def story() -> None:
        case, hourly = Case(EPOCH), job("j", schedule={"every": "1h"})
        case.jobs(hourly, still="suspended by ann: migration")
        await case.until(EPOCH + timedelta(hours=1, minutes=10))
        assert case.times == []
        assert [r.status for r in case.store.records.values()] == [RunStatus.DUE]
        case.jobs(hourly)
        await case.until(EPOCH + timedelta(hours=1, minutes=20))
        assert case.times == ["03-01T01:00"]

    live(story)


def test_a_cluster_that_becomes_anothers_is_stopped_and_its_run_taken_up_there() -> None:
    async def story() -> None:
        store, hourly = MemoryStore(), job("j", schedule={"every": "1h"})
        one = Case(EPOCH, store=store)
        one.hold.clear()
        one.jobs(hourly)
        await one.until(EPOCH + timedelta(hours=1, minutes=1))
        (run,) = store.records
        one.scheduler.keep([])
        await one.until(EPOCH + timedelta(hours=1, minutes=2))
        assert one.stopped == [run]
        assert store.records[run].status is RunStatus.RUNNING, "whoever takes over sees that it was left"
        two = Case(EPOCH + timedelta(hours=1, minutes=2), store=store)
        two.jobs(hourly)
        await two.until(EPOCH + timedelta(hours=1, minutes=3))
        assert store.records[run].status is RunStatus.SUCCEEDED
        assert store.records[run].attempt == 1

    live(story)


def test_a_try_that_waits_begins_when_its_time_comes() -> None:
    async def story() -> None:
        case = Case(EPOCH)
        case.jobs(job("j", schedule={"every": "1h"}), still="not yet")
        await case.until(EPOCH + timedelta(hours=1, minutes=1))
        (run,) = case.store.records
        again = EPOCH + timedelta(hours=1, minutes=10)
        case.scheduler.lanes.forget("c")
        case.store.records[run] = replace(case.store.records[run], attempt=1, not_before=again)
        case.jobs(job("j", schedule={"every": "1h"}))
        await case.until(EPOCH + timedelta(hours=1, minutes=9))
        assert case.store.records[run].status is RunStatus.DUE
        await case.until(EPOCH + timedelta(hours=1, minutes=11))
        assert case.store.records[run].status is RunStatus.SUCCEEDED

    live(story)


def test_a_store_that_is_down_loses_nothing() -> None:
    async def story() -> None:
        case = Case(EPOCH)
        case.jobs(job("j", schedule={"every": "10m"}, missed="all"))
        await case.until(EPOCH + timedelta(minutes=5))
        case.store.down = True
        await case.until(EPOCH + timedelta(minutes=25))
        assert case.times == []
        case.store.down = False
        await case.until(EPOCH + timedelta(minutes=29))
        assert case.times == ["03-01T00:10", "03-01T00:20"]

    live(story)


def test_stopping_gives_grace_and_then_cancels() -> None:
    async def story() -> None:
        case = Case(EPOCH)
        case.hold.clear()
        case.jobs(job("j", schedule={"every": "1h"}))
        await case.until(EPOCH + timedelta(hours=1, minutes=1))
        await case.scheduler.stop(0.01)
        assert len(case.stopped) == 1

    live(story)


def test_clusters_take_turns_within_the_limits() -> None:
    async def story() -> None:
        case = Case(EPOCH, parallel=3, each=2)
        case.hold.clear()
        many = [job(f"j{n}", schedule={"every": "1h"}) for n in range(20)]
        case.jobs(*many, cluster="busy")
        case.jobs(many[0], cluster="quiet")
        await case.until(EPOCH + timedelta(hours=1, minutes=1))
        began = [record.key.cluster for record, _ in case.seen.began]
        assert sorted(began) == ["busy", "busy", "quiet"]
        case.hold.set()
        await case.until(EPOCH + timedelta(hours=1, minutes=2))
        assert len(case.seen.began) == 21

    live(story)


def test_a_thousand_jobs_on_three_hundred_databases_begin_in_time() -> None:
    async def story() -> None:
        case = Case(EPOCH, parallel=256, each=64)
        spread: list[dict[str, Any]] = [cron(f"{n % 60} {n // 60 % 60} * * * *") for n in range(1000)]
        for number in range(30):
            databases = [f"d{n}" for n in range(10)]
            mine = [job(f"j{n}", databases, schedule=spread[n]) for n in range(number, 1000, 30)]
            case.jobs(*mine, cluster=f"c{number}")
        await case.until(EPOCH + timedelta(hours=1))
        lates = sorted(late for _, late in case.seen.began)
        assert len(lates) >= 9_990
        assert lates[len(lates) * 99 // 100] < timedelta(seconds=1)

    live(story)


def test_a_clock_that_was_far_ahead_holds_nothing_back_when_it_is_set_right() -> None:
    async def story() -> None:
        case = Case(EPOCH + timedelta(days=400))
        case.store.down = True  # nothing is noted by that clock
        case.jobs(job("j", schedule={"every": "1h"}))
        await case.until(EPOCH + timedelta(days=400, minutes=5))
        case.store.down, case.time.wall = False, EPOCH
        await case.until(EPOCH + timedelta(hours=2, minutes=1))
        assert case.times == ["03-01T01:00", "03-01T02:00"]

    live(story)


def test_a_job_that_changes_or_goes_runs_by_its_old_schedule_no_more() -> None:
    async def story() -> None:
        case = Case(EPOCH)
        case.jobs(job("j", schedule={"every": "10m"}), job("k", schedule={"every": "10m"}))
        await case.until(EPOCH + timedelta(minutes=11))
        case.jobs(job("j", schedule={"every": "30m"}))
        await case.until(EPOCH + timedelta(minutes=61))
        assert case.times == ["03-01T00:10", "03-01T00:10", "03-01T00:30", "03-01T01:00"]

    live(story)
