"""Printed connections, followed by real drivers through a switchover and a kill of a three-node Patroni cluster."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path

import asyncpg
import psycopg
import pytest

from pgvillage.cli.app import run
from tests.integration.estate_builder import EstateBuilder
from tests.integration.printed_programs import Program, go_program, java_program
from tests.servers import wait_until
from tests.servers.patroni import FAILOVER_SECONDS, PatroniCluster, PatroniNode, patroni_cluster

HOSTILE = "s h'o\"p\\;{%41é}=/&"
Answer = tuple[int, bool]
QUESTION = "SELECT inet_server_port(), pg_is_in_recovery()"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatroniCluster]:
    with patroni_cluster(tmp_path_factory.mktemp("patroni")) as running:
        yield running


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory, cluster: PatroniCluster) -> EstateBuilder:
    """The cluster in a manifest that says nothing about who leads."""
    hosts = [node.host for node in cluster.nodes]
    admin = {"user": "postgres", "password": {"env": "ADMIN_PASSWORD"}, "hosts": hosts, "sslmode": "disable"}
    built = EstateBuilder(tmp_path_factory.mktemp("estate"), {"credentials": {"admin": admin}})
    spec = {"connection": {"hosts": hosts, "credential": "admin"}}
    metadata = {"name": "orders"}
    built.documents["orders"] = [
        {"apiVersion": "pgvillage/v1", "kind": "Cluster", "metadata": metadata, "spec": spec},
    ]
    built.commit()
    return built


ROLES = ("primary", "standby", "prefer-standby")


@pytest.fixture(scope="module")
def programs(
    estate: EstateBuilder, cluster: PatroniCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Program]]:
    """pgx and pgJDBC, each with the snippets of every role, and of the database with the hostile name."""
    folder = tmp_path_factory.mktemp("programs")
    with ExitStack() as stack:
        running = {}
        for name, driver, start in (("pgx", "go", go_program), ("pgJDBC", "jdbc", java_program)):
            snippets = {role: dsn(estate, driver, role, "--snippet") for role in ROLES}
            snippets["hostile"] = dsn(estate, driver, "primary", "-d", HOSTILE, "--snippet")
            running[name] = stack.enter_context(start(folder / name, snippets, cluster.password))
        yield running


def pgvillage(estate: EstateBuilder, *words: str, password: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    command = [sys.executable, "-m", "pgvillage", *words, "--settings", str(estate.settings_file)]
    if "--" in words:
        at = words.index("--")
        command = [sys.executable, "-m", "pgvillage", *words[:at], "--settings", str(estate.settings_file), *words[at:]]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def dsn(estate: EstateBuilder, driver: str, role: str, *more: str) -> str:
    """What the command prints, run in this process: it is called often."""
    words = ["dsn", "orders", "--for", driver, "--role", role, "-U", "postgres", *more]
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as said:
        code = run([*words, "--settings", str(estate.settings_file)])
    assert code == 0, said.getvalue()
    return printed.getvalue().rstrip("\n")


def by_psycopg(text: str, cluster: PatroniCluster) -> Answer:
    with psycopg.connect(text, password=cluster.password, connect_timeout=5) as connection:
        port, standby = connection.execute(QUESTION).fetchall()[0]
        return int(port), bool(standby)


def by_asyncpg(text: str, cluster: PatroniCluster) -> Answer:
    async def ask() -> Answer:
        connection = await asyncpg.connect(text, password=cluster.password, timeout=5)
        try:
            row = await connection.fetchrow(QUESTION)
            return int(row[0]), bool(row[1])
        finally:
            await connection.close()

    return asyncio.run(ask())


def by_node(snippet: str, cluster: PatroniCluster) -> Answer:
    """The printed snippet as it is, and one question after it."""
    query = f"const {{rows}} = await client.query({json.dumps(QUESTION)})"
    ask = f"connect().then(async client => {{{query}; console.log(JSON.stringify(rows[0])); await client.end()}})"
    own = Path(sys.executable).with_name("node")
    environment = {**os.environ, "PGPASSWORD": cluster.password, "NODE_PATH": str(node_modules())}
    command = [str(own) if own.exists() else "node", "-e", f"{snippet}\n{ask}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    if done.returncode:
        raise ConnectionError(done.stderr)
    row = json.loads(done.stdout)
    return row["inet_server_port"], row["pg_is_in_recovery"]


def node_modules() -> Path:
    place = Path(os.environ.get("PGVILLAGE_TEST_CLIENTS") or Path(sys.prefix) / "clients") / "node_modules"
    if not (place / "pg").exists():
        pytest.skip(f"pg for Node.js is not in {place}: scripts/test installs it")
    return place


Ask = Callable[[str], Answer]


def clients(estate: EstateBuilder, cluster: PatroniCluster, programs: dict[str, Program]) -> dict[str, Ask]:
    """For each driver: what a client hears that connects in a role by what is printed for it before anything fails."""
    python = {role: dsn(estate, "python", role) for role in ROLES}
    node = {role: dsn(estate, "node", role, "--snippet") for role in ROLES}
    return {
        "psycopg": lambda role: by_psycopg(python[role], cluster),
        "asyncpg": lambda role: by_asyncpg(python[role], cluster),
        "pg": lambda role: by_node(node[role], cluster),
        **{name: lambda role, program=program: program.ask(role)[:2] for name, program in programs.items()},
    }


def reaches(ask: Ask, role: str) -> Answer:
    """What a client that connects again until somebody answers hears at last."""
    deadline = time.monotonic() + FAILOVER_SECONDS
    while True:
        try:
            return ask(role)
        except (psycopg.OperationalError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            if time.monotonic() > deadline:
                raise


def check(asks: dict[str, Ask], leader: PatroniNode) -> None:
    for name, ask in asks.items():
        assert reaches(ask, "primary") == (leader.port, False), name
        port, standby = reaches(ask, "standby")
        assert standby, name
        assert port != leader.port, name


def test_clients_follow_a_switchover_and_a_killed_primary(
    estate: EstateBuilder, cluster: PatroniCluster, programs: dict[str, Program]
) -> None:
    asks = clients(estate, cluster, programs)
    first = cluster.wait()
    check(asks, first)
    assert {name: ask("prefer-standby")[1] for name, ask in asks.items()} == dict.fromkeys(asks, True)
    second = cluster.switchover(next(node for node in cluster.nodes if node is not first))
    cluster.wait()
    check(asks, second)
    cluster.kill(second)
    # nobody waits for Patroni here: the clients find the new primary by themselves
    for name in ("psycopg", *programs):
        port, standby = reaches(asks[name], "primary")
        assert not standby, name
        assert port != second.port, name
    check(asks, cluster.wait(streaming=1))


def running(cluster: PatroniCluster) -> list[PatroniNode]:
    return [node for node in cluster.nodes if node.postmaster() is not None]


def has_database(cluster: PatroniCluster, node: PatroniNode) -> bool:
    with cluster.connect(node) as connection:
        return bool(connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [HOSTILE]).fetchall())


def test_hostile_names_arrive_by_every_form(
    estate: EstateBuilder, cluster: PatroniCluster, programs: dict[str, Program]
) -> None:
    leader = cluster.wait(streaming=0)
    with cluster.connect(leader) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(HOSTILE)))
    # a host that knows no such database yet may end a driver's search for the right one
    wait_until(lambda: all(has_database(cluster, node) for node in running(cluster)), "the database on every node")
    for driver in ("libpq", "go", "python"):
        with psycopg.connect(dsn(estate, driver, "primary", "-d", HOSTILE), password=cluster.password) as connection:
            assert connection.info.dbname == HOSTILE

    text = dsn(estate, "python", "primary", "-d", HOSTILE)

    async def ask() -> str:
        connection = await asyncpg.connect(text, password=cluster.password)
        try:
            return str(await connection.fetchval("SELECT current_database()"))
        finally:
            await connection.close()

    assert asyncio.run(ask()) == HOSTILE
    assert by_node(dsn(estate, "node", "primary", "-d", HOSTILE, "--snippet"), cluster) == (leader.port, False)
    for program in programs.values():
        assert program.ask("hostile") == (leader.port, False, HOSTILE)


def test_psql_reads_the_service_section_and_connect_opens_it(estate: EstateBuilder, cluster: PatroniCluster) -> None:
    leader = cluster.wait(streaming=0)
    service = estate.folder / "pg_service.conf"
    service.write_text(dsn(estate, "libpq", "primary", "--service-file") + "\n")
    environment = {**os.environ, "PGSERVICEFILE": str(service), "PGPASSWORD": cluster.password}
    command = ["psql", "-XAtc", "SELECT inet_server_port()", "service=orders"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (str(leader.port), "")
    words = ("connect", "orders", "--role", "standby", "-U", "postgres", "--", "-XAtc", "SELECT pg_is_in_recovery()")
    opened = pgvillage(estate, *words, password=cluster.password)
    assert (opened.stdout, opened.stderr, opened.returncode) == ("t\n", "", 0)


def test_output_names_no_password_and_wrong_names_get_the_nearest(
    estate: EstateBuilder, cluster: PatroniCluster
) -> None:
    shown = pgvillage(estate, "dsn", "orders", "--for", "jdbc", "-o", "json")
    document = json.loads(shown.stdout)
    assert document["hosts"] == [node.host for node in cluster.nodes]
    assert not re.search("password", shown.stdout, re.IGNORECASE)
    wrong = pgvillage(estate, "dsn", "order")
    assert wrong.returncode == 64
    assert "did you mean orders?" in wrong.stderr
    mode = pgvillage(estate, "dsn", "orders", "--sslmode", "verify-ful")
    assert "did you mean verify-full?" in mode.stderr
