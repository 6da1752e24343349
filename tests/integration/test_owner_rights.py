"""Owners keep their own rights: no `permission denied` on a new table of one's own, no grant for ever in the diff."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EstateBuilder, cluster, free_policy, group
from tests.servers.postgres import PostgresServer

EVERYTHING = {"table": ["ALL"], "sequence": ["ALL"], "function": ["ALL"], "type": ["ALL"], "schema": ["ALL"]}
OBJECTS = (
    "CREATE TABLE app.{0}_t (id serial)",
    "CREATE FUNCTION app.{0}_f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE app.{0}_e AS ENUM ('a')",
)


def estate_for(pg: PostgresServer, estate_of: EstateMaker, owner: str, *more: dict[str, Any]) -> EstateBuilder:
    pg.sql("CREATE ROLE own", "CREATE ROLE other", "CREATE DATABASE shop OWNER own")
    pg.sql(f"CREATE SCHEMA app AUTHORIZATION {owner}", "GRANT ALL ON SCHEMA app TO own, other", database="shop")
    for role in ("own", "other"):
        pg.sql(f"SET ROLE {role}", *(text.format(role) for text in OBJECTS), database="shop")
    grant = {"grant": EVERYTHING, "database": "shop", "schemas": ["app"], "future": {"creators": ["own", "other"]}}
    estate = estate_of(pg)
    databases = [{"name": "shop", "owner": "own"}]
    estate.documents = {
        "a": [free_policy(), cluster("c", pg.host, databases=databases), group("own", privileges=[grant]),
              group("other", privileges=[grant]), *more],
    }  # fmt: skip
    estate.commit()
    return estate


@pytest.mark.parametrize("owner", ["own", "other", "pg_database_owner"])
def test_all_on_mixed_owners(pg: PostgresServer, estate_of: EstateMaker, owner: str) -> None:
    if owner == "pg_database_owner" and pg.sql("SHOW server_version_num")[0][0] < "140000":
        return  # there is no pg_database_owner yet
    estate = estate_for(pg, estate_of, owner)
    estate.apply().done()
    estate.settled()
    for role in ("own", "other"):  # each may use what either made, its own too, also what comes later
        uses = ("SELECT FROM app.own_t, app.other_t", "SELECT app.own_f(), app.other_f()")
        makes = (f"CREATE TABLE app.{role}_new (id int)", f"INSERT INTO app.{role}_new VALUES (1)")
        pg.sql(f"SET ROLE {role}", *uses, *makes, database="shop")
    for role in ("own", "other"):
        pg.sql(f"SET ROLE {role}", "SELECT FROM app.own_new, app.other_new", database="shop")
    estate.settled()


def test_an_owner_that_is_a_member(pg: PostgresServer, estate_of: EstateMaker) -> None:
    grant = {"grant": {"table": ["SELECT"]}, "database": "shop", "schemas": ["app"]}
    estate = estate_for(pg, estate_of, "own", group("team", members={"roles": ["own"]}, privileges=[grant]))
    estate.apply().done()
    estate.settled()
    pg.sql("SET ROLE own", "CREATE TABLE app.late (id int)", "INSERT INTO app.late VALUES (1)", database="shop")
    estate.apply().done()
    estate.settled()


def test_a_row_that_another_session_changes_is_tried_again(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_for(pg, estate_of, "own")
    estate.apply().done()
    pg.sql("REVOKE SELECT ON app.own_t FROM other", database="shop")
    held, go, logged = threading.Event(), threading.Event(), len(pg.log.read_text())

    def second_session() -> None:
        with pg.connect("shop") as connection:
            connection.autocommit = False
            connection.execute("GRANT TRIGGER ON app.own_t TO PUBLIC")
            held.set()
            go.wait(60)
            connection.commit()

    thread = threading.Thread(target=second_session)
    thread.start()
    try:
        assert held.wait(30)
        process = estate.start("apply", "--auto")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'shop'"
        for _ in range(300):
            if pg.sql(waiting) != [(0,)]:
                break
            threading.Event().wait(0.1)
        else:
            pytest.fail("the apply never met the other session")
        go.set()
        out, err = process.communicate(timeout=60)
    finally:
        go.set()
        thread.join()
    assert process.returncode == 0, out + err
    assert "tuple concurrently updated" in pg.log.read_text()[logged:]
    estate.settled()
