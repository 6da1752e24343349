"""kill -9, cut connections and restarts at every statement of an apply: the next run ends in the desired state."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import new_estate, wipe
from tests.integration.estate_builder import EstateBuilder, cluster, credential, free_policy, group, user
from tests.integration.warm_command import run_here, start_warm, warm_words
from tests.servers.pg_proxy import DROP, PgProxy, pg_proxy
from tests.servers.postgres import PostgresServer

PARTS = 6
# What a desired state comes down to; object ids and salts are left out.
_ROLES = """
SELECT rolname, rolcanlogin, rolconnlimit, rolpassword IS NOT NULL, rolconfig::text,
       shobj_description(oid, 'pg_authid'), (SELECT array_agg(roleid::regrole::text ORDER BY 1)::text
                                             FROM pg_auth_members WHERE member = r.oid)
FROM (SELECT a.oid, a.rolname, a.rolcanlogin, a.rolconnlimit, a.rolpassword,
             (SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = a.oid AND s.setdatabase = 0) AS rolconfig
      FROM pg_authid a WHERE rolname !~ '^pg_') r ORDER BY 1
"""
_DATABASES = "SELECT datname, datdba::regrole::text, datacl::text FROM pg_database ORDER BY 1"
_SCHEMAS = "SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1"
_PARAMETERS = "SELECT name, setting FROM pg_file_settings WHERE sourcefile ~ 'auto.conf' ORDER BY 1"
_LEDGER = "SELECT address, wish FROM pgvillage.ledger ORDER BY 1"


def state_of(server: PostgresServer) -> list[object]:
    return [
        server.sql(_ROLES),
        server.sql(_DATABASES),
        server.sql(_SCHEMAS, database="one"),
        server.sql(_SCHEMAS, database="two"),
        server.sql(_PARAMETERS),
        server.sql(_LEDGER),
    ]


def fill_small(estate: EstateBuilder, host: str) -> None:
    estate.settings["secrets"] = {"app": {"command": ["echo", "planted-app-password"]}}
    estate.settings["timeouts"] = {"writer": 10, "lock": 3}
    databases = [
        {"name": name, "owner": "keeper", "schemas": [{"name": "s", "owner": "keeper"}], "public": {"database": []}}
        for name in ("one", "two")
    ]
    reader = [{"profile": "reader", "database": name, "schemas": ["s"]} for name in ("one", "two")]
    writer = [{"grant": {"schema": ["CREATE"]}, "database": "two", "schemas": ["s"]}]
    estate.documents = {
        "a": [
            free_policy(),
            cluster("c", host, postgres={"parameters": {"work_mem": "7MB"}}, databases=databases),
            group("keeper", comment="keeps"),
            group("reader", privileges=reader),
            user(
                "app",
                auth={"method": "scram", "password": {"secret": "app"}},
                memberOf=["reader"],
                comment="the application",
                settings={"statement_timeout": "1min", "lock_timeout": "2s"},
            ),
            group("writer", privileges=writer, members={"roles": ["app"]}),
        ]
    }
    estate.commit()


class Crashes:
    """The small estate behind a proxy, and how its server looks when everything went well."""

    def __init__(self, server: PostgresServer, proxy: PgProxy, estate: EstateBuilder) -> None:
        self.server, self.proxy, self.estate = server, proxy, estate
        wipe(server)
        proxy.reset()
        run_here(estate, "apply", "--auto").done()
        self.statements = list(proxy.statements)
        self.good = state_of(server)
        run_here(estate, "plan", "--detailed-exitcode").done()

    def fresh(self) -> None:
        self.proxy.reset()
        wipe(self.server)

    def mends(self, note: str) -> None:
        """The next apply ends where an undisturbed one does, with no error on the server and nothing left to do."""
        self.proxy.reset()
        start = self.server.log.stat().st_size
        ran = run_here(self.estate, "apply", "--auto")
        assert ran.code == 0, f"{note}: {ran.text}"
        said = self.server.log.read_bytes()[start:].decode()
        assert " ERROR:" not in said, f"{note}: {said}"
        # `good` is a state whose next plan is empty: the constructor has looked
        assert state_of(self.server) == self.good, note


@pytest.fixture(scope="module")
def crashes(shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    with pg_proxy(shared_postgres.port) as proxy:
        estate = new_estate(tmp_path_factory.mktemp("crash"), shared_postgres)
        estate.settings["credentials"] = {"admin": credential(shared_postgres, proxy.port)}
        fill_small(estate, f"127.0.0.1:{proxy.port}")
        yield Crashes(shared_postgres, proxy, estate)
    wipe(shared_postgres)


def test_the_plan_has_enough_boundaries(crashes: Crashes) -> None:
    steps = [s for s in crashes.statements if s.startswith(("CREATE", "ALTER", "GRANT", "REVOKE", "COMMENT"))]
    assert len(steps) > 20, crashes.statements


@pytest.mark.parametrize("part", range(PARTS))
def test_kill_9_at_every_statement(crashes: Crashes, part: int) -> None:
    for number in range(1 + part, len(crashes.statements) + 1, PARTS):
        crashes.fresh()
        process = start_warm(crashes.estate, "apply", "--auto")

        def kill(n: int, text: str, at: int = number, pid: int | None = process.pid) -> object:
            if n < at or pid is None:
                return None
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return DROP

        crashes.proxy.before = kill
        process.join(20)
        assert process.exitcode == -signal.SIGKILL, f"{number}: {process.exitcode} {warm_words(crashes.estate)}"
        crashes.mends(f"killed before {number}: {crashes.statements[number - 1]}")


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_at_random_times(crashes: Crashes, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(3):
        crashes.fresh()
        process = start_warm(crashes.estate, "apply", "--auto")
        time.sleep(chance.uniform(0.05, 0.4))
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.join(20)
        crashes.mends(f"killed at random, seed {seed}")


@pytest.mark.parametrize("part", range(PARTS))
def test_a_connection_that_is_cut(crashes: Crashes, part: int) -> None:
    # every third is enough: kill -9 goes through all of them
    for number in range(1 + part, len(crashes.statements) + 1, 3 * PARTS):
        crashes.fresh()

        def cut(n: int, text: str, at: int = number) -> object:
            if n == at:
                crashes.proxy.cut()
            return DROP if n == at else None

        crashes.proxy.before = cut
        ran = run_here(crashes.estate, "apply", "--auto")
        note = f"cut before {number}: {crashes.statements[number - 1]}"
        assert ran.code in (1, 6), f"{note}: exit {ran.code}: {ran.text}"
        assert "Traceback" not in ran.text, note
        assert "connection" in ran.text, f"{note}: {ran.text}"
        crashes.mends(note)


POINTS = [
    "SELECT pg_catalog.pg_try_advisory_lock",
    "CREATE ROLE",
    "CREATE DATABASE",
    'CREATE SCHEMA "s"',
    "COMMIT",
    "ALTER SYSTEM",
]


@pytest.mark.parametrize("how", ["restart", "immediate", "terminate"])
@pytest.mark.parametrize("point", POINTS)
def test_a_server_that_goes_away_in_mid_apply(crashes: Crashes, point: str, how: str) -> None:
    crashes.fresh()
    server, done, restarted = crashes.server, [], threading.Event()

    def strike(n: int, text: str) -> None:
        if text.startswith(point) and not done:
            done.append(n)
            if how == "terminate":
                server.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgvillage%'"
                )
            else:
                server.restart(signal.SIGQUIT if how == "immediate" else signal.SIGINT)
                restarted.set()

    crashes.proxy.before = strike
    ran = run_here(crashes.estate, "apply", "--auto")
    assert done
    assert ran.code in (1, 6), ran.text
    assert "Traceback" not in ran.text
    assert how == "terminate" or restarted.wait(30)
    assert "run again" in ran.text or "terminat" in ran.text or "connection" in ran.text, ran.text
    crashes.mends(f"{how} at {point}")


def test_where_nothing_is_made_twice(tmp_path: Path, crashes: Crashes) -> None:
    """An apply after a whole one says nothing but the bookkeeping of a look."""
    crashes.fresh()
    run_here(crashes.estate, "apply", "--auto").done()
    crashes.proxy.reset()
    run_here(crashes.estate, "apply", "--auto").done()
    assert crashes.proxy.statements == []
    assert state_of(crashes.server) == crashes.good
