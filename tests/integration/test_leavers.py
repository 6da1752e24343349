"""Who leaves: shut out on primary and standby at once, dropped when it is time with nothing of theirs lost, or not."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from tests.integration.conftest import EstateMaker, new_estate
from tests.integration.estate_builder import (
    EXIT_BLOCKED,
    EXIT_DONE,
    EstateBuilder,
    Ran,
    cluster,
    credential,
    document,
    free_policy,
    group,
)
from tests.integration.test_standby import pair as pair  # noqa: PLC0414 - the fixture
from tests.integration.warm_command import run_here, start_warm
from tests.servers.pg_proxy import DROP, pg_proxy
from tests.servers.postgres import PostgresServer
from tests.servers.slapd import SUFFIX, folders, group_dn, person, person_dn, record

PEOPLE = ["p0", "p1", "p2"]


class Office:
    """A group fed by an LDIF file; who is in it is decided by the test."""

    def __init__(self, estate: EstateBuilder, *hosts: str) -> None:
        self.estate, self.hosts = estate, list(hosts)
        self.policy = free_policy()
        self.on_leave = {"drop": "after 30d", "heir": "keeper"}
        self.more: list[dict[str, object]] = []
        self.file = estate.folder / "people.ldif"
        estate.settings["directories"] = {"corp": {"ldif": str(self.file), "base": SUFFIX}}

    def has(self, members: Sequence[str]) -> None:
        entry = {"objectClass": "groupOfMembers", "cn": "team"}
        dns = {"member": [person_dn(name) for name in members]} if members else {}
        people = "".join(person(name, uid=name) for name in PEOPLE)
        self.file.write_text(folders("people", "groups") + people + record(group_dn("team"), {**entry, **dns}))
        found = cluster("c", self.hosts[0])
        found["spec"]["connection"]["hosts"] = self.hosts
        members_of = {"directory": "corp", "group": group_dn("team"), "role": "{uid}", "onLeave": self.on_leave}
        self.estate.documents = {
            "a": [self.policy, found, group("keeper"), group("team", members=members_of), *self.more]
        }
        self.estate.commit()

    def apply(self, code: int = EXIT_DONE, *arguments: str) -> Ran:
        return run_here(self.estate, "apply", "--auto", *arguments).done(code)

    def change(self, address: str) -> dict[str, object]:
        ran = run_here(self.estate, "plan", "-o", "json")
        return ran.changes[address]


LATER = "UPDATE pgvillage.ledger SET disabled_since = disabled_since - interval '31 days'"
IS_THERE = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'p0'"


def settle_in(server: PostgresServer) -> None:
    """All that somebody can have, in three databases and beside them."""
    modern = server.sql("SELECT current_setting('server_version_num')::int >= 150000")[0][0]
    server.sql(
        *(f"CREATE DATABASE {name}" for name in ("orders", "crm", "sales", "scratch")),
        "ALTER DATABASE scratch OWNER TO p0",
    )
    server.sql("CREATE ROLE mallory", "GRANT CREATE ON TABLESPACE pg_default TO p0")
    if modern:
        server.sql("GRANT SET ON PARAMETER work_mem TO p0")
    for database in ("sales", "orders", "crm"):
        server.sql(
            "CREATE SCHEMA hers AUTHORIZATION p0",
            f"GRANT CREATE ON DATABASE {database} TO p0 WITH GRANT OPTION",
            "CREATE TABLE hers.t (i serial PRIMARY KEY, tsv text)",
            "CREATE VIEW hers.v AS SELECT * FROM hers.t",
            "CREATE MATERIALIZED VIEW hers.m AS SELECT * FROM hers.t",
            "CREATE FUNCTION hers.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TYPE hers.e AS ENUM ('a')",
            "CREATE DOMAIN hers.d AS int",
            "CREATE SEQUENCE hers.s",
            "CREATE AGGREGATE hers.a (int) (SFUNC = int4pl, STYPE = int)",
            "CREATE STATISTICS hers.st ON i, tsv FROM hers.t",
            "CREATE FOREIGN DATA WRAPPER w",
            "CREATE SERVER srv FOREIGN DATA WRAPPER w",
            "CREATE USER MAPPING FOR p0 SERVER srv",
            "CREATE PUBLICATION pub FOR TABLE hers.t",
            "SELECT lo_create(4711)",
            "ALTER LARGE OBJECT 4711 OWNER TO p0",
            *(f"ALTER {what} OWNER TO p0" for what in (
                "TABLE hers.t", "VIEW hers.v", "MATERIALIZED VIEW hers.m", "FUNCTION hers.f()", "TYPE hers.e",
                "DOMAIN hers.d", "SEQUENCE hers.s", "AGGREGATE hers.a (int)", "STATISTICS hers.st", "SERVER srv",
                "PUBLICATION pub")),
            "CREATE TABLE public.theirs (i int)",
            "GRANT SELECT ON public.theirs TO p0 WITH GRANT OPTION",
            "SET SESSION AUTHORIZATION p0",
            "GRANT SELECT ON public.theirs TO mallory",
            "RESET SESSION AUTHORIZATION",
            "ALTER DEFAULT PRIVILEGES FOR ROLE p0 GRANT SELECT ON TABLES TO mallory",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO p0",
            "ALTER TABLE public.theirs ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY hers ON public.theirs TO p0 USING (true)",
            "CREATE POLICY shared ON public.theirs TO p0, mallory USING (true)",
            database=database,
        )  # fmt: skip


def owned_by(server: PostgresServer, role: str, database: str) -> int:
    text = f"SELECT count(*) FROM pg_shdepend WHERE refobjid = '{role}'::regrole AND deptype = 'o' AND dbid <> 0 "
    more = "AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    found = server.sql(text + more, database=database)
    return int(found[0][0])


def leave(office: Office, server: PostgresServer) -> None:
    """A year in a life: in, out, and long enough ago."""
    office.has(PEOPLE)
    office.apply()
    settle_in(server)
    office.has(PEOPLE[1:])
    office.apply()
    assert server.sql(IS_THERE) == [(False,)]
    server.sql(LATER)


@pytest.fixture
def office(pg: PostgresServer, estate_of: EstateMaker) -> Office:
    return Office(estate_of(pg), pg.host)


def dropped_whole(office: Office, server: PostgresServer) -> None:
    assert server.sql(IS_THERE) == []
    for database in ("sales", "orders", "crm"):
        assert owned_by(server, "keeper", database) >= 12, database
        policies = server.sql("SELECT polname FROM pg_policy", database=database)
        assert policies == [("shared",)]
        assert server.sql("SELECT count(*) FROM pg_user_mapping", database=database) == [(0,)]
    owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'scratch'"
    assert server.sql(owner) == [("keeper",)]
    run_here(office.estate, "plan", "--detailed-exitcode").done()


def main_path(office: Office, server: PostgresServer) -> None:
    leave(office, server)
    change = office.change("c/role/p0")
    reason = str(change["reason"])
    for words in (
        "keeper gets database scratch",
        "relations",
        "in orders",
        "in crm",
        "1 large object",
        "2 row policies",
    ):
        assert words in reason, reason
    office.apply()
    dropped_whole(office, server)
    # one who comes back is a new one
    office.has(PEOPLE)
    office.apply()
    assert server.sql(IS_THERE) == [(True,)]


def test_everything_a_leaver_had_is_handed_over(office: Office, pg: PostgresServer) -> None:
    main_path(office, pg)


def test_on_every_major(pg_of_major: PostgresServer, estate_of: EstateMaker) -> None:
    main_path(Office(estate_of(pg_of_major), pg_of_major.host), pg_of_major)


def nothing_dropped(office: Office, server: PostgresServer, *words: str) -> None:
    """The drop is held with these words, and an apply touches nothing of theirs."""
    had = [owned_by(server, "p0", name) for name in ("sales", "orders")]
    held = str(office.change("c/role/p0")["held"])
    for word in words:
        assert word in held, held
    office.apply()
    assert server.sql(IS_THERE) == [(False,)]
    assert [owned_by(server, "p0", name) for name in ("sales", "orders")] == had


def test_a_database_that_allows_no_connections(office: Office, pg: PostgresServer) -> None:
    leave(office, pg)
    pg.sql("ALTER DATABASE crm ALLOW_CONNECTIONS false")
    nothing_dropped(office, pg, "crm", "allows no connections")
    # the others go on meanwhile
    office.has(["p2"])
    office.apply()
    assert pg.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'p1'") == [(False,)]
    pg.sql("ALTER DATABASE crm ALLOW_CONNECTIONS true")
    office.apply()
    dropped_whole(office, pg)


def test_a_database_that_does_not_let_us_in(office: Office, pg: PostgresServer) -> None:
    leave(office, pg)
    hba = pg.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"host crm postgres 127.0.0.1/32 reject\n{before}")
    pg.sql("SELECT pg_reload_conf()")
    try:
        nothing_dropped(office, pg, "crm", "pg_hba.conf")
    finally:
        hba.write_text(before)
        pg.sql("SELECT pg_reload_conf()")


def test_an_heir_that_is_missing(office: Office, pg: PostgresServer) -> None:
    leave(office, pg)
    pg.sql("UPDATE pgvillage.ledger SET heir = 'nobody-there' WHERE heir IS NOT NULL")
    nothing_dropped(office, pg, "nobody-there", "does not exist")


def test_no_heir_at_all(office: Office, pg: PostgresServer) -> None:
    office.on_leave = {"drop": "after 30d"}
    leave(office, pg)
    nothing_dropped(office, pg, "name an `heir`", "database scratch")


def test_an_event_trigger_needs_a_superuser(office: Office, pg: PostgresServer) -> None:
    leave(office, pg)
    pg.sql(
        "CREATE FUNCTION public.et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION public.et()",
        "ALTER ROLE p0 SUPERUSER",
        "ALTER EVENT TRIGGER et OWNER TO p0",
        "ALTER ROLE p0 NOSUPERUSER",
        database="orders",
    )
    nothing_dropped(office, pg, "event trigger in orders")


def test_limits_hold_and_an_approval_opens_them(office: Office, pg: PostgresServer) -> None:
    limits = {"drop": {"count": 0, "share": "100%"}, "revoke": {"count": 0, "share": "100%"}}
    office.has(PEOPLE)
    office.apply()
    office.policy = document("Estate", "tests", policy={"correct": "all", "limits": limits})
    office.has(PEOPLE[1:])
    office.apply(EXIT_BLOCKED)
    assert pg.sql(IS_THERE) == [(True,)]
    office.apply(EXIT_DONE, "--approve", office.estate.plan().targets["c"]["digest"][:12])
    assert pg.sql(IS_THERE) == [(False,)]
    pg.sql(LATER)
    office.apply(EXIT_BLOCKED)
    assert pg.sql(IS_THERE) == [(False,)]
    office.apply(EXIT_DONE, "--approve", office.estate.plan().targets["c"]["digest"][:12])
    assert pg.sql(IS_THERE) == []


def test_explain_says_when_and_to_whom(office: Office, pg: PostgresServer) -> None:
    office.has(PEOPLE)
    office.apply()
    pg.sql("CREATE TABLE public.t ()", "ALTER TABLE public.t OWNER TO p0")
    office.has(PEOPLE[1:])
    office.apply()
    said = run_here(office.estate, "explain", "c/role/p0").done().text
    for words in ("disabled since", "dropped from", "keeper gets 1 relation in postgres"):
        assert words in said, said


@pytest.mark.parametrize("point", ['DROP OWNED BY "p0"', 'DROP ROLE "p0"', "SELECT count(pg_catalog.pg_terminate"])
def test_kill_9_on_the_way(office: Office, pg: PostgresServer, point: str) -> None:
    with pg_proxy(pg.port) as proxy:
        office.hosts = [f"127.0.0.1:{proxy.port}"]
        office.estate.settings["credentials"] = {"admin": credential(pg, proxy.port)}
        if point.startswith("DROP"):
            leave(office, pg)
        else:
            office.has(PEOPLE)
            office.apply()
            settle_in(pg)
            office.has(PEOPLE[1:])
        pg.sql("ALTER ROLE p0 PASSWORD 'hers'")
        process = start_warm(office.estate, "apply", "--auto")
        times = []

        def kill(_n: int, text: str, pid: int | None = process.pid) -> object:
            if not text.startswith(point) or pid is None:
                return None
            times.append(text)
            if point.startswith("DROP OWNED") and len(times) < 2:
                return None  # the first database is done, the second is not
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return DROP

        proxy.before = kill
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        proxy.reset()
        if not point.startswith("DROP"):
            assert pg.sql(IS_THERE) == [(False,)]
            assert office.change("c/role/p0")["after"]["sessions"] == "ended"  # type: ignore[index]
        office.apply()
        if not point.startswith("DROP"):
            assert any("pg_terminate" in text for text in proxy.statements)
            pg.sql(LATER)
            office.apply()
        dropped_whole(office, pg)


def test_shut_out_on_the_standby_too(pair: tuple[PostgresServer, PostgresServer], tmp_path: Path) -> None:
    primary, standby = pair
    primary.sql("DROP SCHEMA IF EXISTS pgvillage CASCADE")
    office = Office(new_estate(tmp_path / "e", primary), standby.host, primary.host)
    office.has(PEOPLE)
    office.apply()
    primary.sql("ALTER ROLE p0 PASSWORD 'hers'")
    with primary.connect("postgres", "p0", password="hers") as here, _on(standby) as there:
        office.has(PEOPLE[1:])
        office.apply()
        for session in (here, there):
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
    assert primary.sql("SELECT FROM pg_auth_members WHERE member = 'p0'::regrole") == []
    office.has(PEOPLE)
    office.apply()
    assert primary.sql("SELECT roleid::regrole::text FROM pg_auth_members WHERE member = 'p0'::regrole") == [("team",)]
    assert primary.sql(IS_THERE) == [(True,)], "who comes back in time is let in again"


def _on(standby: PostgresServer) -> psycopg.Connection[object]:
    for _ in range(200):
        with contextlib.suppress(psycopg.OperationalError):
            return standby.connect("postgres", "p0", password="hers")
        standby.sql("SELECT pg_sleep(0.05)")
    raise AssertionError("the standby does not follow")
