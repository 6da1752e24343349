"""Runs of Jobs on a real PostgreSQL, counted from the rows that they wrote."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from pgvillage.core.job_run import RunStatus
from pgvillage.usecases.job_run import Asked, Prepared, Ran, prepare
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_USAGE, EstateBuilder
from tests.integration.job_stage import INSERT, LIMIT, rows, shop, stage_of, start, write_job
from tests.servers.postgres import PostgresServer
from tests.unit.running.fakes import Heard


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    return shop(pg, estate_of)


def test_of_three_starts_one_runs_and_the_others_say_who_has(estate: EstateBuilder, pg: PostgresServer) -> None:
    write_job(estate, pg, [{"name": "a", "sql": INSERT}])
    stage = stage_of(estate)

    async def three() -> list[list[Ran]]:
        return await asyncio.gather(*(start(stage) for _ in range(3)))

    found = [ran for each in asyncio.run(three()) for ran in each]
    assert sorted(ran.taken for ran in found) == [False, True, True]
    assert all(ran.fine and ran.record is not None and ran.record.owner for ran in found)
    assert rows(pg) == ["it's"]


def test_an_error_that_comes_late_undoes_the_step_and_fails_the_run(estate: EstateBuilder, pg: PostgresServer) -> None:
    write_job(estate, pg, [{"name": "a", "sql": f"{INSERT}; SELECT 1/0 FROM generate_series(1, 9)"}])
    (ran,) = asyncio.run(start(stage_of(estate)))
    assert not ran.fine
    assert ran.record is not None
    assert ran.record.status is RunStatus.FAILED
    assert "division by zero" in ran.record.why
    assert rows(pg) == []


def test_a_run_that_crashed_after_its_commit_is_not_done_twice(estate: EstateBuilder, pg: PostgresServer) -> None:
    write_job(estate, pg, [{"name": "a", "sql": INSERT}, {"name": "b", "sql": INSERT, "needs": ["a"]}])
    stage, heard = stage_of(estate), Heard()
    (ran,) = asyncio.run(start(stage))
    assert ran.record is not None
    with pg.connect("shop") as connection:
        connection.execute("DELETE FROM pgvillage.job_step WHERE step = 'b'; DELETE FROM ran")
    stage.store.records[ran.key.id] = replace(ran.record, status=RunStatus.RUNNING, ended=None)
    (ran,) = asyncio.run(start(stage, heard))
    assert ran.record is not None
    assert (ran.record.status, ran.record.attempt) == (RunStatus.SUCCEEDED, 2)
    assert [(each.step, each.already) for each in heard.steps] == [("a", True), ("b", False)]
    assert rows(pg) == ["it's"]


def test_a_connection_that_breaks_in_mid_run_costs_nothing_and_doubles_nothing(
    estate: EstateBuilder, pg: PostgresServer
) -> None:
    write_job(estate, pg, [{"name": "a", "sql": INSERT}, {"name": "b", "sql": "SELECT pg_sleep(1)", "needs": ["a"]}])
    heard = Heard()

    async def whole() -> list[Ran]:
        task = asyncio.create_task(start(stage_of(estate), heard))
        async with asyncio.timeout(LIMIT):
            while not _broken_off(pg):
                await asyncio.sleep(0.05)
        return await task

    (ran,) = asyncio.run(whole())
    assert ran.record is not None
    assert (ran.record.status, ran.record.attempt) == (RunStatus.SUCCEEDED, 2)
    assert [(each.step, each.outcome.value, each.already) for each in heard.steps] == [
        ("a", "done", False),
        ("b", "failed", False),
        ("a", "done", True),
        ("b", "done", False),
    ]
    assert rows(pg) == ["it's"]


def _broken_off(pg: PostgresServer) -> bool:
    with pg.connect() as connection:
        found = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query ~ 'pg_sleep' AND state = 'active' AND pid <> pg_backend_pid()"
        ).fetchall()
    return bool(found)


def test_a_check_looks_at_what_is_there_and_can_fail(estate: EstateBuilder, pg: PostgresServer) -> None:
    look = {"name": "look", "sql": "SELECT count(*) = 1 FROM ran", "expect": {"value": True}}
    more = {"name": "more", "sql": "SELECT count(*) FROM ran", "expect": {"that": "value > 5"}}
    write_job(estate, pg, [{"name": "a", "sql": INSERT}], checks=[look, more])
    heard = Heard()
    (ran,) = asyncio.run(start(stage_of(estate), heard))
    assert ran.record is not None
    assert ran.record.why == "check more: not so: value > 5 (rc 0, rows 1, value 1)"
    assert heard.outcomes() == {"a": "done", "look": "done", "more": "failed"}


def test_sql_as_a_superuser_is_refused_where_the_settings_do_not_name_the_job(
    estate: EstateBuilder, pg: PostgresServer
) -> None:
    estate.settings["jobs"] = {}
    write_job(estate, pg, [{"name": "a", "sql": INSERT}])
    (ran,) = asyncio.run(start(stage_of(estate)))
    assert ran.record is not None
    assert ran.record.status is RunStatus.FAILED
    assert "is a superuser, and SQL can undo SET ROLE" in ran.record.why
    assert rows(pg) == []


def test_a_dry_run_shows_what_would_run_where_and_runs_nothing(estate: EstateBuilder, pg: PostgresServer) -> None:
    check = {"name": "look", "sql": "SELECT 1", "expect": {"rows": 1}}
    write_job(estate, pg, [{"name": "a", "sql": INSERT}], checks=[check])
    text = estate.run("job run", "nightly", "--dry-run").done().out
    for word in ("1 run.", "c1, database shop, node: primary", INSERT, ":word = it's", "as clerk", "rows: 1"):
        assert word in text, text
    found = estate.run("job run", "nightly", "--dry-run", "--now", "-o", "json").done().document
    assert [(run["cluster"], run["database"]) for run in found["runs"]] == [("c1", "shop")]
    assert found["steps"][0]["sql"] == INSERT
    assert rows(pg) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nihgtly",), "did you mean nightly?"),
        (("nightly", "-C", "c2"), "the job reaches no cluster 'c2'"),
        (("nightly", "-D", "shpo"), "did you mean shop?"),
        (("nightly", "--at", "2026-03-01T02:00:01Z"), "is no time of job nightly's schedule"),
        (("nightly", "--at", "tomorrow"), "expected a time with its zone"),
        (("nightly", "--at", "2026-03-01T02:00:00Z", "--now"), "write one of them"),
    ],
)
def test_wrong_usage_says_what_is_right(
    estate: EstateBuilder, pg: PostgresServer, arguments: tuple[str, ...], words: str
) -> None:
    write_job(estate, pg, [{"name": "a", "sql": INSERT}])
    assert words in estate.run("job run", *arguments, "--dry-run").done(EXIT_USAGE).err


def test_it_is_prepared_for_the_newest_time_of_its_schedule(estate: EstateBuilder, pg: PostgresServer) -> None:
    write_job(estate, pg, [{"name": "a", "sql": INSERT}])
    stage = stage_of(estate)
    found: Prepared = asyncio.run(prepare(stage, Asked("nightly", "tests")))
    assert (found.scheduled.hour, found.scheduled.minute) == (2, 0)
    assert found.scheduled <= stage.now()
