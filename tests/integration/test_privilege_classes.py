"""Privileges on every class of objects: drift by hand on a real server, found and named, corrected, gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.conftest import new_estate, wipe
from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder, cluster, free_policy, group
from tests.servers.postgres import PostgresServer

ODD = 'odd.\n"T" %s {}'
PUBLIC: dict[str, Any] = {
    "tables": {"app": []},
    "sequences": {"app": []},
    "functions": {"app": []},
    "types": {"app": []},
    "languages": {"plpgsql": []},
    "future": {"creators": ["own"], "function": [], "type": []},
}


def on_app(grant: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    return {"grant": grant, "database": "shop", "schemas": ["app"], **more}


def on_shop(grant: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    return {"grant": grant, "database": "shop", **more}


CLERK = [
    on_app({"table": ["SELECT", "UPDATE"]}, tables=["customers", ODD], columns=["id", "na.me"]),
    on_app({"table": ["SELECT"]}, tables=["parent"]),
    on_app({"function": ["EXECUTE"]}, functions=["refund(int, note text)", "pay(integer)", "total(int4)"]),
    on_app({"type": ["USAGE"]}, types=["mood"]),
    on_shop({"language": ["USAGE"]}, languages=["plpgsql"]),
    on_shop({"foreignServer": ["USAGE"]}, foreignServers=["else where"]),
    on_shop({"foreignDataWrapper": ["USAGE"]}, foreignDataWrappers=["files"]),
    on_shop({"largeObject": ["SELECT"]}, largeObjects=[16423]),
    {"grant": {"tablespace": ["CREATE"]}, "tablespaces": ["pg_default"]},
]
KEEPER = [
    on_app({"schema": ["USAGE"]}),
    on_app({"function": ["EXECUTE"], "type": ["USAGE"]}, future={"creators": ["own"]}),
    on_shop({"schema": ["USAGE"]}, future={"creators": ["own"]}),
    on_shop({"foreignServer": ["USAGE"]}, foreignServers=["else where"], grantOption=True),
    on_app({"table": ["SELECT"]}, tables=["customers"], columns=["id"], grantOption=True),
]
PARAMETERS = [{"grant": {"parameter": ["SET"]}, "parameters": ["work_mem", "My.Own"]}]
OBJECTS = (
    "CREATE SCHEMA app AUTHORIZATION own",
    "SET ROLE own",
    'CREATE TABLE app.customers (id int, "na.me" text, secret text)',
    'CREATE TABLE app."odd.\n""T"" %s {}" (id int, "na.me" text)',
    "CREATE TABLE app.parent (id int) PARTITION BY LIST (id)",
    "CREATE TABLE app.part1 PARTITION OF app.parent FOR VALUES IN (1)",
    "CREATE SEQUENCE app.numbers",
    "CREATE FUNCTION app.refund(int, text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION app.refund(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE PROCEDURE app.pay(a int) LANGUAGE sql AS 'SELECT 1'",
    "CREATE AGGREGATE app.total(int) (SFUNC = int4pl, STYPE = int)",
    'CREATE FUNCTION app."my ""f"" %s"(VARIADIC int[]) RETURNS int LANGUAGE sql AS \'SELECT 1\'',
    "CREATE TYPE app.mood AS ENUM ('good')",
    "CREATE DOMAIN app.age AS int",
    "CREATE TYPE app.pair AS (a int, b int)",
    "RESET ROLE",
    "CREATE FOREIGN DATA WRAPPER files",
    'CREATE SERVER "else where" FOREIGN DATA WRAPPER files',
    "SELECT lo_create(16423), lo_create(16424)",
    "CREATE EXTENSION pg_stat_statements SCHEMA public",
)


@dataclass(frozen=True)
class Drift:
    """Statements by hand, and the change that must be found: its address, its action, one field."""

    statements: tuple[str, ...]
    address: str
    action: str
    privilege: str
    before: list[str] | None
    after: list[str] | None


def one(statement: str, address: str, action: str, field: str, before: Any, after: Any) -> Drift:
    return Drift((statement,), address, action, field, before, after)


COLUMN = "column.shop.app.clerk"
ODD_NAME = '"odd.\\u000a\\"T\\" %s {}"'
COLUMNS = [f'{ODD_NAME}."na.me"', f"{ODD_NAME}.id", 'customers."na.me"', "customers.id"]
FUNCTION = "function.shop.app.clerk"
FUNCTIONS = ["pay(integer)", "refund(integer, text)", "total(integer)"]
ALL_FUNCTIONS = ['"my ""f"" %s"(integer[])', "pay(integer)", "refund(integer)", *FUNCTIONS[1:]]
TABLE = "table.shop.app.clerk"
CASES = [
    one("GRANT INSERT (secret) ON app.customers TO clerk", COLUMN, "update", "INSERT", ["customers.secret"], None),
    one("REVOKE SELECT (id) ON app.customers FROM clerk", COLUMN, "update", "SELECT", COLUMNS[:3], COLUMNS),
    one('REVOKE UPDATE ("na.me") ON app."odd.\n""T"" %s {}" FROM clerk', COLUMN, "update", "UPDATE", COLUMNS[1:],
        COLUMNS),
    one("GRANT SELECT (id) ON app.customers TO clerk WITH GRANT OPTION", COLUMN, "update", "SELECT WITH GRANT OPTION",
        ["customers.id"], None),
    one("REVOKE GRANT OPTION FOR SELECT (id) ON app.customers FROM keeper", "column.shop.app.keeper", "update",
        "SELECT WITH GRANT OPTION", None, ["customers.id"]),
    Drift(("SET ROLE keeper", "GRANT SELECT (id) ON app.customers TO stray"), "column.shop.app.stray", "delete",
          "SELECT", ["customers.id"], None),
    one("GRANT SELECT ON app.customers TO clerk", TABLE, "update", "SELECT", ["customers", "parent"], ["parent"]),
    Drift(("GRANT SELECT, UPDATE ON app.customers TO clerk", "REVOKE SELECT (id) ON app.customers FROM clerk"), TABLE,
          "update", "UPDATE", ["customers"], None),
    one("GRANT SELECT ON app.part1 TO clerk", TABLE, "update", "SELECT", ["parent", "part1"], ["parent"]),
    one("REVOKE SELECT ON app.parent FROM clerk", TABLE, "create", "SELECT", None, ["parent"]),
    one("GRANT INSERT ON app.parent TO stray", "table.shop.app.stray", "delete", "INSERT", ["parent"], None),
    one("GRANT EXECUTE ON FUNCTION app.refund(int) TO clerk", FUNCTION, "update", "EXECUTE",
        ["pay(integer)", "refund(integer)", *FUNCTIONS[1:]], FUNCTIONS),
    one("REVOKE EXECUTE ON FUNCTION app.refund(int, text) FROM clerk", FUNCTION, "update", "EXECUTE",
        [FUNCTIONS[0], FUNCTIONS[2]], FUNCTIONS),
    one("REVOKE EXECUTE ON PROCEDURE app.pay(int) FROM clerk", FUNCTION, "update", "EXECUTE", FUNCTIONS[1:], FUNCTIONS),
    one("REVOKE EXECUTE ON ROUTINE app.total(int) FROM clerk", FUNCTION, "update", "EXECUTE", FUNCTIONS[:2], FUNCTIONS),
    one("GRANT EXECUTE ON FUNCTION app.\"my \"\"f\"\" %s\"(int[]) TO stray", "function.shop.app.stray", "delete",
        "EXECUTE", ['"my ""f"" %s"(integer[])'], None),
    one("GRANT EXECUTE ON FUNCTION app.refund(int) TO PUBLIC", "function.shop.app.public", "delete", "EXECUTE",
        ["refund(integer)"], None),
    Drift(("SET ROLE own", "CREATE FUNCTION app.fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'", "RESET ROLE",
           "REVOKE EXECUTE ON FUNCTION app.fresh() FROM keeper"),
          "function.shop.app.keeper", "update", "EXECUTE", ALL_FUNCTIONS,
          [ALL_FUNCTIONS[0], "fresh()", *ALL_FUNCTIONS[1:]]),
    one("REVOKE USAGE ON TYPE app.mood FROM clerk", "type.shop.app.clerk", "create", "USAGE", None, ["mood"]),
    one("GRANT USAGE ON DOMAIN app.age TO clerk", "type.shop.app.clerk", "update", "USAGE", ["age", "mood"],
        ["mood"]),
    one("GRANT USAGE ON TYPE app.pair TO PUBLIC", "type.shop.app.public", "delete", "USAGE", ["pair"], None),
    one("GRANT USAGE ON LANGUAGE sql TO clerk", "language.shop.clerk", "update", "USAGE", ["plpgsql", "sql"],
        ["plpgsql"]),
    one("GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC", "language.shop.public", "update", "USAGE",
        ["plpgsql", "sql"], ["sql"]),
    one("REVOKE USAGE ON FOREIGN SERVER \"else where\" FROM clerk", "foreignServer.shop.clerk", "create", "USAGE",
        None, ["else where"]),
    Drift(("SET ROLE keeper", 'GRANT USAGE ON FOREIGN SERVER "else where" TO stray'), "foreignServer.shop.stray",
          "delete", "USAGE", ["else where"], None),
    one("GRANT USAGE ON FOREIGN DATA WRAPPER files TO stray", "foreignDataWrapper.shop.stray", "delete", "USAGE",
        ["files"], None),
    one("GRANT UPDATE ON LARGE OBJECT 16423 TO clerk", "largeObject.shop.clerk", "update", "UPDATE", ["16423"],
        None),
    one("GRANT SELECT ON LARGE OBJECT 16424 TO stray", "largeObject.shop.stray", "delete", "SELECT", ["16424"],
        None),
    one("REVOKE CREATE ON TABLESPACE pg_default FROM clerk", "tablespace.clerk", "create", "CREATE", None,
        ["pg_default"]),
    one("GRANT CREATE ON TABLESPACE pg_global TO stray", "tablespace.stray", "delete", "CREATE", ["pg_global"],
        None),
    one("GRANT ALTER SYSTEM ON PARAMETER work_mem TO clerk", "parameter.clerk", "update", "ALTER SYSTEM",
        ["work_mem"], None),
    one("REVOKE SET ON PARAMETER my.own FROM clerk", "parameter.clerk", "update", "SET", ["work_mem"],
        ["my.own", "work_mem"]),
    one("GRANT SET ON PARAMETER jit TO stray", "parameter.stray", "delete", "SET", ["jit"], None),
    one("GRANT SELECT ON app.numbers TO PUBLIC", "sequence.shop.app.public", "delete", "SELECT", ["numbers"],
        None),
    one("GRANT SELECT ON app.part1 TO PUBLIC", "table.shop.app.public", "delete", "SELECT", ["part1"], None),
    one("GRANT SELECT ON pg_stat_statements TO stray", "table.shop.public.stray", "delete", "SELECT",
        ["pg_stat_statements"], None),
    one("ALTER DEFAULT PRIVILEGES FOR ROLE own IN SCHEMA app REVOKE EXECUTE ON FUNCTIONS FROM keeper",
        "default-privilege/function.shop.app.own.keeper", "create", "privileges", None, ["EXECUTE"]),
    one("ALTER DEFAULT PRIVILEGES FOR ROLE own GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        'default-privilege/function.shop."".own.public', "delete", "privileges", ["EXECUTE"], None),
    one("ALTER DEFAULT PRIVILEGES FOR ROLE own GRANT USAGE ON TYPES TO stray",
        'default-privilege/type.shop."".own.stray', "delete", "privileges", ["USAGE"], None),
    one("ALTER DEFAULT PRIVILEGES FOR ROLE own GRANT CREATE ON SCHEMAS TO keeper",
        'default-privilege/schema.shop."".own.keeper', "update", "privileges", ["CREATE", "USAGE"], ["USAGE"]),
]  # fmt: skip


def documents(host: str) -> list[dict[str, Any]]:
    return [
        free_policy(),
        cluster("c", host, databases=[{"name": "shop", "public": PUBLIC}]),
        group("own"),
        group("clerk", privileges=[*CLERK, *PARAMETERS]),
        group("keeper", privileges=KEEPER),
        group("stray"),
    ]


@pytest.fixture(scope="module")
def shop(
    shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PostgresServer, EstateBuilder]]:
    wipe(shared_postgres)
    estate = new_estate(tmp_path_factory.mktemp("classes"), shared_postgres)
    shared_postgres.sql("CREATE ROLE own", "CREATE DATABASE shop")
    shared_postgres.sql(*OBJECTS, database="shop")
    estate.documents = {"a": documents(shared_postgres.host)}
    estate.commit()
    estate.apply().done()
    estate.settled()
    yield shared_postgres, estate
    shared_postgres.sql("REVOKE ALL ON TABLESPACE pg_default, pg_global FROM PUBLIC")
    wipe(shared_postgres)


def rounds(cases: list[Drift]) -> list[list[Drift]]:
    """Cases of different addresses go together: each command of the command line takes its time.

    What the keeper passes on to the stray one needs what the keeper has.
    """
    found: list[list[Drift]] = []

    def place(case: Drift) -> str:
        return case.address.replace(".stray", ".keeper")

    for case in cases:
        fits = (each for each in found if place(case) not in set(map(place, each)))
        chosen = next(fits, None)
        if chosen is None:
            found.append(chosen := [])
        chosen.append(case)
    return found


@pytest.mark.parametrize("cases", rounds(CASES), ids=lambda cases: f"{len(cases)} drifts")
def test_drift_is_found_named_and_corrected(shop: tuple[PostgresServer, EstateBuilder], cases: list[Drift]) -> None:
    server, estate = shop
    for case in cases:
        server.sql(*case.statements, database="shop")
    found = estate.run("drift", "-o", "json").done(EXIT_CHANGES).changes
    for case in cases:
        address = f"c/{case.address}" if case.address.startswith("default-") else f"c/privilege/{case.address}"
        assert address in found, list(found)
        change = found[address]
        assert change["origin"] == "drift"
        assert change["actions"] == [case.action]
        before, after = (change["before"] or {}).get(case.privilege), (change["after"] or {}).get(case.privilege)
        assert (before, after) == (case.before, case.after), change
    estate.apply().done()
    estate.settled()


def test_grants_on_20000_tables_need_no_more_locks_than_a_server_has(
    shop: tuple[PostgresServer, EstateBuilder],
) -> None:
    server, estate = shop
    server.sql(
        "CREATE SCHEMA many",
        "DO $$ BEGIN FOR i IN 1..20000 LOOP EXECUTE format('CREATE TABLE many.t%s ()', i); "
        "IF i % 1000 = 0 THEN COMMIT; END IF; END LOOP; END $$",
        database="shop",
    )
    estate.documents["a"].append(group("many", privileges=[{**on_shop({"table": ["SELECT"]}), "schemas": ["many"]}]))
    estate.commit()
    estate.apply().done()
    text = "SELECT count(*) FROM pg_class WHERE relnamespace = 'many'::regnamespace AND relacl::text LIKE '%many=r%'"
    assert server.sql(text, database="shop") == [(20000,)]
