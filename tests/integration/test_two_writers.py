"""Two appliers of one target: one waits or refuses; one that slept while another took over writes nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import EstateMaker, new_estate
from tests.integration.estate_builder import EXIT_LOCKED, EstateBuilder, cluster, credential, finish, free_policy, group
from tests.integration.test_crash import fill_small, state_of
from tests.integration.test_loop import logged
from tests.integration.warm_command import run_here, start_warm, warm_words
from tests.servers import wait_until
from tests.servers.pg_proxy import PgProxy, pg_proxy
from tests.servers.postgres import PostgresServer


@pytest.fixture
def proxy(pg: PostgresServer) -> Iterator[PgProxy]:
    with pg_proxy(pg.port) as found:
        yield found


def proxied(folder: Path, server: PostgresServer, proxy: PgProxy, **timeouts: float) -> EstateBuilder:
    estate = new_estate(folder, server)
    estate.settings["credentials"] = {"admin": credential(server, proxy.port)}
    fill_small(estate, f"127.0.0.1:{proxy.port}")
    estate.settings["timeouts"] = {"writer": 10, "lock": 3, **timeouts}
    estate.commit()
    return estate


@pytest.mark.parametrize("attempt", range(2))
def test_three_at_once_all_end_well(pg: PostgresServer, estate_of: EstateMaker, attempt: int) -> None:
    estate = estate_of(pg)
    fill_small(estate, pg.host)
    runs = [finish(each) for each in [estate.start("apply", "--auto") for _ in range(3)]]
    for ran in runs:
        ran.done()
    estate.settled()
    assert sum("read again and confirmed" in ran.out for ran in runs) == 1


def test_who_does_not_get_the_lock_says_who_has_it(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    fill_small(estate, pg.host)
    estate.settings["timeouts"] = {"writer": 0.3}
    estate.commit()
    with pg.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(1886807401, 1)")
        ran = estate.apply().done(EXIT_LOCKED)
        assert f"backend {holder.info.backend_pid}" in ran.text
        assert "try again" in ran.text
        assert pg.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'app'") == [(0,)]
    estate.apply().done()


def test_the_lock_holds_from_the_first_statement_to_the_last(
    pg: PostgresServer, tmp_path: Path, proxy: PgProxy
) -> None:
    """Another applier that comes at any moment of the first waits for it, and then finds nothing to do."""
    estate = proxied(tmp_path / "a", pg, proxy)
    second: list[object] = []

    def start(n: int, text: str) -> None:
        if text.startswith("CREATE DATABASE") and not second:
            second.append(estate.start("apply", "--auto"))
            wait_until(lambda: pg.sql(WAITING) == [(1,)], "the second applier")

    proxy.before = start
    run_here(estate, "apply", "--auto").done()
    ran = finish(second[0])  # type: ignore[arg-type]
    ran.done()
    assert "nothing to do" in ran.text
    estate.settled()


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgvillage apply'"
PAUSES = [
    "INSERT INTO pgvillage.target", "SELECT token, fence",
    "CREATE ROLE", "GRANT", "COMMIT", "CREATE DATABASE \"two\"", "CREATE SCHEMA \"s\"", "ALTER SYSTEM",
    "INSERT INTO pgvillage.ledger", "UPDATE pgvillage.target SET revision",
]  # fmt: skip


@pytest.mark.parametrize("point", PAUSES)
def test_a_paused_applier_wakes_up_and_writes_nothing(
    pg: PostgresServer, tmp_path: Path, proxy: PgProxy, point: str
) -> None:
    estate = proxied(tmp_path / "a", pg, proxy, staleWriter=1.5)
    paused, awake = threading.Event(), threading.Event()
    process = start_warm(estate, "apply", "--auto")

    def pause(n: int, text: str) -> None:
        if text.strip().startswith(point) and not paused.is_set():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            paused.set()
            awake.wait(30)

    proxy.before = pause
    assert paused.wait(20)
    other = new_estate(tmp_path / "b", pg)
    other.settings["repository"] = estate.settings["repository"]
    other.settings |= {"secrets": estate.settings["secrets"], "timeouts": estate.settings["timeouts"]}
    other.settings["credentials"] = estate.settings["credentials"]
    other.commit()
    ran = run_here(other, "apply", "--auto")
    assert ran.code == 0, ran.text
    good = state_of(pg)
    versions = _versions(pg)
    start = pg.log.stat().st_size
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)
    awake.set()
    process.join(20)
    words = warm_words(estate)
    assert "Traceback" not in words, words
    assert process.exitcode in (1, 6, 7), words
    assert "run again" in words or "taken over" in words or "terminat" in words, words
    assert state_of(pg) == good
    assert _versions(pg) == versions, "something was written"
    done = [text for name, _, text in logged(pg, start) if name.startswith("pgvillage apply")]
    assert done == []
    estate.settled()


def test_a_long_statement_is_no_pause(pg: PostgresServer, estate_of: EstateMaker) -> None:
    """While one session works for longer than staleWriter allows to be silent, the lock's session stays alive."""
    estate = estate_of(pg, timeouts={"staleWriter": 1.2})
    database = {"name": "slow", "schemas": []}
    estate.documents = {"a": [free_policy(), cluster("c", pg.host, databases=[database]), group("o")]}
    estate.commit()
    estate.apply().done()
    pg.sql(
        "CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(4); END'",
        "CREATE EVENT TRIGGER wait ON ddl_command_end WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION wait()",
        database="slow",
    )
    database["schemas"] = [{"name": "s"}]
    estate.commit()
    estate.apply().done()
    estate.settled()


def _versions(server: PostgresServer) -> list[object]:
    """Who wrote each row last; any write since then shows."""
    return [
        server.sql("SELECT xmin::text, rolname FROM pg_authid ORDER BY 2"),
        server.sql("SELECT xmin::text, datname FROM pg_database ORDER BY 2"),
        server.sql("SELECT xmin::text, address FROM pgvillage.ledger ORDER BY 2"),
        server.sql("SELECT xmin::text, token FROM pgvillage.target"),
        server.sql("SELECT xmin::text, nspname FROM pg_namespace ORDER BY 2", database="two"),
        server.sql("SELECT xmin::text FROM pg_auth_members ORDER BY 1"),
    ]
