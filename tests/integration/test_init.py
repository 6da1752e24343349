"""`pgvillage init`: a scaffold that validates, and manifests of a living cluster whose plan is empty."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import wipe
from tests.integration.estate_builder import COMMAND, EXIT_CHANGES, EXIT_ERROR, EXIT_USAGE, ROOT, Ran
from tests.integration.living_cluster import ODD, fill_living
from tests.servers.postgres import PostgresServer


def run(folder: Path, *arguments: str, **environment: str) -> Ran:
    names = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    done = subprocess.run(
        [*COMMAND, *arguments], check=False, cwd=folder, capture_output=True, text=True, timeout=60,
        env={**names, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.test", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def commit(estate: Path) -> None:
    git(estate, "init", "-q")
    git(estate, "add", "-A")
    git(estate, "commit", "-qm", "adopt")


def documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Every role's spec by the role's name."""
    texts = [(folder / f"estate/{name}.yaml").read_text() for name in ("users", "groups")]
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    return {d["spec"].get("role", d["metadata"]["name"]): d["spec"] for d in found}


@pytest.fixture(scope="module")
def filled(shared_postgres: PostgresServer) -> Iterator[PostgresServer]:
    wipe(shared_postgres)
    fill_living(shared_postgres)
    yield shared_postgres
    wipe(shared_postgres)


@pytest.fixture
def living(filled: PostgresServer) -> PostgresServer:
    """Without a ledger."""
    filled.sql("DROP SCHEMA IF EXISTS pgvillage CASCADE")
    return filled


def adopt(server: PostgresServer, folder: Path, *more: str) -> Ran:
    dsn = f"host=127.0.0.1 port={server.port} user=postgres"
    return run(folder, "init", "--from-live", dsn, *more, PGPASSWORD=server.password)


def test_the_manifests_of_a_living_cluster_make_an_empty_plan(living: PostgresServer, tmp_path: Path) -> None:
    ran = adopt(living, tmp_path, "--name", "old").done()
    assert "no changes" in ran.out
    assert "left outside the estate: role ancient: its VALID UNTIL" in ran.out
    commit(tmp_path / "estate")
    password = {"PGPASSWORD": living.password}
    run(tmp_path, "validate").done()
    plan = run(tmp_path, "plan", "--detailed-exitcode", **password).done()
    assert "no changes" in plan.out
    before = _fingerprint(living)
    run(tmp_path, "apply", "--auto", **password).done()
    assert _fingerprint(living) == before
    run(tmp_path, "drift", **password).done()
    _drift_by_hand_is_found_and_held(living, tmp_path)


def _fingerprint(server: PostgresServer) -> list[tuple[Any, ...]]:
    """All that an apply could have touched."""
    shop = (
        "SELECT relname, relacl::text FROM pg_class ORDER BY 1, 2",
        "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1",
        "SELECT defaclobjtype::text, defaclacl::text FROM pg_default_acl ORDER BY 1, 2",
    )
    shared = (
        "SELECT t::text FROM pg_authid t ORDER BY oid", "SELECT t::text FROM pg_auth_members t ORDER BY 1",
        "SELECT t::text FROM pg_database t ORDER BY oid",
        "SELECT t::text FROM pg_db_role_setting t ORDER BY setdatabase, setrole",
        "SELECT name, setting FROM pg_file_settings ORDER BY seqno",
    )  # fmt: skip
    rows = [row for query in shared for row in server.sql(query)]
    return [(str(row),) for row in (*rows, *(row for query in shop for row in server.sql(query, database="shop")))]


def _drift_by_hand_is_found_and_held(server: PostgresServer, folder: Path) -> None:
    password = {"PGPASSWORD": server.password}
    server.sql("ALTER ROLE app CREATEDB", "GRANT INSERT ON archive.t1 TO readers", database="shop")
    found = run(folder, "drift", "-o", "json", **password).done(EXIT_CHANGES).changes
    assert {a: c["origin"] for a, c in found.items()} == {
        "old/role/app": "drift", "old/privilege/table.shop.archive.readers": "drift",
    }  # fmt: skip
    run(folder, "apply", "--auto", **password).done()
    assert run(folder, "drift", **password).code == EXIT_CHANGES
    assert server.sql("SELECT rolcreatedb FROM pg_roles WHERE rolname = 'app'") == [(True,)]
    server.sql("ALTER ROLE app NOCREATEDB", "REVOKE INSERT ON archive.t1 FROM readers", database="shop")
    run(folder, "drift", **password).done()


def test_what_is_written_is_what_a_person_would_write(living: PostgresServer, tmp_path: Path) -> None:
    adopt(living, tmp_path).done()
    roles = documents(tmp_path)
    assert {ODD, "new\nline", "日本語", "UPPER", "upper", "123", "1e5", "null"} <= set(roles)
    assert roles["readers"]["privileges"] == [
        {"grant": {"parameter": ["SET"]}, "parameters": ["jit", "log_lock_waits"]},
        {"grant": {"schema": ["USAGE"]}, "database": "shop", "future": {"creators": ["shop_owner"]}},
        {"profile": "reader", "database": "shop", "schemas": ["app"], "future": {"creators": ["shop_owner"]}},
        {"profile": "reader", "database": "shop", "schemas": ["archive", "empty"]},
        {"grant": {"function": ["EXECUTE"]}, "database": "shop", "schemas": ["archive"]},
        {"grant": {"table": ["SELECT"]}, "database": "shop", "schemas": ["empty"], "tables": [],
         "future": {"creators": ["shop_owner"]}},
        {"grant": {"database": ["CONNECT"]}, "database": "shut"},
    ]  # fmt: skip
    assert roles["lookers"]["privileges"] == [
        {"grant": {"largeObject": ["SELECT"]}, "database": "shop", "largeObjects": [4711]},
        {"profile": "schema-reader", "database": "shop", "schemas": ["app", "archive"]},
        {"grant": {"table": ["INSERT"]}, "database": "shop", "schemas": ["archive"], "grantOption": True, "tables": [],
         "future": {"creators": ["app"]}},
        {"grant": {"table": ["SELECT"]}, "database": "shop", "schemas": ["archive"], "tables": [],
         "future": {"creators": ["postgres", "shop_owner"]}},
    ]  # fmt: skip
    assert {"grant": {"table": ["SELECT", "UPDATE"]}, "database": "shop", "future": {"creators": ["maker"]}} in roles[
        "writers"
    ]["privileges"]
    assert roles["sleeper"]["login"] is False
    assert str(roles["sleeper"]["validUntil"]) == "2029-01-01"
    assert roles["copier"]["memberOf"] == ["lookers"]
    assert not {"postgres", "ancient"} & set(roles)
    lines = sum(len(path.read_text().splitlines()) for path in (tmp_path / "estate").rglob("*.yaml"))
    assert lines < 12 * len(roles) + 40  # the heads of five files among them


def test_every_file_names_a_schema_that_is_there(living: PostgresServer, tmp_path: Path) -> None:
    adopt(living, tmp_path).done()
    files = list((tmp_path / "estate").rglob("*.yaml"))
    assert len(files) == 5
    for file in files:
        head, _, schema = file.read_text().splitlines()[0].partition("$schema=")
        assert head == "# yaml-language-server: "
        assert (file.parent / schema).resolve().is_file()


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(living: PostgresServer, tmp_path: Path) -> None:
    wrong = run(tmp_path, "init", "--from-live", f"host=127.0.0.1 port={living.port} user=postgres", PGPASSWORD="x")
    assert "password authentication failed" in wrong.done(EXIT_ERROR).err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "pgvillage.yaml").write_text("mine\n")
    assert "exists already" in adopt(living, tmp_path).done(EXIT_USAGE).err
    assert "exists already" in run(tmp_path, "init").done(EXIT_USAGE).err
    assert (tmp_path / "pgvillage.yaml").read_text() == "mine\n"
    assert [p.name for p in tmp_path.iterdir()] == ["pgvillage.yaml"]


@pytest.mark.parametrize("dsn", ["postgresql://postgres:planted-one@127.0.0.1/x", "host=h password=planted-one"])
def test_a_password_in_the_dsn_is_refused(tmp_path: Path, dsn: str) -> None:
    ran = run(tmp_path, "init", "--from-live", dsn).done(EXIT_USAGE)
    assert "PGPASSWORD" in ran.err
    assert "planted-one" not in ran.text
    assert list(tmp_path.iterdir()) == []


def test_the_password_is_in_no_file(living: PostgresServer, tmp_path: Path) -> None:
    adopt(living, tmp_path).done()
    texts = [p.read_text(errors="replace") for p in tmp_path.rglob("*") if p.is_file()]
    assert not [text for text in texts if "planted" in text]
    assert "env: PGPASSWORD" in (tmp_path / "pgvillage.yaml").read_text()


def test_the_scaffold_validates_with_the_settings_that_are_written(tmp_path: Path) -> None:
    run(tmp_path, "init", "new").done()
    valid = run(tmp_path / "new", "validate").done()
    assert valid.err == ""
    assert "1 cluster" in valid.out
    commit(tmp_path / "new/estate")
    run(tmp_path / "new", "validate").done()


def test_the_scaffold_works_inside_a_repository_too(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    run(tmp_path, "init", "infra").done()
    assert not (tmp_path / "infra/estate/.git").exists()
    run(tmp_path / "infra", "validate").done()


def test_a_cluster_can_not_have_any_name(living: PostgresServer, tmp_path: Path) -> None:
    assert "--name 'My Cluster'" in adopt(living, tmp_path, "--name", "My Cluster").done(EXIT_USAGE).err


def test_a_cluster_that_had_an_estate_before(living: PostgresServer, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        ran = adopt(living, tmp_path / name).done()
        assert "no changes" in ran.out
        assert ("--acknowledge" in ran.out) is (name == "second")
        commit(tmp_path / name / "estate")
        if name == "first":
            run(tmp_path / name, "apply", "--auto", PGPASSWORD=living.password).done()


def test_a_database_that_can_not_be_looked_into_is_left_outside(living: PostgresServer, tmp_path: Path) -> None:
    """As with the provider's own database on a managed service; the account is no superuser there either."""
    living.sql(
        "CREATE ROLE dba LOGIN CREATEROLE CREATEDB PASSWORD 'planted-dba'", "GRANT CREATE ON DATABASE postgres TO dba"
    )
    try:
        dsn = f"host=127.0.0.1 port={living.port} user=dba dbname=postgres"
        password = {"PGPASSWORD": "planted-dba"}
        ran = run(tmp_path, "init", "--from-live", dsn, **password).done()
        assert "left outside the estate: database shop: " in ran.out
        assert "left outside the estate: role dba: PgVillage connects as this role" in ran.out
        commit(tmp_path / "estate")
        run(tmp_path, "plan", "--detailed-exitcode", **password).done()
    finally:
        living.sql("DROP OWNED BY dba", "DROP ROLE dba")


def test_without_git_there_is_a_word_of_advice_and_no_half_estate(tmp_path: Path) -> None:
    assert "apt-get install git" in run(tmp_path, "init", "new", PATH="/nowhere").done(EXIT_ERROR).err
    assert list(tmp_path.iterdir()) == []
