"""Nodes asked by SQL: every major version, a streaming pair, lesser accounts, and those that do not answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pgvillage.clients.pg_connect import Endpoint
from pgvillage.clients.pg_nodes import ask_nodes
from pgvillage.core.topology import NodeSql
from pgvillage.settings import Credential, Timeouts
from tests.servers import free_port, wait_until
from tests.servers.postgres import PostgresServer, postgres_server, standby_of

SENSITIVE = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions")


def endpoint(server: PostgresServer, user: str = "postgres", password: str | None = None) -> Endpoint:
    credential = Credential.model_validate(
        {
            "user": user,
            "password": {"command": ["echo", password or server.password]},
            "hosts": ["127.0.0.1:*"],
            "sslmode": "disable",
        }
    )
    return Endpoint("c", ["127.0.0.1:1"], "admin", credential, None, Timeouts())


def ask(asked: Endpoint, nodes: Mapping[str, str], *parameters: str, seconds: float = 20) -> dict[str, NodeSql | str]:
    return asyncio.run(ask_nodes(asked, nodes, parameters, seconds))


def answer(asked: Endpoint, host: str, *parameters: str) -> NodeSql:
    found = ask(asked, {"n": host}, *parameters)["n"]
    assert isinstance(found, NodeSql), found
    return found


def test_every_major_answers(pg_of_major: PostgresServer) -> None:
    pg = pg_of_major
    pg.sql("SELECT pg_create_physical_replication_slot('s', true)", "CREATE TABLE IF NOT EXISTS t (x int)")
    found = answer(endpoint(pg), pg.host, *SENSITIVE, "Work_Mem", "nothing.there")
    system, version = pg.sql("SELECT system_identifier::text, current_setting('server_version_num')::int "
                             "FROM pg_control_system()")[0]  # fmt: skip
    assert (found.system_identifier, found.version, found.timeline, found.recovering) == (system, version, 1, False)
    assert found.started_at == pg.sql("SELECT pg_postmaster_start_time()")[0][0]
    assert 0 < found.position <= pg.sql("SELECT (pg_current_wal_lsn() - '0/0')::int8")[0][0]
    assert [(slot.name, slot.physical, slot.active, slot.wal_status) for slot in found.slots] == [
        ("s", True, False, "reserved")
    ]
    assert {name: found.running[name] for name in SENSITIVE} == {n: found.controldata[n] for n in SENSITIVE}
    assert found.running["max_connections"] == "60"
    assert found.controldata["max_locks_per_transaction"] == "64"
    assert (found.running["work_mem"], found.gucs["work_mem"].unit) == ("4096", "kB")
    assert (found.file_errors, found.pending_restart, found.senders) == ((), (), ())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    folder = tmp_path_factory.mktemp("pair")
    with postgres_server(folder / "primary") as primary:
        with (primary.data / "pg_hba.conf").open("a") as file:
            file.write("host replication postgres 127.0.0.1/32 scram-sha-256\n")
        primary.sql("SELECT pg_reload_conf()", "CREATE ROLE watcher LOGIN PASSWORD 'hers' IN ROLE pg_monitor",
                    "CREATE ROLE anyone LOGIN PASSWORD 'his'")  # fmt: skip
        with standby_of(primary, folder / "standby") as standby:
            yield primary, standby


def test_a_pair(pair: tuple[PostgresServer, PostgresServer]) -> None:
    primary, standby = pair
    wait_until(lambda: answer(endpoint(primary), standby.host).streaming, "streaming", standby.log)
    nodes = {"a": primary.host, "b": standby.host, "c": f"127.0.0.1:{free_port()}", "d": "10.9.9.9:5432", "e": "a,b"}
    found = ask(endpoint(primary), nodes, "max_connections")
    a, b = found["a"], found["b"]
    assert isinstance(a, NodeSql)
    assert isinstance(b, NodeSql)
    assert (a.recovering, b.recovering, a.system_identifier) == (False, True, b.system_identifier)
    assert (b.streaming, b.streams_from, b.timeline, b.replay_seconds) == (True, primary.host, 1, 0)
    assert [(s.name, s.role, s.state, s.synchronous) for s in a.senders] == [
        ("walreceiver", "postgres", "streaming", "async")
    ]
    assert b.controldata["max_connections"] == a.running["max_connections"] == "60"
    assert "Connection refused" in str(found["c"])
    assert "may not be sent to 10.9.9.9:5432" in str(found["d"])
    assert "is not HOST:PORT" in str(found["e"])


@pytest.mark.parametrize(("user", "password", "sees"), [("watcher", "hers", True), ("anyone", "his", False)])
def test_lesser_accounts_see_what_they_may(
    pair: tuple[PostgresServer, PostgresServer], user: str, password: str, sees: bool
) -> None:
    primary, standby = pair
    asked = endpoint(primary, user, password)
    wait_until(lambda: isinstance(ask(asked, {"n": standby.host})["n"], NodeSql), "the role", standby.log)
    first, second = answer(asked, primary.host), answer(asked, standby.host)
    assert (second.recovering, second.streaming, second.timeline) == (True, True, 1)
    assert (second.streams_from == primary.host, [s.state for s in first.senders]) == (
        sees,
        ["streaming"] if sees else [""],
    )
    assert (first.controldata, first.file_errors) == ({}, ())


def test_a_broken_file_and_a_waiting_restart_are_told(pair: tuple[PostgresServer, PostgresServer]) -> None:
    primary, _ = pair
    asked = endpoint(primary)
    primary.sql("ALTER SYSTEM SET max_connections = 70", "SELECT pg_reload_conf()")
    wait_until(lambda: bool(answer(asked, primary.host).pending_restart), "pending_restart", primary.log)
    assert answer(asked, primary.host).pending_restart == ("max_connections",)
    assert answer(asked, primary.host).file_errors == ()
    conf = primary.data / "postgresql.conf"
    before = conf.read_text()
    conf.write_text(f"{before}no_such_thing = 1\n")
    primary.sql("GRANT SELECT ON pg_file_settings TO watcher",
                "GRANT EXECUTE ON FUNCTION pg_show_all_file_settings() TO watcher")  # fmt: skip
    for who in (asked, endpoint(primary, "watcher", "hers")):
        (text,) = answer(who, primary.host).file_errors
        assert "postgresql.conf" in text
        assert "(no_such_thing)" in text
        assert "unrecognized" in text
    conf.write_text(before)
    primary.sql("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


def test_one_that_hangs_delays_no_other(pair: tuple[PostgresServer, PostgresServer]) -> None:
    primary, standby = pair
    os.kill(primary.process.pid, signal.SIGSTOP)
    try:
        found = ask(endpoint(primary), {"a": primary.host, "b": standby.host}, seconds=4)
    finally:
        os.kill(primary.process.pid, signal.SIGCONT)
    assert "no answer within 4 s" in str(found["a"])
    assert isinstance(found["b"], NodeSql)


def test_questions_that_may_not_be_asked_leave_the_others(
    pair: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    primary, _ = pair
    primary.sql("REVOKE SELECT ON pg_stat_replication FROM PUBLIC", "REVOKE SELECT ON pg_settings FROM PUBLIC")
    try:
        found = answer(endpoint(primary, "anyone", "his"), primary.host, "max_connections")
    finally:
        primary.sql("GRANT SELECT ON pg_stat_replication TO PUBLIC", "GRANT SELECT ON pg_settings TO PUBLIC")
    assert (found.running, found.senders, found.recovering, found.timeline) == ({}, (), False, 1)
    wrong = replace(endpoint(primary, password="no"), cluster="c")
    assert "password authentication failed" in str(ask(wrong, {"n": primary.host})["n"])
