"""Jobs that the real daemon runs by itself, on a real PostgreSQL."""

from __future__ import annotations

import json
import signal
from typing import Any

from tests.integration.conftest import EstateMaker
from tests.integration.daemon_process import serving
from tests.integration.estate_builder import EstateBuilder, cluster, document, free_policy
from tests.servers.postgres import PostgresServer

STEP = {"name": "note", "sql": "INSERT INTO ticks (k) VALUES (pg_current_xact_id()::text)"}


def declare(estate: EstateBuilder, pg: PostgresServer, **jobs: dict[str, Any]) -> None:
    shop = cluster("c", pg.host, databases=[{"name": "postgres"}])
    common = {"clusters": {"names": ["c"]}, "databases": ["postgres"], "role": "postgres"}
    found = [document("Job", name, **{**common, **job}) for name, job in jobs.items()]
    estate.documents = {"a": [free_policy(), shop, *found]}
    estate.commit()


def ticks(pg: PostgresServer) -> int:
    return int(pg.sql("SELECT count(*) FROM ticks")[0][0])


def test_every_second_is_run_once_through_a_kill(pg: PostgresServer, estate_of: EstateMaker) -> None:
    pg.sql("CREATE TABLE ticks (at timestamptz DEFAULT clock_timestamp(), k text)")
    estate = estate_of(pg, jobs={"superuser": ["*"]})
    every = {"schedule": {"every": "1s"}, "missed": "all"}
    bad = {"schedule": {"every": "2s"}, "steps": [{"name": "no", "sql": "SELECT 1/0"}]}
    declare(estate, pg, tick={**every, "steps": [STEP]}, bad=bad)
    with serving(estate) as daemon:
        daemon.wait(lambda: ticks(pg) >= 5, "five ticks")
        daemon.wait(lambda: daemon.metric("job_runs_total", job="bad", status="failed") >= 2, "failures")
        assert daemon.metric("job_runs_total", job="tick", status="succeeded") >= 4
        assert daemon.metric("job_last_success_timestamp_seconds", job="tick") > 0
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
    before = ticks(pg)
    with serving(estate) as daemon:
        daemon.wait(lambda: ticks(pg) >= before + 5, "more ticks")
        assert daemon.stop() == 0
    # Each transactional step has its own row beside it: as many rows as steps that were committed, and no more.
    done = pg.sql("SELECT count(*), count(DISTINCT key) FROM pgvillage.job_step WHERE step = 'note'")
    assert done == [(ticks(pg), ticks(pg))]
    failed = json.loads(estate.run("job history", "bad", "--status", "failed", "-o", "json").done().out)["runs"]
    assert failed
    assert "no: failed" in estate.run("job logs", failed[0]["id"]).done().text
    assert "division by zero" in estate.run("job logs", failed[0]["id"][:12], "--follow").done().text
    assert "has ended: failed" in estate.run("job cancel", failed[0]["id"]).text
    assert "succeeded" in estate.run("job history", "tick", "--status", "succeeded").done().text


def test_a_long_run_ends_with_the_daemon(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg, jobs={"superuser": ["*"]})
    declare(estate, pg, long={"schedule": {"every": "1s"}, "steps": [{"name": "s", "sql": "SELECT pg_sleep(600)"}]})
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
    with serving(estate, grace=1) as daemon:
        daemon.wait(lambda: pg.sql(asleep) == [(1,)], "the run")
        (run,) = json.loads(estate.run("job history", "--status", "running", "-o", "json").done().out)["runs"]
        assert "ends within seconds" in estate.run("job cancel", run["id"]).done().text
        daemon.wait(lambda: daemon.metric("job_runs_total", job="long", status="cancelled") == 1, "the cancel")
        daemon.wait(lambda: pg.sql(asleep) == [(1,)], "the next run")
        assert daemon.stop(seconds=30) == 0
    assert pg.sql(asleep) == [(0,)]
