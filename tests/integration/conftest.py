"""Servers that tests share, clean for each test or module that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.integration.estate_builder import EstateBuilder, credential
from tests.servers.postgres import MAJORS, PostgresServer, of_major, postgres_server

EstateMaker = Callable[..., EstateBuilder]


@pytest.fixture(scope="session")
def shared_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One server a worker; it logs every statement."""
    folder = tmp_path_factory.mktemp("postgres")
    with postgres_server(folder, log_statement="all", log_min_duration_statement="0", max_wal_size="256MB") as server:
        yield server


@pytest.fixture
def pg(shared_postgres: PostgresServer) -> PostgresServer:
    """The shared server, emptied."""
    wipe(shared_postgres)
    return shared_postgres


@pytest.fixture(scope="module", params=MAJORS, ids=lambda major: f"pg{major}")
def pg_of_major(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server of each major version in turn."""
    folder, logical = tmp_path_factory.mktemp(f"pg{request.param}"), {"wal_level": "logical"}
    with postgres_server(folder, of_major(request.param), log_statement="all", **logical) as server:
        yield server


@pytest.fixture
def estate_of(tmp_path: Path) -> EstateMaker:
    """Makes an estate in this test's folder, with a credential `admin` for a server."""

    def make(server: PostgresServer, name: str = "a", **settings: object) -> EstateBuilder:
        return new_estate(tmp_path / name, server, **settings)

    return make


def new_estate(folder: Path, server: PostgresServer, **settings: object) -> EstateBuilder:
    return EstateBuilder(folder, {"credentials": {"admin": credential(server)}, **settings})


def wipe(server: PostgresServer) -> None:
    """Everything that a test may have left: slots, databases, tablespaces, roles, settings, the ledger."""
    with server.connect() as connection:
        connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        _drop_databases(connection)
        for (name,) in connection.execute("SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'").fetchall():
            connection.execute(sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(name)))
        for (name,) in connection.execute(
            "SELECT nspname FROM pg_namespace "
            "WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')"
        ).fetchall():
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
        roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'")
        for (name,) in roles.fetchall():
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute("ALTER ROLE postgres RESET ALL")
        connection.execute("ALTER DATABASE postgres RESET ALL")
        connection.execute("GRANT CONNECT, TEMPORARY ON DATABASE postgres TO PUBLIC")
        connection.execute("SELECT pg_reload_conf()")


def _drop_databases(connection: psycopg.Connection[tuple[str, ...]]) -> None:
    found = connection.execute(
        "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')"
    )
    for (name,) in found.fetchall():
        connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
