"""`who-can` and `explain role` through the command line, on to the directory that feeds a group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pgvillage.report.json_schema import schemas
from tests.integration.conftest import new_estate, wipe
from tests.integration.estate_builder import EXIT_USAGE, EstateBuilder, cluster, free_policy, group, user
from tests.integration.warm_command import run_here
from tests.servers.postgres import PostgresServer
from tests.servers.slapd import ADMIN, PASSWORD, SUFFIX, folders, group_dn, person, person_dn, record, slapd

PEOPLE = ["alice", *(f"p{n:02}" for n in range(20))]


def ldif() -> str:
    def members(name: str, *dns: str) -> str:
        return record(group_dn(name), {"objectClass": "groupOfMembers", "cn": name, "member": list(dns)})

    people = "".join(person(name, uid=name) for name in PEOPLE)
    inner = members("inner", *(person_dn(name) for name in PEOPLE[1:]))
    return folders("people", "groups") + people + inner + members("readers", person_dn("alice"), group_dn("inner"))


@pytest.fixture(scope="module")
def shop(shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstateBuilder]:
    wipe(shared_postgres)
    folder = tmp_path_factory.mktemp("access")
    estate = new_estate(folder / "a", shared_postgres)
    on_app = {"database": "orders", "schemas": ["app"]}
    audited = {"grant": {"table": ["SELECT"]}, **on_app, "tables": ["customers"], "columns": ["id"]}
    found = {"directory": "corp", "group": group_dn("readers"), "nested": True}
    database = {"name": "orders", "public": {"database": []}, "schemas": [{"name": "app"}]}
    estate.documents = {
        "a": [
            free_policy(),
            cluster("shop", shared_postgres.host, databases=[database]),
            group("orders-readers", "orders_readers", privileges=[{"profile": "reader", **on_app}], members=found),
            group("writers", privileges=[{"profile": "writer", **on_app}]),
            user("etl", memberOf=["writers"], settings={"work_mem": "64MB"}, auth={"method": "none"}),
            user("batch", memberOf=["writers"], inherit=False, auth={"method": "none"}),
            user("audit", validUntil="2025-01-01", privileges=[audited], auth={"method": "none"}),
        ]
    }
    shared_postgres.sql("CREATE DATABASE orders", "CREATE DATABASE undeclared")
    shared_postgres.sql('CREATE TABLE "t.1" ()', 'GRANT SELECT ON "t.1" TO PUBLIC', database="undeclared")
    shared_postgres.sql(
        "CREATE SCHEMA app",
        "CREATE TABLE app.customers (id int, name text)",
        "CREATE TABLE app.invoices ()",
        "CREATE FUNCTION app.refund(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE app.customers ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY sees ON app.customers USING (true)",
        database="orders",
    )
    with slapd(folder / "ldap", ldif()) as server:
        bind = {"dn": ADMIN, "password": {"command": ["echo", PASSWORD]}}
        corp = {"uris": [server.uri], "base": SUFFIX, "bind": bind, "startTls": False}
        estate.settings["directories"] = {"corp": corp}
        estate.commit()
        estate.apply().done()
        yield estate


def document(estate: EstateBuilder, schema: str, *arguments: str) -> dict[str, Any]:
    found = run_here(estate, *arguments, "-o", "json").done().document
    faults = [f"{e.json_path}: {e.message}" for e in Draft202012Validator(schemas()[schema]).iter_errors(found)]
    assert faults == []
    return found["clusters"][0]  # type: ignore[no-any-return]


def test_the_way_goes_on_to_the_directory(shop: EstateBuilder) -> None:
    out = run_here(shop, "who-can", "select", "orders.app.customers").done().out
    assert "through orders_readers" in out
    assert "21 roles: alice, p00, p01, p02, p03, … (--all shows every one)" in out
    assert f"by directory corp: {group_dn('readers')}" in out
    every = run_here(shop, "who-can", "select", "orders.app.customers", "--all").done().out
    assert f"alice: {person_dn('alice')}\n" in every
    assert f"p19: {person_dn('p19')} through {group_dn('inner')}" in every


def test_what_hinders_and_what_set_role_gives(shop: EstateBuilder) -> None:
    found = document(shop, "access.json", "who-can", "select", "orders.app.customers")
    assert found["row_security"] == {"forced": False, "policies": 1}
    assert found["after_set_role"] == ["batch"]
    assert found["on_columns"] == ["audit"]
    assert {"etl", "alice", "postgres"} <= set(found["can"])
    hindered = {each["by"]: each["roles"] for each in found["hindered"]}
    assert hindered["no-connect"] == ["audit", "batch"]
    assert hindered["no-usage"] == ["audit"]
    assert hindered["password-expired"] == ["audit"]
    assert "postgres" not in hindered["row-security"]
    assert "alice" in hindered["row-security"]
    through = next(way for way in found["ways"] if way["directory"] and way["through"] == ["orders_readers"])
    assert {"name": "p19", "login": True, "entry": person_dn("p19"), "via": [group_dn("inner")]} in through["roles"]


def test_an_undeclared_database_is_looked_into(shop: EstateBuilder) -> None:
    found = document(shop, "access.json", "who-can", "select", 'undeclared.public."t.1"')
    assert {"alice", "batch", "audit"} <= set(found["can"])


@pytest.mark.parametrize(
    ("privilege", "name", "words"),
    [
        ("selct", "orders.app.customers", "did you mean SELECT"),
        ("select", "order.app.customers", "no database order; did you mean orders?"),
        ("select", "orders.ap.customers", "no schema ap in database orders; did you mean app?"),
        ("select", "orders.app.customer", "did you mean customers?"),
        ("select", "orders.public.customers", "schema public has none, but there is app.customers"),
        ("select", "orders.app.customers.nam", "no column nam of orders.app.customers; did you mean name?"),
        ("usage", "orders.app.customers", "is a table, and there is no USAGE on those"),
        ("execute", "orders.app.refund(text)", "there is refund(integer)"),
        ("execute", "orders.app.refnd(integer)", "refund(integer)"),
        ("select", 'orders."app', "is no name of an object"),
        ("select", "a.b.c.d.e", "has 5 parts"),
        ("create", "tablspace:pg_default", "no class of objects tablspace; did you mean tablespace or"),
        ("create", "tablespace:pg_defalt", "no tablespace pg_defalt; did you mean pg_default or"),
        ("set", "work_men", "no parameter work_men; did you mean work_mem"),
        ("usage", "language:orders.plpqsql", "no language plpqsql in database orders; did you mean plpgsql"),
        ("usage", "foreign-server:orders.far", "no foreign server far in database orders; there is none"),
        ("select", "large-object:orders.7", "no large object 7 in database orders"),
        ("select", "large-object:orders.x", "is named by its number"),
        ("select", "language:orders.plpgsql", "is a language, and there is no SELECT on those: there is USAGE"),
        ("select", "sequence:orders.app.customers", "orders.app.customers is a table, not a sequence"),
    ],
)
def test_what_is_not_there(shop: EstateBuilder, privilege: str, name: str, words: str) -> None:
    assert words in run_here(shop, "who-can", privilege, name).done(EXIT_USAGE).err


def test_what_no_schema_holds(shop: EstateBuilder, shared_postgres: PostgresServer) -> None:
    shared_postgres.sql("GRANT SET ON PARAMETER work_mem, log_statement TO writers")
    shared_postgres.sql("GRANT CREATE ON TABLESPACE pg_default TO writers")
    shared_postgres.sql("SELECT lo_create(9001)", "GRANT SELECT ON LARGE OBJECT 9001 TO audit", database="orders")
    try:
        out = run_here(shop, "who-can", "set", "work_mem").done().out
        assert "who can SET on parameter work_mem" in out
        assert "every role may SET it in its own session" in out
        found = document(shop, "access.json", "who-can", "SET", "parameter:log_statement")
        assert (found["class"], found["object"]) == ("parameter", "parameter:log_statement")
        assert (found["can"], found["after_set_role"]) == (["etl", "postgres", "writers"], ["batch"])
        assert found["notes"] == found["hindered"] == []
        on_space = document(shop, "access.json", "who-can", "create", "tablespace:pg_default")
        assert on_space["can"] == ["etl", "postgres", "writers"]
        large = document(shop, "access.json", "who-can", "select", "large-object:orders.9001")
        assert large["can"] == ["audit", "postgres"]
        assert {each["by"]: each["roles"] for each in large["hindered"]}["no-connect"] == ["audit"]
        assert (
            "to open it for writing takes SELECT too"
            in run_here(shop, "who-can", "update", "large-object:orders.9001").done().out
        )
        etl = run_here(shop, "explain", "role", "etl").done().out
        lines = [" ".join(line.split()) for line in etl.splitlines()]
        assert "SET on all 2 parameters (through writers)" in lines
        assert "CREATE on tablespace pg_default (through writers)" in lines
    finally:
        shared_postgres.sql("REVOKE ALL ON PARAMETER work_mem, log_statement FROM writers")
        shared_postgres.sql("REVOKE ALL ON TABLESPACE pg_default FROM writers")
        shared_postgres.sql("SELECT lo_unlink(9001)", database="orders")


def test_explain_role(shop: EstateBuilder) -> None:
    out = run_here(shop, "explain", "role", "alice").done().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"member of orders_readers (by directory corp: {group_dn('readers')})" in lines
    assert f"declared corp: {person_dn('alice')} (by a.yaml:" in " ".join(lines)
    assert "schema app: reader" in lines
    assert "SELECT on all 2 tables (through orders_readers)" in lines
    assert "now as declared" in lines
    again = run_here(shop, "explain", "role", "shop/role/alice").done().out
    assert again == out
    assert "did you mean alice" in run_here(shop, "explain", "role", "alise").done(EXIT_USAGE).err
    assert "expected `explain role NAME`" in run_here(shop, "explain", "rol", "alice").done(EXIT_USAGE).err


def test_explain_role_says_what_is_by_set_role_and_what_drifted(
    shop: EstateBuilder, shared_postgres: PostgresServer
) -> None:
    shared_postgres.sql("ALTER ROLE batch CREATEDB")
    found = document(shop, "role-access.json", "explain", "role", "batch")
    shared_postgres.sql("ALTER ROLE batch NOCREATEDB")
    assert found["may_set_role"] == [{"role": "writers", "through": []}]
    assert [change["address"] for change in found["changes"]] == ["shop/role/batch"]
    assert not [right for right in found["rights"] if right["class"] == "table"]
    etl = document(shop, "role-access.json", "explain", "role", "etl")
    tables = next(right for right in etl["rights"] if right["class"] == "table")
    assert tables["names"] == ["customers", "invoices"]
    assert {way["role"] for way in tables["privileges"].values()} == {"writers"}
    assert {"database": "orders", "schema": "app", "profile": "writer"} in etl["profiles"]
    assert etl["settings"] == {"shop/setting/role.etl": {"work_mem": "64MB"}}
    assert {each["database"] for each in etl["unread"]} == {"postgres", "undeclared"}
