"""A plan that finds nothing to do asks little: at most fifteen statements a database, from the server's own log."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import psycopg

from pgvillage.clients.pg_read import ask, read_session
from pgvillage.core.live import Query
from tests.integration.conftest import EstateMaker
from tests.integration.test_objects import major, server_folders
from tests.integration.whole_estate import PASSWORDS, Whole, make_objects
from tests.servers.postgres import PostgresServer

MOST = 15


def test_statements_of_a_plan_without_changes(pg_of_major: PostgresServer, estate_of: EstateMaker) -> None:
    make_objects(pg_of_major)
    estate = estate_of(pg_of_major, secrets={name: {"command": ["echo", value]} for name, value in PASSWORDS.items()})
    with server_folders("fast") as (location,):
        estate.documents = Whole(major(pg_of_major), pg_of_major.host, location).documents()
        estate.commit()
        estate.apply().done()
        estate.settled()
        before = len(pg_of_major.log.read_text())
        estate.settled()
        found = statements(pg_of_major.log.read_text()[before:])
    assert set(found) == {"postgres", "shop", "made"}
    assert max(found.values()) <= MOST, found


def statements(log: str) -> Counter[str]:
    """By database, of sessions of PgVillage; BEGIN, SET and COMMIT are statements too.

    Not what libpq asks a server before PostgreSQL 14 by itself: whether it is the primary.
    """
    found = re.findall(r"pgvillage read@(\S+) LOG:  (?:statement|execute [^:]*):(.*)", log)
    return Counter(database for database, text in found if text.strip() != "SELECT pg_catalog.pg_is_in_recovery()")


def test_all_answers_come_from_one_snapshot(pg: PostgresServer) -> None:
    """Without BEGIN: what stands in one pipeline is one transaction, whatever others commit meanwhile."""
    pg.sql("CREATE SCHEMA busy", "CREATE TABLE busy.t ()")
    stop = threading.Event()

    def others() -> None:
        with pg.connect() as connection:
            while not stop.is_set():
                connection.execute("INSERT INTO busy.t DEFAULT VALUES")

    thread = threading.Thread(target=others)
    thread.start()
    try:
        answers = asyncio.run(_asked(pg))
    finally:
        stop.set()
        thread.join()
    assert len(answers) == 40
    assert len(set(answers.values())) == 1, answers


async def _asked(server: PostgresServer) -> dict[str, str]:
    endpoint: Any = SimpleNamespace(cluster="c", timeouts=SimpleNamespace(read=20, lock=5))
    settings = {name: value.replace(" ", r"\ ") for name, value in read_session(endpoint).items() if value}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    connection = await psycopg.AsyncConnection.connect(
        f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres",
        password=server.password, autocommit=True, options=options,
    )  # fmt: skip
    text = "SELECT count(*)::text || pg_catalog.current_setting('transaction_isolation') FROM busy.t"
    slow = f"{text}, pg_catalog.pg_sleep(0.02)"
    try:
        rows = await ask(connection, [Query(f"q{number}", slow) for number in range(40)], endpoint)
    finally:
        await connection.close()
    return {name: found[0][0] for name, found in rows.items()}
