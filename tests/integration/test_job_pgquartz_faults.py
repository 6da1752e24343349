"""What PgQuartz got wrong, on a real PostgreSQL: each shown right."""

from __future__ import annotations

import asyncio

import pytest

from pgvillage.core.job_run import RunStatus
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_INVALID, EstateBuilder
from tests.integration.job_stage import INSERT, LIMIT, rows, shop, stage_of, start, write_job
from tests.servers.postgres import PostgresServer
from tests.unit.running.fakes import Heard


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    return shop(pg, estate_of)


def sleeping(pg: PostgresServer) -> int:
    """Sessions of jobs that are at it."""
    text = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND state = 'active'"
    with pg.connect() as connection:
        ((count,),) = connection.execute(f"{text} AND pid <> pg_backend_pid()").fetchall()
    return int(count)


def test_an_error_at_run_time_fails_the_run_though_nothing_checks_it(estate: EstateBuilder, pg: PostgresServer) -> None:
    write_job(estate, pg, [{"name": "a", "sql": f"{INSERT}; DO $$ BEGIN RAISE 'late; too late'; END $$"}])
    (ran,) = asyncio.run(start(stage_of(estate)))
    assert not ran.fine
    assert ran.record is not None
    assert "late; too late" in ran.record.why


def test_parameters_and_semicolons_are_read_as_psql_reads_them(estate: EstateBuilder, pg: PostgresServer) -> None:
    script = """
    INSERT INTO ran SELECT :n::text || :nn || ';' || $q$:n;$q$ || ' :n'; -- :n;
    DO $$ BEGIN PERFORM ':n;'; END $$
    """
    write_job(estate, pg, [{"name": "a", "sql": script, "matrix": {"n": [1, 2]}}], parameters={"nn": "x"})
    (ran,) = asyncio.run(start(stage_of(estate)))
    assert ran.fine, ran
    assert sorted(rows(pg)) == ["1x;:n; :n", "2x;:n; :n"]


def test_a_lost_claim_is_noticed_and_the_servers_statement_is_gone(estate: EstateBuilder, pg: PostgresServer) -> None:
    write_job(estate, pg, [{"name": "a", "sql": f"{INSERT}; SELECT pg_sleep(300)"}])
    stage, heard = stage_of(estate), Heard()

    async def whole() -> None:
        task = asyncio.create_task(start(stage, heard))
        async with asyncio.timeout(LIMIT):
            while not await asyncio.to_thread(sleeping, pg):
                await asyncio.sleep(0.05)
            (claim,) = stage.store.held.values()
            stage.store.steal(claim.record.key)
            (ran,) = await task
            assert "no longer ours" in ran.error
            while await asyncio.to_thread(sleeping, pg):
                await asyncio.sleep(0.05)

    asyncio.run(whole())
    assert rows(pg) == []
    assert heard.steps == []


def test_the_time_limit_of_a_run_ends_its_statement(estate: EstateBuilder, pg: PostgresServer) -> None:
    write_job(estate, pg, [{"name": "a", "sql": "SELECT pg_sleep(300)"}], maxRuntime="1s")
    (ran,) = asyncio.run(start(stage_of(estate)))
    assert ran.record is not None
    assert ran.record.status is RunStatus.FAILED
    assert "maxRuntime" in ran.record.why
    assert sleeping(pg) == 0


def test_all_steps_of_a_run_share_one_connection(estate: EstateBuilder, pg: PostgresServer) -> None:
    text = "INSERT INTO ran SELECT pg_backend_pid()"
    steps = [{"name": name, "sql": text} for name in ("a", "b", "c")]
    write_job(estate, pg, steps, parameters={})
    (ran,) = asyncio.run(start(stage_of(estate)))
    assert ran.fine, ran
    assert len(rows(pg)) == 3
    assert len(set(rows(pg))) == 1


def test_a_circle_and_a_missing_file_are_errors_before_anything_runs(estate: EstateBuilder, pg: PostgresServer) -> None:
    circle = [{"name": "a", "sql": INSERT, "needs": ["b"]}, {"name": "b", "file": "b.sql", "needs": ["a"]}]
    write_job(estate, pg, circle)
    said = estate.run("job run", "nightly", "--dry-run").done(EXIT_INVALID).err
    assert "a needs b needs a" in said
    assert "there is no file b.sql in the estate" in said
