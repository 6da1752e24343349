"""Every kind of drift: made by hand on a real server, found and named with before and after, corrected, gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.conftest import new_estate, wipe
from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder
from tests.integration.shop_estate import fill_shop, make_tables
from tests.servers.postgres import PostgresServer

ANY = object()


@dataclass(frozen=True)
class Drift:
    """Statements by hand, and the change that must be found: its action and some fields as (before, after)."""

    name: str
    statements: tuple[str, ...]
    address: str
    action: str
    fields: dict[str, tuple[Any, Any]]
    database: str = "shop"


def attribute(word: str, name: str, before: Any, after: Any) -> Drift:
    return Drift(f"role {word}", (f"ALTER ROLE app {word}",), "c/role/app", "update", {name: (before, after)})


READERS = "c/privilege/table.shop.app.readers"
APP_TABLE = "c/privilege/table.shop.app.app"
ALL_TABLES = ["t1", "t2", "v1"]
CASES = [
    attribute("SUPERUSER", "superuser", True, False),
    attribute("CREATEDB", "createdb", True, False),
    attribute("CREATEROLE", "createrole", True, False),
    attribute("NOINHERIT", "inherit", False, True),
    attribute("NOLOGIN", "login", False, True),
    attribute("REPLICATION", "replication", True, False),
    attribute("BYPASSRLS", "bypassrls", True, False),
    attribute("CONNECTION LIMIT 3", "connection_limit", 3, 20),
    attribute("VALID UNTIL '2030-01-01 00:00:00Z'", "valid_until", "2030-01-01T00:00:00Z", "2099-06-30T00:00:00Z"),
    attribute("VALID UNTIL 'infinity'", "valid_until", None, "2099-06-30T00:00:00Z"),
    Drift("role dropped", ("REVOKE readers, writers FROM app", "DROP OWNED BY app", "DROP ROLE app"),
          "c/role/app", "create", {"login": (None, True)}),
    Drift("role comment", ("COMMENT ON ROLE app IS 'hacked'",),
          "c/role/app", "update", {"comment": ("hacked", "the application")}),
    Drift("role comment gone", ("COMMENT ON ROLE app IS NULL",),
          "c/role/app", "update", {"comment": (None, "the application")}),
    Drift("password changed", ("ALTER ROLE app PASSWORD 'other'",), "c/role/app", "update", {}),
    Drift("password taken", ("ALTER ROLE app PASSWORD NULL",), "c/role/app", "update", {}),
    Drift("password md5", ("SET password_encryption = 'md5'", "ALTER ROLE app PASSWORD 'planted-app-password'"),
          "c/role/app", "update", {}),
    Drift("password given", ("ALTER ROLE chief PASSWORD 'new'",), "c/role/chief", "update", {}),
    Drift("role setting", ("ALTER ROLE app SET statement_timeout = '9min'",),
          "c/setting/role.app", "update", {"statement_timeout": ("9min", "5min")}),
    Drift("role setting more", ("ALTER ROLE app SET search_path = 'evil', public",),
          "c/setting/role.app", "update", {"search_path": (ANY, None)}),
    Drift("role setting gone", ("ALTER ROLE app RESET ALL",),
          "c/setting/role.app", "create", {"statement_timeout": (None, "5min")}),
    Drift("role setting of another role", ("ALTER ROLE chief SET role = 'app'",),
          "c/setting/role.chief", "delete", {"role": ("app", None)}),
    Drift("role in database", ("ALTER ROLE app IN DATABASE shop SET work_mem = '17MB'",),
          "c/setting/role.app.database.shop", "update", {"work_mem": ("17MB", "16MB")}),
    Drift("role in another database", ("ALTER ROLE app IN DATABASE postgres SET work_mem = '17MB'",),
          "c/setting/role.app.database.postgres", "delete", {"work_mem": ("17MB", None)}),
    Drift("database setting", ("ALTER DATABASE shop SET default_statistics_target = 300",),
          "c/setting/database.shop", "update", {"default_statistics_target": ("300", "200")}),
    Drift("database setting more", ("ALTER DATABASE shop SET work_mem = '1MB'",),
          "c/setting/database.shop", "update", {"work_mem": ("1MB", None)}),
    Drift("membership revoked", ("REVOKE readers FROM app",),
          "c/membership/readers.app", "create", {"admin": (None, False)}),
    Drift("membership added", ("GRANT shop_owner TO app",),
          "c/membership/shop_owner.app", "delete", {"admin": (False, None)}),
    Drift("membership in a predefined role", ("GRANT pg_read_all_data TO app",),
          "c/membership/pg_read_all_data.app", "delete", {"admin": (False, None)}),
    Drift("stranger in an exact group", ("CREATE ROLE stranger", "GRANT writers TO stranger"),
          "c/membership/writers.stranger", "delete", {"admin": (False, None)}),
    Drift("admin option added", ("GRANT readers TO app WITH ADMIN OPTION",),
          "c/membership/readers.app", "update", {"admin": (True, False)}),
    Drift("admin option taken", ("REVOKE ADMIN OPTION FOR readers FROM chief",),
          "c/membership/readers.chief", "update", {"admin": (False, True)}),
    Drift("rogue table", ("GRANT SELECT ON app.t1 TO app",), APP_TABLE, "delete", {"SELECT": (["t1"], None)}),
    Drift("rogue view", ("GRANT DELETE ON app.v1 TO app",), APP_TABLE, "delete", {"DELETE": (["v1"], None)}),
    Drift("rogue truncate", ("GRANT TRUNCATE ON app.t1 TO readers",), READERS, "update", {"TRUNCATE": (["t1"], None)}),
    Drift("rogue schema", ("GRANT CREATE ON SCHEMA app TO app",),
          "c/privilege/schema.shop.app.app", "delete", {"CREATE": (["app"], None)}),
    Drift("rogue schema that no manifest names", ("GRANT CREATE ON SCHEMA public TO app",),
          "c/privilege/schema.shop.public.app", "delete", {"CREATE": (["public"], None)}),
    Drift("rogue database", ("GRANT CREATE ON DATABASE shop TO app",),
          "c/privilege/database.shop.app", "delete", {"CREATE": (["shop"], None)}),
    Drift("rogue sequence", ("GRANT UPDATE ON SEQUENCE app.t1_id_seq TO app",),
          "c/privilege/sequence.shop.app.app", "delete", {"UPDATE": (["t1_id_seq"], None)}),
    Drift("missing table", ("REVOKE SELECT ON app.t2 FROM readers",),
          READERS, "update", {"SELECT": (["t1", "v1"], ALL_TABLES)}),
    Drift("missing schema", ("REVOKE USAGE ON SCHEMA app FROM readers",),
          "c/privilege/schema.shop.app.readers", "create", {"USAGE": (None, ["app"])}),
    Drift("missing database", ("REVOKE CONNECT ON DATABASE shop FROM readers",),
          "c/privilege/database.shop.readers", "create", {"CONNECT": (None, ["shop"])}),
    Drift("missing sequence", ("REVOKE ALL ON app.t1_id_seq FROM readers",),
          "c/privilege/sequence.shop.app.readers", "create", {}),
    Drift("grant option added", ("GRANT SELECT ON app.t1 TO readers WITH GRANT OPTION",),
          READERS, "update", {"SELECT WITH GRANT OPTION": (["t1"], None)}),
    Drift("grant option taken", ("REVOKE GRANT OPTION FOR SELECT ON app.t1 FROM lenders",),
          "c/privilege/table.shop.app.lenders", "update", {"SELECT WITH GRANT OPTION": (None, ["t1"])}),
    Drift("public of the database", ("GRANT TEMPORARY ON DATABASE shop TO PUBLIC",),
          "c/privilege/database.shop.public", "update", {"TEMPORARY": (["shop"], None)}),
    Drift("public lost", ("REVOKE CONNECT ON DATABASE shop FROM PUBLIC",),
          "c/privilege/database.shop.public", "create", {"CONNECT": (None, ["shop"])}),
    Drift("a new table", ("SET ROLE shop_owner", "CREATE TABLE app.t0 ()", "RESET ROLE"),
          READERS, "update", {"SELECT": (ALL_TABLES, ["t0", *ALL_TABLES])}),
    Drift("schema owner", ("ALTER SCHEMA app OWNER TO postgres",),
          "c/schema/shop.app", "update", {"owner": ("postgres", "shop_owner")}),
    Drift("schema comment", ("COMMENT ON SCHEMA app IS 'x'",),
          "c/schema/shop.app", "update", {"comment": ("x", "its tables")}),
    Drift("schema renamed", ("ALTER SCHEMA app RENAME TO ppa",),
          "c/schema/shop.app", "create", {"owner": (None, "shop_owner")}),
    Drift("database owner", ("ALTER DATABASE shop OWNER TO postgres",),
          "c/database/shop", "update", {"owner": ("postgres", "shop_owner")}),
    Drift("database limit", ("ALTER DATABASE shop CONNECTION LIMIT 5",),
          "c/database/shop", "update", {"connection_limit": (5, 40)}),
    Drift("database comment", ("COMMENT ON DATABASE shop IS NULL",),
          "c/database/shop", "update", {"comment": (None, "the shop's")}),
    Drift("database dropped", ("DROP DATABASE shop WITH (FORCE)",),
          "c/database/shop", "create", {"owner": (None, "shop_owner")}, "postgres"),
    Drift("extension dropped", ("DROP EXTENSION citext",), "c/extension/shop.citext", "create", {}),
    Drift("parameter changed", ("ALTER SYSTEM SET work_mem = '3MB'", "SELECT pg_reload_conf()"),
          "c/parameter/work_mem", "update", {"value": ("3MB", "8MB")}),
    Drift("parameter removed", ("ALTER SYSTEM RESET log_lock_waits", "SELECT pg_reload_conf()"),
          "c/parameter/log_lock_waits", "update", {"value": ("off", "on")}),
]  # fmt: skip
PASSWORDS = {"password changed", "password taken", "password md5", "password given"}


@pytest.fixture(scope="module")
def shop(
    shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PostgresServer, EstateBuilder]]:
    wipe(shared_postgres)
    estate = new_estate(tmp_path_factory.mktemp("shop"), shared_postgres)
    fill_shop(estate, shared_postgres.host)
    estate.apply().done()
    make_tables(shared_postgres)
    estate.apply().done()
    yield shared_postgres, estate
    wipe(shared_postgres)


@pytest.fixture
def settled_shop(shop: tuple[PostgresServer, EstateBuilder]) -> tuple[PostgresServer, EstateBuilder]:
    """What the last case took away for good is made again."""
    server, estate = shop
    missing = "SELECT to_regclass('app.t1') IS NULL"
    gone = server.sql("DROP SCHEMA IF EXISTS ppa CASCADE", missing, database="shop")[0][0]
    if gone:
        make_tables(server)
        estate.apply().done()
    if server.sql("DROP TABLE IF EXISTS app.t0", "SELECT FROM pg_roles WHERE rolname = 'stranger'", database="shop"):
        server.sql("DROP ROLE stranger")
    return server, estate


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_drift_is_found_named_and_corrected(settled_shop: tuple[PostgresServer, EstateBuilder], case: Drift) -> None:
    server, estate = settled_shop
    server.sql(*case.statements, database=case.database)
    found = estate.run("drift", "-o", "json").done(EXIT_CHANGES).changes
    assert case.address in found, list(found)
    change = found[case.address]
    assert change["origin"] == "drift"
    assert change["actions"] == [case.action]
    assert change["source"]["file"]
    before, after = change["before"] or {}, change["after"] or {}
    for name, (old, new) in case.fields.items():
        if old is not ANY:
            assert before.get(name) == old, change
        assert after.get(name) == new, change
    if case.name in PASSWORDS:
        assert change["sensitive_changed"] == ["password"]
        assert "password" not in before
        assert "password" not in after
    text = estate.apply().done().out
    assert case.address.split("/", 2)[1] in text
    assert "role role" not in text
    estate.settled()


def test_a_privilege_that_its_holder_passed_on(settled_shop: tuple[PostgresServer, EstateBuilder]) -> None:
    server, estate = settled_shop
    server.sql("SET ROLE lenders", "GRANT SELECT ON app.t1 TO app", database="shop")
    try:
        found = estate.run("drift", "-o", "json").done(EXIT_CHANGES).changes[APP_TABLE]
        assert found["before"]["SELECT"] == ["t1"]
        estate.apply().done()
        estate.settled()
    finally:
        server.sql("SET ROLE lenders", "REVOKE SELECT ON app.t1 FROM app", database="shop")


def test_a_held_drift_is_shown_and_left_alone(pg: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    estate = new_estate(tmp_path_factory.mktemp("held"), pg)
    fill_shop(estate, pg.host, correct="off")
    estate.apply().done()
    pg.sql("ALTER ROLE app CONNECTION LIMIT 3")
    change = estate.run("drift", "-o", "json").done(EXIT_CHANGES).changes["c/role/app"]
    assert change["held"]
    ran = estate.apply()
    assert "Traceback" not in ran.text
    assert pg.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'app'") == [(3,)]
    estate.apply("--correct", "all").done()
    estate.settled()
