"""Subscriptions between two real servers; the connection's password is never shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder, cluster, free_policy
from tests.integration.warm_command import run_here
from tests.servers import wait_until
from tests.servers.postgres import PostgresServer, postgres_server

SECRET = "planted 'quoted\\password"
ADDRESS = "c/subscription/shop.s"


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("publisher"), wal_level="logical") as server:
        literal = SECRET.replace("'", "''")
        server.sql(f"CREATE ROLE copier LOGIN SUPERUSER PASSWORD '{literal}'", "CREATE DATABASE source")
        server.sql("CREATE SCHEMA app", "CREATE TABLE app.t (id int PRIMARY KEY)", database="source")
        server.sql("INSERT INTO app.t VALUES (1)", "CREATE PUBLICATION p FOR TABLE app.t", database="source")
        server.sql("CREATE PUBLICATION q FOR TABLE app.t", database="source")
        yield server


def warm(estate_of: EstateMaker, server: PostgresServer, **settings: object) -> EstateBuilder:
    estate = estate_of(server, **settings)
    estate.run = lambda *arguments: run_here(estate, *arguments)  # type: ignore[method-assign]
    return estate


def declare(estate: EstateBuilder, server: PostgresServer, **subscription: Any) -> None:
    shop = {"name": "shop", "schemas": [{"name": "app"}], "subscriptions": [subscription] if subscription else []}
    estate.documents = {"a": [free_policy(), cluster("c", server.host, databases=[shop])]}
    estate.commit()


def test_a_subscription_from_its_making_to_its_end(
    pg: PostgresServer, publisher: PostgresServer, estate_of: EstateMaker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("secret") / "pw"
    path.write_text(SECRET)
    estate = warm(estate_of, pg, secrets={"copier": {"file": str(path)}})
    declare(estate, pg)
    estate.apply().done()
    pg.sql("CREATE TABLE app.t (id int PRIMARY KEY)", database="shop")
    spec: dict[str, Any] = {
        "name": "s",
        "connection": {"host": "127.0.0.1", "port": publisher.port, "database": "source", "user": "copier"},
        "password": {"secret": "copier"},
        "publications": ["p"],
        "comment": "copies",
        "disableOnError": True,
    }
    declare(estate, pg, **spec)
    said = [estate.plan().done().text, estate.apply().done().text]
    estate.settled()
    wait_until(lambda: pg.sql("SELECT id FROM app.t", database="shop") == [(1,)], "the first copy")
    for statement, field in (
        ("ALTER SUBSCRIPTION s DISABLE", "enabled"),
        ("ALTER SUBSCRIPTION s SET PUBLICATION q WITH (refresh = false)", "publications"),
        ("ALTER SUBSCRIPTION s SET (disable_on_error = false)", "disable_on_error"),
        ("COMMENT ON SUBSCRIPTION s IS NULL", "comment"),
        ("ALTER SUBSCRIPTION s CONNECTION 'host=127.0.0.1 password=hunter2-planted'", "connection"),
    ):
        pg.sql(statement, database="shop")
        ran = estate.run("drift", "-o", "json").done(EXIT_CHANGES)
        change = ran.changes[ADDRESS]
        assert change["origin"] == "drift"
        if field == "connection":
            assert change["sensitive_changed"] == ["connection"]
        else:
            assert change["before"][field] != change["after"][field]
        said += [ran.text, estate.apply().done().text]
        estate.settled()
    publisher.sql("INSERT INTO app.t VALUES (2)", database="source")
    wait_until(lambda: pg.sql("SELECT count(*) FROM app.t", database="shop") == [(2,)], "the second row")
    path.write_text("another")
    assert estate.plan().changes[ADDRESS]["sensitive_changed"] == ["connection"], "a changed secret is seen"
    path.write_text(SECRET)
    for more in ({"binary": True, "streaming": "on"}, {"publications": ["p", "q"]}, {"enabled": False}):
        spec |= more
        declare(estate, pg, **spec)
        said.append(estate.apply().done().text)
        estate.settled()
    a_lesser_account(estate, pg)
    declare(estate, pg, name="s", ensure="absent")
    said.append(estate.apply().done().text)
    estate.settled()
    assert publisher.sql("SELECT FROM pg_replication_slots", database="source") == []
    assert "planted" not in "".join(said)
    assert "hunter2" not in "".join(said)


def a_lesser_account(estate: EstateBuilder, server: PostgresServer) -> None:
    server.sql(
        "CREATE ROLE steward LOGIN PASSWORD 'its-password'",
        "GRANT USAGE ON SCHEMA pgvillage TO steward",
        "GRANT SELECT ON ALL TABLES IN SCHEMA pgvillage TO steward",
    )
    admin = dict(estate.settings["credentials"]["admin"])
    estate.settings["credentials"]["admin"] |= {"user": "steward", "password": {"command": ["echo", "its-password"]}}
    estate.commit()
    plan = estate.plan().done()
    assert ADDRESS not in plan.changes
    assert plan.text.count("only a superuser may read the connections") == 1
    estate.settings["credentials"]["admin"] = admin
    estate.commit()


def test_an_unreachable_publisher_stops_the_drop_with_what_to_do(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = warm(estate_of, pg)
    declare(estate, pg)
    estate.apply().done()
    nowhere = "host=127.0.0.1 port=1 connect_timeout=2"
    pg.sql(f"CREATE SUBSCRIPTION s CONNECTION '{nowhere}' PUBLICATION p WITH (connect = false)", database="shop")
    try:
        declare(estate, pg, name="s", ensure="absent")
        ran = estate.apply()
        assert "Traceback" not in ran.text
        assert ran.code in (1, 6)
        assert "slot_name = NONE" in ran.text
        pg.sql("ALTER SUBSCRIPTION s SET (slot_name = NONE)", database="shop")
        estate.apply().done()
        estate.settled()
    finally:
        pg.sql("ALTER DATABASE shop ALLOW_CONNECTIONS true")
        left = pg.sql("SELECT FROM pg_subscription")
        if left:
            pg.sql(
                "ALTER SUBSCRIPTION s DISABLE",
                "ALTER SUBSCRIPTION s SET (slot_name = NONE)",
                "DROP SUBSCRIPTION s",
                database="shop",
            )
