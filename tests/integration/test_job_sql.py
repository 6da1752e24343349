"""The SQL of jobs on real servers: once, bounded, refused where it must be, and nothing left running."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgvillage.clients.job_sql.check import faults_of
from pgvillage.clients.job_sql.place import JobDoor, JobLogin, Place, nodes
from pgvillage.clients.job_sql.session import JobSession, open_session
from pgvillage.clients.pg_connect import Endpoint
from pgvillage.clients.pg_way import Way
from pgvillage.core.errors import ReadError
from pgvillage.core.job_work import SqlStatement, SqlWork, WorkResult
from pgvillage.core.secret import Secret
from pgvillage.jobs.statements import split
from pgvillage.settings import Credential, Timeouts
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import cluster, free_policy, user
from tests.servers.postgres import PostgresServer, of_major, postgres_server, standby_of

ROLE = "Rolle \"ü\" %s {} 'x'"
DATABASE = 'Da"ta ü %s'


def statements(text: str) -> tuple[SqlStatement, ...]:
    found = []
    for piece in split(text):
        line = text.count("\n", 0, piece.at) + 1
        if not piece.empty:
            found.append(SqlStatement(piece.bound, piece.names, piece.at, piece.alone, line))
    return tuple(found)


def work(text: str, key: str = "k", **more: Any) -> SqlWork:
    base = {"key": key, "run": "r", "step": "s", "token": 1, "role": ROLE}
    return SqlWork(statements=statements(text), **{**base, **more})


def door(server: PostgresServer, user: str = "jobs", *, superuser: bool = False) -> JobDoor:
    def credential(name: str) -> Credential:
        password = {"file": str(server.folder / "pw")}
        return Credential(user=name, password=password, hosts=["127.0.0.1:*"], sslmode="disable")  # type: ignore[arg-type]

    way = Way(Endpoint("c", (server.host,), "admin", credential("postgres"), None, Timeouts()))
    return JobDoor(way, JobLogin("jobs", credential(user)) if user != "postgres" else None, superuser)


def prepare(server: PostgresServer) -> None:
    quoted, database = ROLE.replace('"', '""'), DATABASE.replace('"', '""')
    server.sql(
        f'CREATE ROLE "{quoted}"', f"CREATE ROLE jobs LOGIN PASSWORD '{server.password}'",
        f'GRANT "{quoted}" TO jobs', f'CREATE DATABASE "{database}"',
    )  # fmt: skip
    server.sql(
        f'GRANT CREATE ON DATABASE "{database}" TO "{quoted}"', f'GRANT ALL ON SCHEMA public TO "{quoted}"',
        f'CREATE TABLE done (n serial, what text UNIQUE); ALTER TABLE done OWNER TO "{quoted}"', database=DATABASE,
    )  # fmt: skip


@pytest.fixture
def ready(pg: PostgresServer) -> PostgresServer:
    prepare(pg)
    return pg


@asynccontextmanager
async def session(server: PostgresServer, **more: Any) -> AsyncIterator[JobSession]:
    async with open_session(door(server, **more), Place(DATABASE)) as found:
        yield found


def drop(_: str) -> None:
    """A sink that nobody reads."""


async def run(server: PostgresServer, item: SqlWork, sink: Callable[[str], None] = drop) -> WorkResult:
    async with session(server) as one:
        return await one.run(item, sink)


def count(server: PostgresServer) -> int:
    return int(server.sql("SELECT count(*) FROM done", database=DATABASE)[0][0])


def sessions(server: PostgresServer) -> int:
    text = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgvillage job%'"
    return int(server.sql(text)[0][0])


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.05)


INSERT = "INSERT INTO done (what) VALUES (:w);\nSELECT count(*), current_user FROM done;"


async def once(server: PostgresServer) -> None:
    first = await run(server, work(INSERT, values={"w": "it's; $$ é"}))
    assert (first.error, first.rows, first.value, first.already) == ("", 1, "1", False), first
    assert first.output == "INSERT 0 1\ncount\tcurrent_user\n1\t" + ROLE + "\n(1 row)\n"
    again = await run(server, work(INSERT, values={"w": "other"}))
    assert (again.error, again.rows, again.value, again.already) == ("", 1, "1", True)
    assert count(server) == 1
    zombie = work(INSERT, "never run", values={"w": "zombie"})
    async with session(server) as old, session(server) as new:
        assert not (await old.run(work("SELECT 1", "a", run="x"), drop)).error
        assert not (await new.run(work("SELECT 1", "b", run="x", token=2), drop)).error
        refused = await old.run(work(INSERT, "c", run="x", values={"w": "z"}), drop)
        assert refused.error, "its session was ended by the greater token"
        async with session(server) as later:
            late = await later.run(work(INSERT, "d", run="x", values={"w": "z"}), drop)
            assert "taken over" in late.error
    assert zombie.token == 1
    assert count(server) == 1


async def test_a_step_is_done_once_and_a_zombie_is_refused(ready: PostgresServer) -> None:
    await once(ready)


@pytest.mark.parametrize("version", [13, 18])
async def test_on_the_oldest_and_the_newest_major(version: int, tmp_path: Any) -> None:
    with postgres_server(tmp_path / "pg", of_major(version)) as server:
        prepare(server)
        await once(server)
        await refuses_early_ends(server)


EARLY = (
    "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "END", "ABORT", "PREPARE TRANSACTION 'p'",
    "DO $$ BEGIN COMMIT; END $$", "DO $$ BEGIN ROLLBACK; END $$", "CALL ends()",
    "RESET ROLE; DELETE FROM pgvillage.job_step", "SET CONSTRAINTS ALL IMMEDIATE",
)  # fmt: skip


async def refuses_early_ends(server: PostgresServer) -> None:
    server.sql("TRUNCATE done", database=DATABASE)
    made = await run(server, work("CREATE PROCEDURE ends() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$", "procedure"))
    assert not made.error, made
    for number, end in enumerate(EARLY):
        text = f"INSERT INTO done (what) VALUES ('before');\n{end};\nINSERT INTO done (what) VALUES ('after')"
        found = await run(server, work(text, f"early {number}"))
        assert found.rc == 1, (end, found)
        assert found.error, end
        assert count(server) == 0, end


async def test_a_script_that_ends_the_transaction_commits_nothing(ready: PostgresServer) -> None:
    await refuses_early_ends(ready)


async def test_a_late_error_says_its_line_and_undoes_everything(ready: PostgresServer) -> None:
    text = "INSERT INTO done (what) VALUES ('a');\n\n-- why\nSELECT\n  missing FROM done;"
    found = await run(ready, work(text))
    assert found.error.startswith("line 5: ERROR 42703: "), found
    assert count(ready) == 0
    text = "INSERT INTO done (what) VALUES (:w);\n\nINSERT INTO done (what) VALUES (:w)"
    found = await run(ready, work(text, values={"w": Secret("geheim-123")}))
    assert found.error.startswith("line 3: ERROR 23505"), found
    assert "geheim" not in repr(found)


async def test_what_it_prints(ready: PostgresServer) -> None:
    text = (
        "DO $$ BEGIN RAISE NOTICE 'note %', 1; RAISE WARNING 'warn'; END $$;\n"
        "SELECT :n::int + :nn::int AS sum, ':n' AS text, $$:n$$ AS dollars, :b::bool AS b, NULL, E'tab\\there' AS t;\n"
        "CREATE FUNCTION pg_temp.one() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;\n"
        "SELECT pg_temp.one(), :s::text"
    )
    pieces: list[str] = []
    values = {"n": 1, "nn": 20, "b": True, "s": Secret("planted-secret")}
    found = await run(ready, work(text, values=values), pieces.append)
    assert not found.error
    assert "NOTICE:  note 1\nWARNING:  warn\n" in found.output
    assert "21\t:n\t:n\tt\t\ttab\\there\n" in found.output
    assert (found.rows, found.value) == (1, "2")
    assert "".join(pieces) == found.output
    assert "planted-secret" not in found.output
    assert "(secret)" in found.output


async def test_a_million_rows_need_little_memory(ready: PostgresServer) -> None:
    item = work("SELECT n, repeat('x', 500) FROM generate_series(1, 1000000) n", keep=10_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = await run(ready, item)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (found.rows, found.value, found.truncated, len(found.output)) == (1_000_000, "1", True, 10_000)
    assert grown < 50_000, f"{grown} KiB"


async def test_limits_and_cancelling_leave_nothing(ready: PostgresServer) -> None:
    slow = await run(ready, work("SELECT pg_sleep(60)", statement_timeout=200))
    assert "57014" in slow.error
    async with session(ready) as one:
        task = asyncio.create_task(one.run(work("INSERT INTO done (what) VALUES ('x'); SELECT pg_sleep(600)"), drop))
        asleep = "SELECT 1 FROM pg_stat_activity WHERE query ~ '^ ?SELECT pg_sleep' AND state = 'active'"
        await until(lambda: bool(ready.sql(asleep)))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: sessions(ready) == 0)
    assert count(ready) == 0


async def test_a_deadlock_is_worth_another_try(ready: PostgresServer) -> None:
    ready.sql("INSERT INTO done (what) VALUES ('a'), ('b')", database=DATABASE)
    turn = "UPDATE done SET n = n WHERE what = '{}'; SELECT pg_sleep(1); UPDATE done SET n = n WHERE what = '{}'"
    both = await asyncio.gather(
        run(ready, work(turn.format("a", "b"), "k1", run="r1")), run(ready, work(turn.format("b", "a"), "k2", run="r2"))
    )
    assert sorted((bool(found.error), found.transient) for found in both) == [(False, False), (True, True)]


async def test_plain_statements(ready: PostgresServer) -> None:
    text = (
        "CREATE PROCEDURE two() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO done (what) VALUES ('p'); COMMIT; "
        "INSERT INTO done (what) VALUES ('q'); ROLLBACK; END $$;\nCALL two();\nVACUUM done;\nBEGIN;\n"
        "INSERT INTO done (what) VALUES ('open')"
    )
    async with session(ready) as one:
        found = await one.run(work(text, transaction=False, statement_timeout=5000), drop)
        assert "left a transaction open" in found.error
        assert count(ready) == 1
        after = await one.run(
            work("SELECT current_user || current_setting('statement_timeout')", transaction=False, role=None), drop
        )
        assert after.value == "jobs0"


async def test_a_cut_connection_is_seen(ready: PostgresServer) -> None:
    async with session(ready) as one:
        task = asyncio.create_task(one.run(work("INSERT INTO done (what) VALUES ('x'); SELECT pg_sleep(600)"), drop))
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^ ?SELECT pg_sleep'"
        await until(lambda: bool(ready.sql(kill + " AND state = 'active' AND pid <> pg_backend_pid()")))
        found = await task
        assert (found.moved, found.uncertain, found.rc) == (True, False, 1), found
        assert (await one.run(work("SELECT 1", "l"), drop)).moved
    assert count(ready) == 0


async def test_who_may_become_superuser_is_refused(ready: PostgresServer) -> None:
    for grant in ("GRANT postgres TO jobs", "GRANT pg_execute_server_program TO jobs", "ALTER ROLE jobs SUPERUSER"):
        ready.sql(grant)
        with pytest.raises(ReadError, match="jobs"):
            await run(ready, work("SELECT 1"))
        async with session(ready, superuser=True) as one:
            assert not (await one.run(work("SELECT 1", grant), drop)).error
        ready.sql("REVOKE postgres, pg_execute_server_program FROM jobs", "ALTER ROLE jobs NOSUPERUSER")


async def test_a_schema_that_another_made_is_not_used(ready: PostgresServer) -> None:
    ready.sql("CREATE SCHEMA pgvillage AUTHORIZATION jobs", database=DATABASE)
    found = await run(ready, work("SELECT 1"))
    assert "belongs to 'jobs'" in found.error


CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from tests.integration import test_job_sql as t
from pgvillage.clients.job_sql import transaction as x
host, folder, when = sys.argv[1:]
server = SimpleNamespace(host=host, folder=Path(folder))
commit = x._commit
async def killed(session):
    if when == "after":
        await commit(session)
    os.kill(os.getpid(), signal.SIGKILL)
x._commit = killed
asyncio.run(t.run(server, t.work("INSERT INTO done (what) VALUES ('child')", "child")))
"""


@pytest.mark.parametrize(("when", "already"), [("before", False), ("after", True)])
async def test_killed_around_commit_it_is_done_once(ready: PostgresServer, when: str, already: bool) -> None:
    command = [sys.executable, "-c", CHILD, ready.host, str(ready.folder), when]
    child = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert count(ready) == int(already)
    found = await run(ready, work("INSERT INTO done (what) VALUES ('child')", "child", token=2))
    assert (found.error, found.already, count(ready)) == ("", already, 1)


@pytest.mark.parametrize("committed", [True, False])
async def test_a_lost_answer_to_commit_is_looked_up(
    ready: PostgresServer, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    from pgvillage.clients.job_sql import transaction

    real = transaction._commit

    async def lost(connection: Any) -> None:
        if committed:
            await real(connection)
        raise transaction.CommitLost

    monkeypatch.setattr(transaction, "_commit", lost)
    found = await run(ready, work("INSERT INTO done (what) VALUES ('x')"))
    assert (found.rc, found.moved, found.uncertain) == (int(not committed), not committed, False), found
    assert count(ready) == int(committed)


async def test_statements_are_checked_without_running(ready: PostgresServer) -> None:
    text = "SELECT 1;\nSELEC 2;\nINSERT INTO done (what, nope) VALUES (:w, 1);\nUPDATE done SET what = :w"
    found = await faults_of(door(ready), DATABASE, work(text, values={"w": "x"}))
    assert [fault.line for fault in found] == [2, 3], found
    later = "CREATE TABLE later (a int);\nINSERT INTO later VALUES (1)"
    assert await faults_of(door(ready), DATABASE, work(later)) == []
    assert count(ready) == 0


async def test_our_schema_is_nobody_elses_business(pg: PostgresServer, estate_of: EstateMaker) -> None:
    pg.sql(f"CREATE ROLE jobs LOGIN PASSWORD '{pg.password}'", "CREATE DATABASE shop")
    pg.sql("CREATE SCHEMA app", "CREATE TABLE app.t ()", database="shop")
    estate = estate_of(pg)
    grant = {"grant": {"table": ["SELECT"]}, "database": "shop", "schemas": ["app"]}
    shop = cluster("c", pg.host, databases=[{"name": "shop"}])
    estate.documents = {"a": [free_policy(), shop, user("jobs", privileges=[grant])]}
    estate.commit()
    estate.apply().done()
    async with open_session(door(pg), Place("shop")) as one:
        assert not (await one.run(work("SELECT 1", role=None), drop)).error
        estate.settled()  # or the job's login would lose its ledger at the next apply
        again = await one.run(work("SELECT 1", role=None), drop)
        assert again.already, again
    assert "pgvillage" not in estate.run("drift", "-o", "json").text.replace('"pgvillage/', "")


async def test_a_standby_takes_reading_alone(tmp_path: Path) -> None:
    with postgres_server(tmp_path / "primary") as server:
        prepare(server)
        with standby_of(server, tmp_path / "standby") as standby:
            there = replace(door(server).way.endpoint, hosts=(server.host, standby.host))
            both = replace(door(server), way=Way(there))
            assert await nodes(both.way) == [server.host, standby.host]
            await until(lambda: standby.sql("SELECT count(*) FROM pg_database")[0][0] == 4)
            for target, node in (("standby", ""), ("prefer-standby", ""), ("all", standby.host), ("any", standby.host)):
                async with open_session(both, Place(DATABASE, target, node)) as one:
                    found = await one.run(work("SELECT pg_is_in_recovery()"), drop)
                    assert (found.error, found.value) == ("", "t")
            with pytest.raises(ReadError, match="it is the primary"):
                async with open_session(both, Place(DATABASE, "standby", server.host)):
                    pass
