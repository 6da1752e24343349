"""Several starts of one run by the real command line, killed where it hurts: done once, or told that nobody knows."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EstateBuilder, Ran, cluster, document, finish, free_policy
from tests.servers import wait_until
from tests.servers.etcd import EtcdServer, running_etcd
from tests.servers.postgres import PostgresServer

AT = "2026-03-01T02:00:00Z"
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND state = 'active'"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(params=["state", "etcd"])
def estate(
    request: pytest.FixtureRequest, pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path, etcd: EtcdServer
) -> EstateBuilder:
    """Claims are in the state database, or in etcd."""
    # A killed client's statement goes on until the server sees that nobody listens.
    pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'")
    wait_until(lambda: pg.sql(ASLEEP) == [(0,)], "the end of what a test before left", seconds=30)
    pg.sql("DROP TABLE IF EXISTS ran")
    pg.sql("CREATE TABLE ran (step text, at timestamptz DEFAULT clock_timestamp())")
    settings: dict[str, Any] = {"jobs": {"superuser": ["*"]}}
    if request.param == "etcd":
        settings["etcd"] = {"e": {"endpoints": [etcd.url]}}
        settings["serve"] = {"replicas": {"etcd": "e", "prefix": f"p/{tmp_path.name}", "lease": 3}}
    return estate_of(pg, **settings)


def declare(estate: EstateBuilder, pg: PostgresServer, steps: list[dict[str, Any]], **spec: Any) -> None:
    common = {"clusters": {"names": ["c"]}, "databases": ["postgres"], "role": "postgres"}
    job = document("Job", "nightly", schedule={"cron": "0 2 * * *"}, steps=steps, **common, **spec)
    estate.documents = {"a": [free_policy(), cluster("c", pg.host, databases=[{"name": "postgres"}]), job]}
    estate.commit()


def begin(estate: EstateBuilder, *more: str) -> subprocess.Popen[str]:
    return estate.start("job run", "nightly", "--at", AT, *more)


def rows(pg: PostgresServer) -> dict[str, int]:
    return {str(step): int(count) for step, count in pg.sql("SELECT step, count(*) FROM ran GROUP BY step")}


def history(estate: EstateBuilder) -> list[dict[str, Any]]:
    found = json.loads(estate.run("job history", "-o", "json").done().out)["runs"]
    assert isinstance(found, list)
    return found


def insert(step: str, **more: Any) -> dict[str, Any]:
    return {"name": step, "sql": f"INSERT INTO ran VALUES ('{step}')", **more}


def slow(step: str, **more: Any) -> dict[str, Any]:
    return {"name": step, "sql": f"SELECT pg_sleep(600); INSERT INTO ran VALUES ('{step}')", **more}


def test_three_starts_and_one_run(estate: EstateBuilder, pg: PostgresServer) -> None:
    declare(
        estate, pg, [insert("one", transaction=False), {"name": "two", "needs": ["one"], "sql": "SELECT pg_sleep(1)"}]
    )
    ended = [finish(process, 90).done() for process in [begin(estate) for _ in range(3)]]
    assert rows(pg) == {"one": 1}
    assert sum("not run again" in ran.text for ran in ended) == 2
    assert sum("✓ c, database postgres: succeeded in" in ran.text for ran in ended) == 1


def killed_in(estate: EstateBuilder, pg: PostgresServer) -> None:
    """kill -9 while the slow step goes on, and until the server has noticed."""
    process = begin(estate)
    try:
        wait_until(lambda: process.poll() is not None or pg.sql(ASLEEP) == [(1,)], "the slow step", seconds=60)
        assert process.poll() is None, finish(process).text
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def seen_to_its_end(estate: EstateBuilder) -> Ran:
    """Started again and again: the dead one's claim lasts some seconds."""
    found: list[Ran] = []

    def ended() -> bool:
        found.append(finish(begin(estate), 90))
        return "not run again: running" not in found[-1].text

    wait_until(ended, "the end of its claim", seconds=90)
    return found[-1]


def test_transactions_are_done_once_through_a_kill(estate: EstateBuilder, pg: PostgresServer) -> None:
    declare(estate, pg, [insert("one"), slow("two", needs=["one"])])
    killed_in(estate, pg)
    assert rows(pg) == {"one": 1}
    declare(estate, pg, [insert("one"), insert("two", needs=["one"])])

    seen_to_its_end(estate)
    assert rows(pg) == {"one": 1, "two": 1}
    (run,) = [run for run in history(estate) if run["status"] == "succeeded"]
    assert run["attempt"] == 2
    assert "an earlier try has committed it" in estate.run("job logs", run["id"]).done().text


def test_what_may_not_be_doubled_is_reported(estate: EstateBuilder, pg: PostgresServer) -> None:
    declare(estate, pg, [insert("one", transaction=False), slow("two", needs=["one"], transaction=False)])
    killed_in(estate, pg)
    ran = seen_to_its_end(estate)
    assert ran.code != 0
    assert "unknown" in ran.text
    assert rows(pg) == {"one": 1}
    assert [run["status"] for run in history(estate)] == ["unknown"]
    assert finish(begin(estate), 90).code != 0, "it stays so for whoever asks"
    assert rows(pg) == {"one": 1}


@pytest.mark.parametrize("estate", ["etcd"], indirect=True)
def test_what_may_be_doubled_is_run_again(estate: EstateBuilder, pg: PostgresServer) -> None:
    steps = [insert("one", transaction=False), slow("two", needs=["one"], transaction=False)]
    declare(estate, pg, steps, delivery="at-least-once")
    killed_in(estate, pg)
    declare(estate, pg, [steps[0], insert("two", needs=["one"], transaction=False)], delivery="at-least-once")
    seen_to_its_end(estate)
    assert rows(pg) == {"one": 2, "two": 1}
    assert [run["status"] for run in history(estate)] == ["succeeded"]


@pytest.mark.parametrize("estate", ["state"], indirect=True)
def test_sigterm_cancels_and_is_recorded(estate: EstateBuilder, pg: PostgresServer) -> None:
    declare(estate, pg, [slow("one")])
    process = begin(estate)
    wait_until(lambda: pg.sql(ASLEEP) == [(1,)], "the slow step", seconds=60)
    process.send_signal(signal.SIGTERM)
    ran = finish(process, 60)
    assert ran.code == 130
    assert pg.sql(ASLEEP) == [(0,)]
    assert [run["status"] for run in history(estate)] == ["cancelled"]
    assert rows(pg) == {}
