"""Names that try to be something else: correct and harmless as role, database, schema, table and directory entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_INVALID, EstateBuilder, cluster, free_policy, group, user
from tests.servers.postgres import PostgresServer
from tests.servers.slapd import ADMIN, PASSWORD, SUFFIX, folders, group_dn, person, person_dn, record, slapd

NAMES = [
    'a"b', '""', '"', "it's", "''", "two words", " lead and trail ", "$$", "$pgvillage$",
    "a$pgvillage$; DROP TABLE canary; --",
    "%", "%s", "%(x)s", "100%d", "{}", "{uid}", "{0!r}", ";", "x; DROP ROLE canary; --", "back\\slash",
    "\\", "\\'; --", "E'\\n'",
    "line\nbreak", "tab\there", "cr\rhere", "bell\x07", "é" * 31, "日本語", "👩‍🚀", "e\u0301", "\u202eevil",
    "select", "user", "all", "USER", "Mixed Case", "-rf", "--", "/* x */", "a.b", "a/b", "a,b", "(x)",
    "[x]", "*", "=", "=r/x",
    "x" * 63, "current_user", "session_user", "PUBLIC", "Public", "\u00a0", "#", "!", "~", "null", "true",
    "1", "0x1", "..",
    "C:\\x", "@", "&amp;", "<b>", "$1", ":x", "U&\"\\0041\"", "\x7f", "\x01",
]  # fmt: skip


def reader(name: str, database: str, **more: Any) -> dict[str, Any]:
    return {"grant": {"schema": ["USAGE"], "table": ["SELECT"]}, "database": database, "schemas": [name], **more}


def fill(estate: EstateBuilder, host: str, names: list[str]) -> None:
    """Every name is a role, a schema, a member, a comment, a setting's value; every fourth a database too."""
    schemas = [{"name": name, "owner": name, "comment": name} for name in names]
    databases = [{"name": "store", "owner": "keeper", "schemas": schemas}]
    databases += [
        {"name": name, "owner": name, "comment": name, "settings": {"application_name": name.strip() or "x"},
         "schemas": [{"name": name, "owner": name}]}
        for name in names[::4]
    ]  # fmt: skip
    roles = [
        user(
            f"u{at}",
            name,
            auth={"method": "scram", "password": {"secret": "app"}},
            comment=name,
            memberOf=[{"role": names[at - 1], "admin": True}] if at % 7 else [],
            settings={"my.own": name, "search_path": '"$user", public'},
            databaseSettings={"store": {"my.own": name}},
            privileges=[reader(names[at - 1], "store")],
            heir="keeper",
        )
        for at, name in enumerate(names)
    ]
    estate.settings["secrets"] = {"app": {"command": ["echo", "pass'word\\$$%s"]}}
    estate.documents = {
        "c": [free_policy(), cluster("c", host, databases=databases)],
        "r": [group("keeper"), group("canary"), *roles],
    }
    estate.commit()


def test_hostile_names_everywhere(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    fill(estate, pg.host, NAMES)
    for how in ("text", "markdown", "json"):
        ran = estate.run("plan", "-o", how, "--sql").done()
        assert "\x1b" not in ran.out
        assert "\x07" not in ran.out
        assert "\u202e" not in ran.out or how == "json"
    estate.apply().done()
    estate.settled()
    found = {name for (name,) in pg.sql("SELECT rolname FROM pg_roles")}
    assert found >= {*NAMES, "canary"}
    assert {name for (name,) in pg.sql("SELECT nspname FROM pg_namespace", database="store")} >= set(NAMES)
    assert {name for (name,) in pg.sql("SELECT datname FROM pg_database")} >= set(NAMES[::4])
    own = dict(
        pg.sql(
            "SELECT setrole::regrole::text, setconfig[1] FROM pg_db_role_setting WHERE setdatabase = 0 AND setrole <> 0"
        )
    )
    assert len(own) == len(NAMES)
    pg.connect("store", NAMES[0], password="pass'word\\$$%s").close()


def test_hostile_tables_are_granted_and_revoked(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    estate.documents = {
        "c": [
            free_policy(),
            cluster("c", pg.host, databases=[{"name": "store", "schemas": [{"name": "s"}]}]),
            group("g", privileges=[reader("s", "store")]),
        ]
    }
    estate.commit()
    estate.apply().done()
    with pg.connect("store") as connection:
        connection.execute("CREATE TABLE public.canary (i int)")
        for name in NAMES:
            connection.execute(sql.SQL("CREATE TABLE s.{} (i serial)").format(sql.Identifier(name)))
    estate.apply().done()
    estate.settled()
    with pg.connect("store") as connection:
        for name in NAMES:
            connection.execute(sql.SQL("GRANT UPDATE ON s.{} TO g").format(sql.Identifier(name)))
    estate.apply().done()
    estate.settled()
    assert pg.sql("SELECT to_regclass('public.canary') IS NOT NULL", database="store") == [(True,)]


def test_hostile_roles_are_dropped_and_their_things_kept(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    fill(estate, pg.host, NAMES)
    estate.apply().done()
    with pg.connect("store") as connection:
        connection.execute("CREATE TABLE public.canary (i int)")
        for at, name in enumerate(NAMES):
            connection.execute(sql.SQL("CREATE TABLE {}.t (i int)").format(sql.Identifier(name)))
            connection.execute(
                sql.SQL("ALTER TABLE {}.t OWNER TO {}").format(sql.Identifier(name), sql.Identifier(NAMES[at - 1]))
            )
    documents = estate.documents["r"]
    for each in documents[2:]:
        spec = each["spec"]
        each["spec"] = {"role": spec["role"], "clusters": spec["clusters"], "ensure": "absent", "heir": "keeper"}
    (place,) = [d for d in estate.documents["c"] if d["kind"] == "Cluster"]
    for database in place["spec"]["databases"]:
        database["owner"] = "keeper"
        for schema in database["schemas"]:
            schema["owner"] = "keeper"
    estate.commit()
    estate.apply().done()
    estate.settled()
    left = {name for (name,) in pg.sql("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'")}
    assert left == {"postgres", "keeper", "canary"}
    assert pg.sql("SELECT to_regclass('public.canary') IS NOT NULL", database="store") == [(True,)]
    owners = pg.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename = 't'", database="store")
    assert owners == [("keeper",)]


@pytest.mark.parametrize("name", ["x" * 64, "é" * 32, "nul\0byte", "public", "none", "pg_evil", ""])
def test_names_that_postgresql_would_not_have_are_refused(
    pg: PostgresServer, estate_of: EstateMaker, name: str
) -> None:
    estate = estate_of(pg)
    estate.documents = {"c": [cluster("c", pg.host), user("u", name)]}
    estate.documents["c"][1]["spec"]["role"] = name
    estate.commit()
    ran = estate.run("validate").done(EXIT_INVALID)
    assert "c.yaml:" in ran.text


def test_hostile_directory_entries(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> None:
    names = [n for n in NAMES if n.isprintable() and n == n.strip() and n == n.lower()]
    odd = ["y" * 64, "pg_evil", "public", "line\nbreak", "postgres"]
    people = [*names, *odd]
    ldif = folders("people", "groups") + "".join(person(f"p{at}", uid=name) for at, name in enumerate(people))
    members = [person_dn(f"p{at}") for at in range(len(people))]
    ldif += record(
        group_dn('g, "x"; {uid} %s'), {"objectClass": "groupOfNames", "cn": 'g, "x"; {uid} %s', "member": members}
    )
    with slapd(tmp_path / "ldap", ldif) as directory:
        estate = estate_of(pg)
        bind = {"dn": ADMIN, "password": {"command": ["echo", PASSWORD]}}
        estate.settings["directories"] = {
            "corp": {"uris": [directory.uri], "base": SUFFIX, "bind": bind, "startTls": False}
        }
        estate.documents = {
            "c": [
                free_policy(),
                cluster("c", pg.host),
                group("all", "everybody", members={"directory": "corp", "group": group_dn('g, "x"; {uid} %s')}),
            ]
        }
        estate.commit()
        ran = estate.apply()
        assert "Traceback" not in ran.text
        assert ran.code in (0, 6), ran.text
        assert "special rights" in ran.text, "postgres is not the directory's to take"
        found = {name for (name,) in pg.sql("SELECT rolname FROM pg_roles")}
        assert set(names) <= found, set(names) - found
        assert not {"pg_evil", "public", "y" * 63, "y" * 64, "line\nbreak"} & found
        plan = estate.plan()
        assert not plan.changes or set(plan.changes) <= {"c/membership/everybody.postgres"}, list(plan.changes)
        for how in ("text", "markdown"):
            assert "line\nbreak" not in estate.run("plan", "-o", how).out
