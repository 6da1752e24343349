"""Publications, event triggers, row security, ownership, pg_hba.conf on real servers: made, drifted, changed, gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder, cluster, free_policy, group
from tests.integration.warm_command import run_here
from tests.servers.postgres import PostgresServer

ODD = 'a"; $$ %s {0}\n\u00e9'
FUNCTION = "CREATE FUNCTION app.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"
TABLES = (
    'CREATE TABLE app.t (id int PRIMARY KEY, tenant text, "odd col" int)',
    "CREATE TABLE app.u (id int PRIMARY KEY)",
    'CREATE TABLE app."x.y" (id int PRIMARY KEY)',
)


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    made = estate_of(pg)
    made.run = lambda *arguments: run_here(made, *arguments)  # type: ignore[method-assign]
    made.documents = documents(pg)
    made.commit()
    made.apply().done()
    pg.sql(*TABLES, FUNCTION, FUNCTION.replace("f()", "g()"), database="shop")
    return made


def documents(server: PostgresServer, **database: Any) -> dict[str, list[dict[str, Any]]]:
    shop = {"name": "shop", "schemas": [{"name": "app"}, {"name": ODD}], **database}
    roles = [group("keeper"), group("chief", superuser=True), group("readers"), group("odd", ODD)]
    return {"a": [free_policy(), cluster("c", server.host, databases=[shop]), *roles]}


def declare(estate: EstateBuilder, server: PostgresServer, **database: Any) -> None:
    estate.documents = documents(server, **database)
    estate.commit()


def applied(estate: EstateBuilder) -> None:
    estate.apply().done()
    estate.settled()


def found_again(estate: EstateBuilder, server: PostgresServer, address: str, *statements: str) -> dict[str, Any]:
    """Made by hand, found as drift, corrected, gone."""
    server.sql(*statements, database="shop")
    change = estate.run("drift", "-o", "json").done(EXIT_CHANGES).changes[address]
    assert change["origin"] == "drift"
    applied(estate)
    return change


PUBLICATION = {
    "name": ODD,
    "owner": "chief",
    "tables": [
        {"table": "app.t", "columns": ["id", "tenant"], "where": "id > 5 AND id IN (1, 2)"},
        'app."x.y"',
    ],
    "publish": ["insert", "update"],
    "viaRoot": True,
    "comment": "it's",
}


def test_publication(pg: PostgresServer, estate: EstateBuilder) -> None:
    address = 'c/publication/shop."a\\"; $$ %s {0}\\u000aé"'
    quoted = '"' + ODD.replace('"', '""') + '"'
    declare(estate, pg, publications=[PUBLICATION])
    applied(estate)
    for statement, field in (
        ("OWNER TO postgres", "owner"),
        ("SET (publish = 'delete')", "publish"),
        ("SET (publish_via_partition_root = false)", "via_root"),
        ("DROP TABLE app.t", "tables"),
        ("ADD TABLE app.u", "tables"),
        ("ADD TABLES IN SCHEMA app", "schemas"),
        ('SET TABLE app.t (id), app."x.y"', "tables"),
        ('SET TABLE app.t (id, tenant) WHERE (true), app."x.y"', "tables"),
    ):
        if "SCHEMA" in statement:  # not beside a column list
            continue
        change = found_again(estate, pg, address, f"ALTER PUBLICATION {quoted} {statement}")
        assert change["before"][field] != change["after"][field]
    found_again(estate, pg, address, f"COMMENT ON PUBLICATION {quoted} IS NULL")
    found_again(estate, pg, address, f"DROP PUBLICATION {quoted}")
    changed = {**PUBLICATION, "tables": ["app.u"], "schemas": [ODD], "publish": ["delete"], "viaRoot": False}
    declare(estate, pg, publications=[changed])
    applied(estate)
    declare(estate, pg, publications=[{**changed, "allTables": True, "tables": [], "schemas": []}])
    assert "drop it first" in estate.plan().changes[address]["held"]
    declare(estate, pg, publications=[{"name": ODD, "ensure": "absent"}, {"name": "whole", "allTables": True}])
    applied(estate)
    assert pg.sql("SELECT pubname FROM pg_publication", database="shop") == [("whole",)]


def test_a_table_that_is_not_there_is_held(pg: PostgresServer, estate: EstateBuilder) -> None:
    declare(
        estate,
        pg,
        publications=[
            {"name": "p", "tables": ["app.tt"]},
            {"name": "q", "tables": [{"table": "app.t", "where": "x)"}]},
        ],
        eventTriggers=[{"name": "e", "event": "sql_drop", "function": "app.ff"}],
        rowSecurity=[{"table": "app.tt", "policies": [{"name": "p", "using": "true"}]}],
    )
    held = {address: change["held"] for address, change in estate.plan().changes.items()}
    assert "did you mean app.t" in held["c/publication/shop.p"]
    assert "parentheses" in held["c/publication/shop.q"]
    assert "app.ff() does not exist" in held["c/event-trigger/shop.e"]
    assert "does not exist" in held["c/row-security/shop.app.tt"]
    assert "does not exist" in held["c/policy/shop.app.tt.p"]


def test_event_trigger(pg: PostgresServer, estate: EstateBuilder) -> None:
    address = "c/event-trigger/shop.guard"
    spec = {
        "name": "guard", "event": "ddl_command_end", "tags": ["CREATE TABLE", "DROP TABLE"], "function": "app.f",
        "owner": "chief", "enabled": "always", "comment": "watches",
    }  # fmt: skip
    declare(estate, pg, eventTriggers=[spec])
    applied(estate)
    create = "CREATE EVENT TRIGGER guard ON"
    drop = "DROP EVENT TRIGGER guard"
    for statements, field in (
        (["ALTER EVENT TRIGGER guard OWNER TO postgres"], "owner"),
        (["ALTER EVENT TRIGGER guard DISABLE"], "enabled"),
        (["COMMENT ON EVENT TRIGGER guard IS 'x'"], "comment"),
        ([drop, f"{create} sql_drop EXECUTE FUNCTION app.f()"], "event"),
        ([drop, f"{create} ddl_command_end EXECUTE FUNCTION app.g()"], "function"),
        ([drop, f"{create} ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION app.f()"], "tags"),
    ):
        change = found_again(estate, pg, address, *statements)
        assert change["before"][field] != change["after"][field]
    for field, value in (("enabled", "replica"), ("tags", []), ("function", "app.g"), ("event", "sql_drop")):
        spec |= {field: value}
        declare(estate, pg, eventTriggers=[spec])
        applied(estate)
    declare(estate, pg, eventTriggers=[{**spec, "event": "login", "tags": []}])
    assert "need PostgreSQL 17" in estate.plan().changes[address]["held"]
    declare(estate, pg, eventTriggers=[{"name": "guard", "ensure": "absent"}])
    applied(estate)
    assert pg.sql("SELECT FROM pg_event_trigger", database="shop") == []


POLICY = {
    "name": "own",
    "command": "update",
    "roles": ["readers", ODD],
    "using": "tenant = current_user",
    "withCheck": "tenant = current_setting('app.tenant') AND id BETWEEN 1 AND 5",
    "comment": "rows of one's own",
}


def test_row_security_and_policies(pg: PostgresServer, estate: EstateBuilder) -> None:
    table: dict[str, Any] = {"table": "app.t", "forced": True, "policies": [POLICY], "exact": True}
    declare(estate, pg, rowSecurity=[table])
    applied(estate)
    address, whole = "c/policy/shop.app.t.own", "c/row-security/shop.app.t"
    alter = "ALTER POLICY own ON app.t"
    for statements, field in (
        ([f"{alter} TO PUBLIC"], "roles"),
        ([f"{alter} USING (true)"], "using"),
        ([f"{alter} USING (tenant = 'other')"], "using"),
        ([f"{alter} WITH CHECK (id > 0)"], "with_check"),
        (["COMMENT ON POLICY own ON app.t IS NULL"], "comment"),
        (
            ["DROP POLICY own ON app.t", "CREATE POLICY own ON app.t AS RESTRICTIVE FOR UPDATE USING (true)"],
            "permissive",
        ),
        (["DROP POLICY own ON app.t", "CREATE POLICY own ON app.t USING (true)"], "command"),
    ):
        change = found_again(estate, pg, address, *statements)
        assert change["before"][field] != change["after"][field]
    found_again(estate, pg, whole, "ALTER TABLE app.t DISABLE ROW LEVEL SECURITY")
    found_again(estate, pg, whole, "ALTER TABLE app.t NO FORCE ROW LEVEL SECURITY")
    more = found_again(estate, pg, "c/policy/shop.app.t.more", "CREATE POLICY more ON app.t USING (true)")
    assert more["actions"] == ["delete"]
    declare(estate, pg, rowSecurity=[{**table, "policies": [{**POLICY, "command": "select", "withCheck": None}]}])
    applied(estate)
    declare(
        estate,
        pg,
        rowSecurity=[{"table": "app.t", "enabled": False, "policies": [{"name": "own", "ensure": "absent"}]}],
    )
    applied(estate)
    assert pg.sql("SELECT FROM pg_policy", database="shop") == []


def test_an_expression_that_cannot_be_matched_is_said_and_not_applied_again(
    pg: PostgresServer, estate: EstateBuilder
) -> None:
    policy = {"name": "p", "using": "extract(year from now()) > id"}
    declare(estate, pg, rowSecurity=[{"table": "app.t", "policies": [policy]}])
    applied(estate)
    said = [d["message"] for d in estate.plan().document["diagnostics"] if "paste it" in d["message"]]
    assert len(said) == 1
    form = said[0].split("manifest: ")[1]
    declare(estate, pg, rowSecurity=[{"table": "app.t", "policies": [{**policy, "using": form}]}])
    plan = estate.plan().done()
    assert "paste it" not in plan.text
    assert not plan.changes
    assert pg.sql("SELECT pg_get_expr(polqual, polrelid) FROM pg_policy", database="shop") == [(form,)]


def test_removing_a_role_that_a_policy_names(pg: PostgresServer, estate: EstateBuilder) -> None:
    declare(estate, pg, rowSecurity=[{"table": "app.t", "policies": [{**POLICY, "roles": ["readers"]}]}])
    applied(estate)
    declare(estate, pg, rowSecurity=[{"table": "app.t", "policies": [{"name": "own", "ensure": "absent"}]}])
    readers = next(d for d in estate.documents["a"] if d["metadata"]["name"] == "readers")
    readers["spec"]["ensure"] = "absent"
    estate.commit()
    applied(estate)


def test_ownership(pg: PostgresServer, estate: EstateBuilder) -> None:
    quoted = '"' + ODD.replace('"', '""') + '"'
    pg.sql(
        "CREATE TABLE app.s (id serial, big int GENERATED ALWAYS AS IDENTITY) PARTITION BY RANGE (id)",
        "CREATE TABLE app.s1 PARTITION OF app.s DEFAULT",
        f"CREATE VIEW app.{quoted} AS SELECT 1",
        "CREATE MATERIALIZED VIEW app.m AS SELECT 1 AS one",
        "CREATE SEQUENCE app.q",
        "CREATE TYPE app.e AS ENUM ('a')",
        "CREATE TYPE app.c AS (a int)",
        "CREATE DOMAIN app.d AS text",
        "CREATE TYPE app.r AS RANGE (subtype = int4)",
        f"CREATE FUNCTION app.{quoted}(x int, VARIADIC y text[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE PROCEDURE app.p(x app.e) LANGUAGE sql AS 'SELECT 1'",
        "CREATE AGGREGATE app.total(int) (SFUNC = int4pl, STYPE = int)",
        "CREATE TABLE app.kept (id int)",
        "CREATE EXTENSION citext SCHEMA app",
        database="shop",
    )
    rule = {"owner": "keeper", "schemas": ["app"], "except": ["kept"]}
    declare(estate, pg, ownership=[rule])
    applied(estate)
    left = pg.sql(
        "SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relowner = 'postgres'::regrole"
        " AND relkind <> 'i'", database="shop"
    )  # fmt: skip
    assert left == [("kept",)]
    change = found_again(estate, pg, "c/ownership/shop.app.keeper", "ALTER TABLE app.t OWNER TO readers")
    assert change["before"] == {"readers": ["table t"]}
    found_again(
        estate, pg, "c/ownership/shop.app.keeper", "CREATE FUNCTION app.later() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    declare(estate, pg, ownership=[{"owner": "chief", "schemas": ["app"], "objects": ["view"]}])
    applied(estate)


def test_hba_is_compared_and_never_changed(pg: PostgresServer, estate: EstateBuilder) -> None:
    hba = [
        {"type": "local", "database": "all", "role": "all", "method": "scram-sha-256"},
        {"type": "host", "database": "all", "role": "all", "address": "127.0.0.1/32", "method": "scram-sha-256"},
        {"type": "host", "database": "all", "role": "all", "address": "::1/128", "method": "scram-sha-256"},
        {"type": "local", "database": "replication", "role": "all", "method": "scram-sha-256"},
        {
            "type": "host",
            "database": "replication",
            "role": "all",
            "address": "127.0.0.1/32",
            "method": "scram-sha-256",
        },
        {"type": "host", "database": "replication", "role": "all", "address": "::1/128", "method": "scram-sha-256"},
    ]
    estate.documents["a"][1]["spec"]["postgres"] = {"hba": hba}
    estate.commit()
    quiet = estate.plan().done()
    assert not [d["message"] for d in quiet.document["diagnostics"]]
    assert "postgres.hba" not in quiet.text
    path = pg.data / "pg_hba.conf"
    before = path.read_text()
    secret = (
        'host all +g samenet ldap ldapserver=l ldapbasedn="dc=x" ldapbinddn="cn=x" ldapbindpasswd=hunter2-planted\n'
    )
    try:
        path.write_text(secret + before.replace("::1/128", "::2/128") + "host nonsense\n")
        said = estate.plan().done()
        assert "line 1: the rule `host all +g samenet ldap" in said.text
        assert "hunter2" not in said.text
        assert "is not in pg_hba.conf" in said.text
        assert "has an error" in said.text
        assert not said.changes
    finally:
        path.write_text(before)


def test_a_lesser_account_is_told_and_nothing_breaks(pg: PostgresServer, estate: EstateBuilder) -> None:
    pg.sql(
        "CREATE ROLE steward LOGIN PASSWORD 'its-password' CREATEROLE",
        "GRANT USAGE ON SCHEMA pgvillage TO steward",
        "GRANT SELECT ON ALL TABLES IN SCHEMA pgvillage TO steward",
    )
    pg.sql("CREATE PUBLICATION p FOR TABLE app.t", database="shop")
    everything: dict[str, Any] = {
        "publications": [{"name": "p", "tables": ["app.t"]}],
        "eventTriggers": [{"name": "e", "event": "sql_drop", "function": "app.f"}],
        "rowSecurity": [{"table": "app.t", "policies": [POLICY]}],
        "ownership": [{"owner": "keeper", "schemas": ["app"]}],
    }
    declare(estate, pg, **everything)
    estate.documents["a"][1]["spec"]["postgres"] = {"hba": []}
    estate.settings["credentials"]["admin"] |= {"user": "steward", "password": {"command": ["echo", "its-password"]}}
    estate.commit()
    plan = estate.plan().done()
    assert "need a superuser" in plan.changes["c/event-trigger/shop.e"]["held"]
    assert "c/publication/shop.p" not in plan.changes
    assert plan.text.count("pg_hba_file_rules") == 1
    ran = estate.apply()
    assert "Traceback" not in ran.text
