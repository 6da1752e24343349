"""The whole loop on a real server: estate, plan, apply, empty plan, and what the server logged of it."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder, cluster, document, free_policy, group, user
from tests.integration.shop_estate import fill_shop, make_tables
from tests.servers.postgres import PostgresServer

# What an apply says to the server beside the plan's steps: sessions, transactions, lock, ledger, beats, reads.
BOOKKEEPING = re.compile(
    r"BEGIN|COMMIT|ROLLBACK|SET (LOCAL )?[a-z_.]+ = |SELECT pg_catalog\.pg_(try_)?advisory_lock|SELECT 1$"
    r"|SELECT system_identifier|SELECT set_config\('application_name'|SELECT name, setting"
    r"|SELECT pg_catalog\.set_config\(name"
    r"|SELECT r\.rolname = current_user|(CREATE|INSERT|UPDATE|DELETE|SELECT|REVOKE|COMMENT)\b.*\bpgvillage\b"
    r"|SELECT pg_catalog\.pg_terminate_backend\(pid\) FROM pg_catalog\.pg_stat_activity WHERE application_name LIKE"
    r"|SELECT pg_catalog\.pg_terminate_backend\(a\.pid\)\s+FROM pg_catalog\.pg_locks",
    re.DOTALL,
)
_LINE = re.compile(r"^\d{4}-\d\d-\d\d \S+ \S+ \[(\d+)\] (.*?)@(\S*) LOG:  (?:statement|execute [^:]*): (.*)$")


def logged(server: PostgresServer, start: int) -> list[tuple[str, str, str]]:
    """(application, database, statement) since the log was `start` bytes long; parameters are left out."""
    found: list[tuple[str, str, str]] = []
    going = False
    for line in server.log.read_bytes()[start:].decode().splitlines():
        match = _LINE.match(line)
        if match:
            found.append((match[2], match[3], match[4]))
        elif line.startswith("\t") and going:
            application, database, text = found.pop()
            found.append((application, database, f"{text}\n{line[1:]}"))
        going = bool(match) or (going and line.startswith("\t"))
    return found


def own_statements(server: PostgresServer, start: int) -> list[tuple[str, str]]:
    """(database, statement) of an apply, without its bookkeeping."""
    return [
        (database, text.strip())
        for application, database, text in logged(server, start)
        if application.startswith("pgvillage apply") and not BOOKKEEPING.match(text.strip())
    ]


def test_an_estate_is_planned_applied_and_then_nothing_is_left(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    fill_shop(estate, pg.host)
    first = estate.plan("--detailed-exitcode").done(EXIT_CHANGES)
    assert {a.split("/")[1] for a in first.changes} == {
        "role", "membership", "database", "schema", "extension", "setting", "privilege", "parameter",
    }  # fmt: skip
    estate.apply().done()
    pg.connect("shop", "app", password="planted-app-password").close()
    make_tables(pg)
    # tables are new objects of a declared "all tables": what the estate asks for meets them now
    assert "c/privilege/table.shop.app.readers" in estate.plan().done().changes
    estate.apply().done()
    estate.settled()
    assert estate.run("drift", "-o", "json").done().changes == {}
    again = estate.apply().done()
    assert "Traceback" not in again.text


def test_the_plans_statements_are_the_ones_that_the_server_saw(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    fill_shop(estate, pg.host)
    _compare(pg, estate)
    make_tables(pg)
    pg.sql(
        "ALTER ROLE app SUPERUSER PASSWORD 'x'",
        "GRANT SELECT ON app.t1 TO app",
        "ALTER DATABASE shop OWNER TO postgres",
        "DROP EXTENSION citext",
        "ALTER SYSTEM SET work_mem = '3MB'",
        "SELECT pg_reload_conf()",
        database="shop",
    )
    _compare(pg, estate)
    estate.settled()


def test_statements_of_dropping_are_the_planned_ones_too(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    fill_shop(estate, pg.host)
    estate.apply().done()
    make_tables(pg)
    estate.apply().done()
    pg.sql("CREATE TABLE app.his (i int)", "ALTER TABLE app.his OWNER TO app", database="shop")
    roles = [d for d in estate.documents["roles"] if d["metadata"]["name"] != "app"]
    roles[2]["spec"]["members"] = {"roles": []}
    gone = user("app", ensure="absent", heir="shop_owner")
    estate.documents["roles"] = [*roles, gone]
    estate.commit()
    _compare(pg, estate)
    estate.settled()
    assert pg.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'his'", database="shop") == [("shop_owner",)]


def _compare(pg: PostgresServer, estate: EstateBuilder) -> None:
    plan = estate.plan().done()
    (target,) = plan.document["targets"]
    # as a superuser, what holds a verifier is kept out of the log, and nothing else is
    planned = [(s["database"] or "postgres", s["sql"]) for s in target["steps"] if "<verifier of" not in s["sql"]]
    assert planned
    start = pg.log.stat().st_size
    estate.apply().done()
    assert own_statements(pg, start) == planned


def test_first_plan_on_a_living_cluster_touches_nothing_that_no_manifest_names(
    pg: PostgresServer, estate_of: EstateMaker
) -> None:
    pg.sql(
        "CREATE ROLE old_owner", "CREATE ROLE reader", "CREATE ROLE stranger LOGIN SUPERUSER PASSWORD 'x'",
        "CREATE ROLE member LOGIN IN ROLE reader", "CREATE DATABASE legacy OWNER old_owner",
        "GRANT CREATE ON DATABASE legacy TO PUBLIC", "ALTER ROLE member SET work_mem = '9MB'",
        "ALTER DATABASE legacy SET search_path = 'a'", "CREATE DATABASE other OWNER stranger",
        "ALTER SYSTEM SET work_mem = '5MB'", "ALTER ROLE ALL SET maintenance_work_mem = '70MB'",
        "ALTER ROLE ALL IN DATABASE legacy SET maintenance_work_mem = '71MB'",
    )  # fmt: skip
    pg.sql(
        "CREATE SCHEMA a AUTHORIZATION old_owner", "CREATE TABLE a.t (i serial)", "GRANT ALL ON a.t TO PUBLIC",
        "GRANT USAGE ON SCHEMA a TO PUBLIC", "GRANT SELECT ON a.t TO reader WITH GRANT OPTION",
        "SET ROLE reader", "GRANT SELECT ON a.t TO stranger", "RESET ROLE", "ALTER TABLE a.t OWNER TO old_owner",
        "CREATE TABLE a.mine (i int)", "ALTER TABLE a.mine OWNER TO stranger", "CREATE EXTENSION citext",
        "ALTER DEFAULT PRIVILEGES FOR ROLE old_owner GRANT SELECT ON TABLES TO PUBLIC",
        "CREATE VIEW a.v AS SELECT 1", "GRANT SELECT (i) ON a.mine TO reader",
        "CREATE FUNCTION a.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "GRANT CREATE ON SCHEMA public TO PUBLIC",
        database="legacy",
    )  # fmt: skip
    before = _dump(pg)
    estate = estate_of(pg)
    # names the database and a schema without an owner, one of the roles not at all, and a new role
    estate.documents = {
        "a": [
            free_policy(),
            cluster("c", pg.host, databases=[{"name": "legacy", "schemas": [{"name": "a"}]}]),
            group("newcomers", privileges=[{"profile": "reader", "database": "legacy", "schemas": ["a"]}]),
        ]
    }
    estate.commit()
    plan = estate.plan().done()
    assert all("newcomers" in address for address in plan.changes), list(plan.changes)
    assert not [s for s in plan.statements if re.search(r"\b(REVOKE|DROP|ALTER)\b|PUBLIC", s)], plan.statements
    estate.apply().done()
    estate.settled()
    after = _dump(pg)
    more = [line for line in after if line not in before and "newcomers" not in line]
    assert more == []
    assert [line for line in before if line not in after] == []


def test_manifests_that_say_what_is_there_already_change_nothing(pg: PostgresServer, estate_of: EstateMaker) -> None:
    pg.sql("CREATE ROLE o", "CREATE ROLE r LOGIN CONNECTION LIMIT 3", "GRANT o TO r", "CREATE DATABASE d OWNER o")
    before = _dump(pg)
    estate = estate_of(pg)
    estate.documents = {
        "a": [
            free_policy(),
            cluster("c", pg.host, databases=[{"name": "d", "owner": "o"}]),
            group("o"),
            user("r", memberOf=["o"], connectionLimit=3),
        ]
    }
    estate.commit()
    estate.settled()
    estate.apply().done()
    assert _dump(pg) == before


def test_two_clusters_and_one_that_is_down(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    estate.documents = {
        "a": [free_policy(), cluster("c", pg.host), cluster("dead", "127.0.0.1:1"), group("o")],
    }
    estate.commit()
    plan = estate.plan().done(6)
    assert plan.targets["dead"]["status"] == "unreachable"
    assert plan.document["complete"] is False
    ran = estate.apply().done(6)
    assert "Connection refused" in ran.text
    assert pg.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'o'") == [(1,)]
    estate.plan("-t", "dead").done(1)
    estate.plan("-t", "c", "--detailed-exitcode").done(0)


@pytest.mark.parametrize("how", ["text", "markdown", "json"])
def test_every_output_names_what_changes(pg: PostgresServer, estate_of: EstateMaker, how: str) -> None:
    estate = estate_of(pg)
    fill_shop(estate, pg.host)
    ran = estate.run("plan", "-o", how).done()
    assert "shop_owner" in ran.out
    assert "\x1b" not in ran.out, "no colours when piped"
    ran = estate.run("apply", "--auto", "-o", how).done()
    assert "\x1b" not in ran.out


def test_a_saved_plan_is_applied_as_shown_or_refused_as_stale(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    fill_shop(estate, pg.host)
    saved = estate.folder / "plan.json"
    estate.run("plan", "--out", str(saved)).done()
    pg.sql("CREATE ROLE readers")
    stale = estate.run("apply", str(saved)).done(5)
    assert "plan again" in stale.text
    assert pg.sql("SELECT count(*) FROM pg_database WHERE datname = 'shop'") == [(0,)]
    pg.sql("DROP ROLE readers")
    estate.run("apply", str(saved)).done()
    estate.settled()


def test_a_revision_that_does_not_descend_needs_a_word(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    estate.documents = {"a": [free_policy(), cluster("c", pg.host), group("o")]}
    estate.commit()
    estate.apply().done()
    applied = estate.git("rev-parse", "HEAD").strip()
    estate.git("checkout", "-q", "--orphan", "fresh")
    estate.documents["a"].append(group("p"))
    estate.commit("another history")
    estate.git("branch", "-q", "-M", "main")
    refused = estate.apply().done(4)
    assert applied[:12] in refused.text
    assert pg.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'p'") == [(0,)]
    estate.apply("--acknowledge", applied[:12]).done()
    estate.settled()


def test_limits_ask_for_an_approval_of_exactly_this_plan(pg: PostgresServer, estate_of: EstateMaker) -> None:
    estate = estate_of(pg)
    tight = {"drop": {"count": 0, "share": "0%"}, "revoke": {"count": 0, "share": "0%"}}
    policy = document("Estate", "tests", policy={"correct": "all", "limits": tight})
    estate.documents = {"a": [policy, cluster("c", pg.host), group("o"), user("u", memberOf=["o"])]}
    estate.commit()
    estate.apply().done()
    estate.documents["a"][3] = user("u")
    estate.commit()
    digest = estate.plan().done(4).targets["c"]["digest"]
    estate.apply().done(4)
    estate.apply("--approve", "0" * 12).done(4)
    assert pg.sql("SELECT count(*) FROM pg_auth_members WHERE member::regrole::text = 'u'") == [(1,)]
    estate.apply("--approve", digest[:12]).done()
    estate.settled()


def _dump(server: PostgresServer) -> list[str]:
    """Globals and every database's schema as text, without the ledger and what differs by itself."""
    environment = {**os.environ, "PGPASSWORD": server.password}
    arguments = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"]
    names = server.sql("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1")
    texts = [_output([server.binaries / "pg_dumpall", "--globals-only", *arguments], environment)]
    for (name,) in names:
        dump = [server.binaries / "pg_dump", "-s", "-C", "-N", "pgvillage", *arguments, str(name)]
        texts.append(_output(dump, environment))
    return [line for text in texts for line in text.splitlines() if not line.startswith(("--", "\\"))]


def _output(command: list[object], environment: dict[str, str]) -> str:
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, env=environment)
    return done.stdout
