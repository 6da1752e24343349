"""Clusters nobody made for us: manifests of them have an empty plan, find drift, and take in what lives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.estate_builder import EXIT_CHANGES, EXIT_ERROR, EXIT_USAGE
from tests.integration.odd_cluster import SECRETS, acl_entries, fill_odd
from tests.integration.test_init import commit, git, run
from tests.servers.postgres import MAJORS, PostgresServer, of_major, postgres_server

SHOP = '"Odd. Shop"'
TRIED = tuple(major for major in MAJORS if major in (13, 15, 16, 18))


@pytest.fixture(scope="module", params=TRIED, ids=lambda major: f"pg{major}")
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp(f"odd{request.param}")
    with postgres_server(folder, of_major(request.param), wal_level="logical") as server:
        fill_odd(server, request.param)
        yield server


@pytest.fixture(scope="module")
def estate(odd: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adopted, and committed."""
    folder = tmp_path_factory.mktemp("estate")
    dsn = f"host=127.0.0.1 port={odd.port} user=postgres"
    ran = run(folder, "init", "--from-live", dsn, "--name", "odd", PGPASSWORD=odd.password).done()
    assert "no changes" in ran.out
    for words in (
        "replication slot stolon_ab12", "owners in schema app", "role never",
        "PUBLIC on functions",
    ):  # fmt: skip
        assert f"left outside the estate: {words}" in ran.out
    assert "in the environment as FAR_PERSON_05_PASSWORD" in ran.out
    assert "password of subscription taken" in ran.out
    commit(folder / "estate")
    return folder


def test_the_plan_is_empty(odd: PostgresServer, estate: Path) -> None:
    plan = run(estate, "plan", "--detailed-exitcode", PGPASSWORD=odd.password).done()
    assert "no changes" in plan.out
    told = run(
        estate,
        "plan",
        "--detailed-exitcode",
        PGPASSWORD=odd.password,
        FAR_PERSON_05_PASSWORD=SECRETS[0],
        ODD_SHOP_TAKEN_PASSWORD=SECRETS[1],
    )
    assert "not available" not in told.done().out
    assert "no changes" in told.out
    texts = "".join(p.read_text(errors="replace") for p in estate.rglob("*") if p.is_file())
    assert not [secret for secret in (*SECRETS, odd.password) if secret in texts]


def test_the_manifests_are_grouped(odd: PostgresServer, estate: Path) -> None:
    lines = sum(len(path.read_text().splitlines()) for path in (estate / "estate").rglob("*.yaml"))
    assert lines < acl_entries(odd) / 5
    assert "tables-select-insert-update:" in (estate / "estate/estate.yaml").read_text()
    shop = (estate / "estate/databases/odd-shop.yaml").read_text()
    assert "{owner: own_b, schemas: [tidy]}" in shop
    assert "{owner: own_a, schemas: [nearly], except: [stray]}" in shop
    assert "user: repl" in shop
    assert "A database of cluster odd" in shop.splitlines()[1]


def test_drift_is_found_and_adopted(odd: PostgresServer, estate: Path) -> None:
    password = {"PGPASSWORD": odd.password}
    odd.sql(
        "CREATE ROLE newbie LOGIN CREATEDB", "GRANT team_1 TO newbie", "ALTER ROLE newbie SET work_mem = '9MB'",
        "ALTER ROLE person_11 CREATEROLE", "GRANT team_5 TO person_12", "ALTER SYSTEM SET work_mem = '7MB'",
        "CREATE DATABASE fresh OWNER own_a", "ALTER ROLE person_13 SET jit = off",
        "ALTER DATABASE zero CONNECTION LIMIT 3",
    )  # fmt: skip
    odd.sql(
        "GRANT DELETE ON app.t7 TO team_2", "GRANT SELECT ON app.t7 TO newbie",
        "CREATE SCHEMA late AUTHORIZATION own_a", "CREATE EXTENSION pg_trgm SCHEMA public",
        "CREATE PUBLICATION lately FOR TABLE app.t8",
        database="Odd. Shop",
    )  # fmt: skip
    found = run(estate, "drift", "-o", "json", **password).done(EXIT_CHANGES).changes
    assert {
        "odd/role/person_11", "odd/membership/team_5.person_12", "odd/setting/role.person_13", "odd/database/zero",
        f"odd/privilege/table.{SHOP}.app.team_2",
    } <= set(found)  # fmt: skip
    addresses = [
        "odd/role/newbie", "odd/role/person_11", "odd/membership/team_5.person_12", "odd/parameter/work_mem",
        "odd/database/fresh", "odd/setting/role.person_13", "odd/database/zero",
        f"odd/privilege/table.{SHOP}.app.team_2", f"odd/schema/{SHOP}.late",
        f"odd/extension/{SHOP}.pg_trgm", f"odd/publication/{SHOP}.lately",
    ]  # fmt: skip
    shown = run(estate, "adopt", *addresses, **password).done()
    assert "+    - {name: late, owner: own_a}" in shown.out
    assert "next: the same with --write" in shown.out
    assert not (estate / "estate/adopted.yaml").exists()
    run(estate, "adopt", *addresses, "--write", **password).done()
    assert "createdb: true" in (estate / "estate/adopted.yaml").read_text()
    commit_more(estate)
    left = run(estate, "plan", "-o", "json", **password).done().changes
    assert not set(left) & set(addresses)
    again = run(estate, "adopt", "odd/role/newbie", **password).done(EXIT_ERROR)
    assert "there is nothing to adopt" in again.out


def commit_more(estate: Path) -> None:
    git(estate / "estate", "add", "-A")
    git(estate / "estate", "commit", "-qm", "adopt more")


def test_what_can_not_be_said_is_refused(odd: PostgresServer, estate: Path) -> None:
    password = {"PGPASSWORD": odd.password}
    assert "the nearest are" in run(estate, "adopt", "odd/role/person_1", **password).done(EXIT_USAGE).err
    for address, words in (
        ("odd/role/postgres", "PostgreSQL's own roles"),
        ("odd/role/never", "no date that a manifest can have"),
        (f"odd/privilege/table.{SHOP}.tidy.public", "it is as declared"),
    ):
        ran = run(estate, "adopt", address, **password).done(EXIT_ERROR)
        assert words in ran.out
        assert "+++" not in ran.out


ADOPTED_LATE = [
    f"odd/privilege/schema.{SHOP}.late.public", f"odd/privilege/table.{SHOP}.nearly.public",
    f"odd/policy/{SHOP}.shut.secret.more", f"odd/policy/{SHOP}.shut.secret.mine", f"odd/row-security/{SHOP}.app.t9",
    f"odd/row-security/{SHOP}.app.t10", f"odd/policy/{SHOP}.app.t10.fresh",
    f"odd/ownership/{SHOP}.tidy.own_b", f"odd/user-mapping/{SHOP}.far.person_06", f"odd/subscription/{SHOP}.second",
    f"odd/subscription/{SHOP}.taken", "odd/membership/team_4.person_04", f"odd/publication/{SHOP}.parts",
    f"odd/policy/{SHOP}.app.t9.asleep", "odd/setting/role.person_13", f"odd/user-mapping/{SHOP}.far.public",
    "odd/role/person_20",
]  # fmt: skip


def test_what_hangs_on_tables_and_what_is_gone_is_adopted(odd: PostgresServer, estate: Path) -> None:
    password = {"PGPASSWORD": odd.password}
    odd.sql("REVOKE team_4 FROM person_04", "ALTER ROLE person_13 RESET jit", database="Odd. Shop")
    odd.sql(
        "GRANT USAGE ON SCHEMA late TO PUBLIC", "GRANT SELECT ON ALL TABLES IN SCHEMA nearly TO PUBLIC",
        "CREATE POLICY more ON shut.secret FOR INSERT WITH CHECK (tenant = 'x')",
        "ALTER POLICY mine ON shut.secret TO team_3", "ALTER TABLE app.t9 ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE app.t10 ENABLE ROW LEVEL SECURITY", "CREATE POLICY fresh ON app.t10 USING (id > 1)",
        "CREATE TABLE tidy.foreigner ()", "CREATE USER MAPPING FOR person_06 SERVER far OPTIONS (password 'planted-x')",
        "CREATE SUBSCRIPTION second CONNECTION 'dbname=y host = ''a b'' user=u password=planted-y connect_timeout=9'"
        " PUBLICATION q WITH (connect = false, slot_name = NONE)",
        "ALTER SUBSCRIPTION taken SET PUBLICATION p2 WITH (refresh = false)",
        "DROP PUBLICATION parts", "DROP POLICY asleep ON app.t9", "DROP USER MAPPING FOR PUBLIC SERVER far",
        "REASSIGN OWNED BY person_20 TO own_a", "DROP OWNED BY person_20", "DROP ROLE person_20",
        database="Odd. Shop",
    )  # fmt: skip
    shown = run(estate, "adopt", *ADOPTED_LATE, "--write", **password).done()
    assert "planted" not in shown.out
    assert "it says `ensure: absent` now" in shown.out
    settings = estate / "pgvillage.yaml"
    text = settings.read_text()
    for secret in ("Odd-Shop-second-password", "far-person-06-password"):
        assert f"to fill in: secret '{secret}' in `secrets` of the settings" in shown.out
        text = text.replace("secrets:\n", f"secrets:\n  {secret}: {{env: {secret.upper().replace('-', '_')}}}\n", 1)
    settings.write_text(text)
    commit_more(estate)
    told = {"ODD_SHOP_SECOND_PASSWORD": "planted-y", "FAR_PERSON_06_PASSWORD": "planted-x"}
    left = run(estate, "plan", "-o", "json", **password, **told).done().changes
    assert not set(left) & set(ADOPTED_LATE)


def test_a_lesser_account_says_what_it_did_not_see(odd: PostgresServer, tmp_path: Path) -> None:
    odd.sql("CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'planted-dba'", "GRANT CREATE ON DATABASE postgres TO dba")
    try:
        dsn = f"host=127.0.0.1 port={odd.port} user=dba dbname=postgres"
        password = {"PGPASSWORD": "planted-dba"}
        ran = run(tmp_path, "init", "--from-live", dsn, **password).done()
        assert "no changes" in ran.out
        assert "left outside the estate: database closed: " in ran.out
        commit(tmp_path / "estate")
        run(tmp_path, "plan", "--detailed-exitcode", **password).done()
    finally:
        odd.sql("DROP OWNED BY dba", "DROP ROLE dba")
