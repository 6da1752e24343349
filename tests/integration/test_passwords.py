"""Passwords through the real command line: rotated, generated, set by hand, and by an account that can't see them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.conftest import new_estate
from tests.integration.estate_builder import EstateBuilder, cluster, document, user
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.vault import FakeVault, fake_vault

TOKEN = "hvs.planted-token"
SCRAM = {"method": "scram", "password": {"secret": "app"}}


@pytest.fixture(scope="session", params=["", *filter(None, os.environ.get("PGVILLAGE_TEST_BINARIES", "").split(":"))])
def lesser_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server whose admin `rds` is none: CREATEROLE, a database of its own, no look into pg_authid."""
    binaries = {"binaries": Path(request.param)} if request.param else {}
    with postgres_server(tmp_path_factory.mktemp("lesser"), log_statement="all", **binaries) as server:
        server.sql(f"CREATE ROLE rds LOGIN CREATEROLE PASSWORD '{server.password}'", "CREATE DATABASE home OWNER rds")
        yield server


@pytest.fixture
def lesser(lesser_server: PostgresServer, tmp_path: Path) -> Iterator[EstateBuilder]:
    lesser_server.sql("DROP SCHEMA IF EXISTS pgvillage CASCADE", database="home")
    estate = secret_estate(tmp_path / "lesser", lesser_server)
    estate.settings["credentials"]["admin"] |= {"user": "rds", "database": "home"}
    estate.commit()
    yield estate
    lesser_server.sql("DROP ROLE IF EXISTS app", "DROP ROLE IF EXISTS old")


def secret_estate(folder: Path, server: PostgresServer) -> EstateBuilder:
    estate = new_estate(folder, server)
    estate.settings["secrets"] = {"app": {"file": str(folder / "app.secret")}}
    (folder / "app.secret").write_text("first-planted-word\n")
    policy = document("Estate", "tests", policy={"correct": "off"})
    estate.documents = {"a": [policy, cluster("c", server.host), user("app", auth=SCRAM)]}
    estate.commit()
    return estate


@pytest.fixture
def estate(pg: PostgresServer, tmp_path: Path) -> EstateBuilder:
    return secret_estate(tmp_path / "a", pg)


def logs_in(server: PostgresServer, password: str, role: str = "app") -> bool:
    try:
        server.connect("postgres", role, password=password).close()
    except psycopg.OperationalError:
        return False
    return True


def put(estate: EstateBuilder, password: str) -> None:
    (estate.folder / "app.secret").write_text(password)


def test_a_rotated_secret_is_merged_and_a_password_by_hand_is_drift(pg: PostgresServer, estate: EstateBuilder) -> None:
    estate.apply().done()
    estate.settled()
    put(estate, "second-planted-word")
    change = estate.plan().changes["c/role/app"]
    assert (change["origin"], change["reason"]) == ("git", "the secret's value changed")
    assert "the secret's value changed" in estate.run("plan").done().text
    estate.run("drift").done()
    estate.apply().done()
    assert logs_in(pg, "second-planted-word")
    estate.settled()
    pg.sql("ALTER ROLE app PASSWORD 'by-hand'")
    change = estate.plan().changes["c/role/app"]
    assert (change["origin"], change["held"]) == ("drift", "drift, and policy `correct` is off")
    estate.run("drift").done(2)
    estate.apply().done()
    assert logs_in(pg, "by-hand"), "held back"
    estate.apply("--correct", "all").done()
    assert logs_in(pg, "second-planted-word")
    estate.settled()


def test_an_adopted_password_is_remembered_from_the_first_apply_on(pg: PostgresServer, estate: EstateBuilder) -> None:
    pg.sql("CREATE ROLE app LOGIN PASSWORD 'first-planted-word'")
    assert estate.plan().changes == {}
    estate.apply().done()
    put(estate, "second-planted-word")
    assert estate.plan().changes["c/role/app"]["origin"] == "git"


FORMAT_2 = [
    *(f"ALTER TABLE pgvillage.target DROP COLUMN suspended_{each}" for each in ("by", "reason", "since", "until")),
    *(f"ALTER TABLE pgvillage.target DROP COLUMN {each}" for each in ("fence", "fence_holder")),
    "UPDATE pgvillage.target SET format = 2",
]


def test_a_ledger_of_format_2_is_read_and_then_carried_over(pg: PostgresServer, estate: EstateBuilder) -> None:
    estate.apply().done()
    pg.sql(*FORMAT_2)
    ran = estate.plan()
    assert ran.changes == {}
    assert "the ledger has format" not in ran.text
    put(estate, "second-planted-word")
    estate.apply().done()
    assert pg.sql("SELECT format, fence, suspended_by FROM pgvillage.target") == [(3, 0, None)]
    estate.settled()


def test_a_ledger_of_format_1_is_read_and_then_carried_over(pg: PostgresServer, estate: EstateBuilder) -> None:
    estate.apply().done()
    pg.sql("ALTER TABLE pgvillage.ledger DROP COLUMN secret", *FORMAT_2, "UPDATE pgvillage.target SET format = 1")
    ran = estate.plan()
    assert ran.changes == {}
    assert "the ledger has format" not in ran.text
    estate.apply().done()
    assert pg.sql("SELECT format FROM pgvillage.target") == [(3,)]
    ((mark,),) = pg.sql("SELECT secret FROM pgvillage.ledger WHERE address = 'role/app'")
    assert mark.startswith("pbkdf2-sha256$4096$")
    estate.settled()


def test_a_ledger_of_a_later_format_is_left_alone(pg: PostgresServer, estate: EstateBuilder) -> None:
    estate.apply().done()
    pg.sql("UPDATE pgvillage.target SET format = 4")
    pg.sql("UPDATE pgvillage.ledger SET wish = 'x' WHERE address = 'role/app'")
    assert "the ledger has format 4; this PgVillage knows 3" in estate.run("plan").done().text
    put(estate, "second-planted-word")
    assert "format 4" in estate.apply("--correct", "all").done().text
    assert pg.sql("SELECT format FROM pgvillage.target") == [(4,)]
    assert pg.sql("SELECT wish FROM pgvillage.ledger WHERE address = 'role/app'") == [("x",)]


def test_md5_is_named(pg: PostgresServer, estate: EstateBuilder) -> None:
    pg.sql("SET password_encryption = md5", "CREATE ROLE app LOGIN PASSWORD 'a'", "CREATE ROLE old LOGIN PASSWORD 'b'")
    said = estate.run("plan").done().text
    assert "the server holds an md5 password, SCRAM is asked for" in said
    assert "md5 passwords that no manifest manages: 1 role (old)" in said
    estate.apply("--correct", "all").done()
    assert logs_in(pg, "first-planted-word")
    assert "1 role (old)" in estate.run("plan").done().text


def test_a_lesser_account_sets_once_and_sees_what_changed(lesser_server: PostgresServer, lesser: EstateBuilder) -> None:
    lesser.apply().done()
    assert logs_in(lesser_server, "first-planted-word")
    said = lesser.run("plan").done().text
    assert said.count("may not read pg_authid") == 1
    lesser.settled()
    assert "0 statements" in (text := lesser.apply().done().text) or "ALTER" not in text
    put(lesser, "second-planted-word")
    change = lesser.plan().changes["c/role/app"]
    assert (change["origin"], change["reason"]) == ("git", "the secret's value changed")
    lesser.apply().done()
    assert logs_in(lesser_server, "second-planted-word")
    lesser.settled()


def test_a_lesser_account_adopts_a_role_by_setting_it_once(
    lesser_server: PostgresServer, lesser: EstateBuilder
) -> None:
    with lesser_server.connect("home", "rds") as connection:
        connection.execute("CREATE ROLE app LOGIN PASSWORD 'unknown'")
    assert list(lesser.plan().changes) == ["c/role/app"]
    lesser.apply().done()
    assert logs_in(lesser_server, "first-planted-word")
    lesser.settled()


def test_a_lesser_account_without_a_ledger_never_loops(lesser_server: PostgresServer, lesser: EstateBuilder) -> None:
    lesser.settings["credentials"]["admin"]["database"] = "postgres"
    lesser.commit()
    lesser_server.sql("REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
    lesser.apply().done()
    assert logs_in(lesser_server, "first-planted-word"), "a new role's password is set"
    put(lesser, "second-planted-word")
    assert lesser.plan().changes == {}
    assert "can keep no ledger" in lesser.run("plan").done().text


def test_certificate_users_lose_the_password_that_nobody_sees(
    lesser_server: PostgresServer, lesser: EstateBuilder
) -> None:
    lesser.apply().done()
    lesser.documents["a"][2] = user("app", auth={"method": "certificate"})
    lesser.commit()
    lesser.apply().done()
    assert lesser_server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'") == [(None,)]
    lesser.settled()


def test_a_plan_in_ci_agrees_with_the_applier(pg: PostgresServer, estate: EstateBuilder, tmp_path: Path) -> None:
    """CI may connect and read the ledger, has no secrets, and its plan's digest is the one that is applied."""
    estate.apply().done()
    pg.sql(
        f"CREATE ROLE ci LOGIN PASSWORD '{pg.password}'",
        "GRANT USAGE ON SCHEMA pgvillage TO ci",
        "GRANT SELECT ON ALL TABLES IN SCHEMA pgvillage TO ci",
    )
    put(estate, "second-planted-word")
    estate.documents["a"].append(user("more", comment="new", auth=SCRAM))
    estate.commit()
    applier = estate.plan().targets["c"]
    assert {c["address"] for c in applier["changes"]} == {"c/role/app", "c/role/more"}
    estate.settings["credentials"]["admin"]["user"] = "ci"
    estate.settings["secrets"]["app"]["file"] = "/not/here"
    estate.commit()
    ran = estate.plan()
    assert ran.targets["c"]["digest"] == applier["digest"]
    assert "is not available here" in ran.text


# --- generated


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with fake_vault() as found:
        found.tokens[TOKEN] = ()
        yield found


@pytest.fixture
def generating(estate: EstateBuilder, vault: FakeVault) -> EstateBuilder:
    estate.environment["VAULT_WORD"] = TOKEN
    estate.settings["vaults"] = {"main": {"address": vault.url, "token": {"env": "VAULT_WORD"}}}
    estate.settings["secrets"] = {"app": {"vault": "pg/{name}#password", "generate": {"length": 40}}}
    estate.commit()
    return estate


def test_an_apply_generates_and_a_plan_does_not(
    pg: PostgresServer, generating: EstateBuilder, vault: FakeVault
) -> None:
    assert "does not exist yet: an apply generates it" in generating.run("plan").done().text
    assert "1 will be generated" in generating.run("doctor").text
    assert vault.records == {}
    assert {method for method, _ in vault.requests} == {"GET"}
    ran = generating.apply("--sql").done()
    password = vault.data("pg/app")["password"]
    assert len(password) == 40
    assert logs_in(pg, password)
    assert password not in ran.text
    generating.settled()
    assert len(vault.records["pg/app"]) == 1


def test_a_crash_after_storing_is_gone_on_from(pg: PostgresServer, generating: EstateBuilder, vault: FakeVault) -> None:
    """The store has the password and the server refuses the statement: the next run sets the one that is stored."""
    pg.sql("CREATE ROLE app LOGIN")
    generating.settings["timeouts"] = {"lock": 0.3}
    generating.commit()
    with pg.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM pg_authid WHERE rolname = 'app' FOR UPDATE")
        assert generating.apply("--correct", "all").code in (1, 6)
        holder.execute("ROLLBACK")
    stored = vault.data("pg/app")["password"]
    generating.apply("--correct", "all").done()
    assert logs_in(pg, stored)
    assert len(vault.records["pg/app"]) == 1
    generating.settled()


def test_a_vault_that_is_sealed_stops_nothing_else(
    pg: PostgresServer, generating: EstateBuilder, vault: FakeVault
) -> None:
    generating.apply().done()
    vault.sealed = True
    pg.sql("ALTER ROLE app CREATEDB")
    said = generating.run("plan").done().text
    assert "sealed or not ready (503)" in said
    generating.apply("--correct", "all").done()
    assert pg.sql("SELECT rolcreatedb FROM pg_roles WHERE rolname = 'app'") == [(False,)]
    vault.sealed = False
    generating.settled()


def test_two_clusters_share_what_one_of_them_generated(
    pg: PostgresServer, generating: EstateBuilder, vault: FakeVault, lesser_server: PostgresServer
) -> None:
    lesser_server.sql("DROP SCHEMA IF EXISTS pgvillage CASCADE", "DROP ROLE IF EXISTS app")
    generating.documents["a"].append(cluster("d", lesser_server.host))
    generating.commit()
    generating.apply().done()
    password = vault.data("pg/app")["password"]
    assert logs_in(pg, password)
    assert logs_in(lesser_server, password)
    generating.settled()
    lesser_server.sql("DROP SCHEMA IF EXISTS pgvillage CASCADE", "DROP ROLE IF EXISTS app")
