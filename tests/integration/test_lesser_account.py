"""Without superuser, as on managed services: what it may do is done, the rest is held with words, and nothing loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, EstateBuilder, cluster, free_policy, group, user
from tests.integration.test_objects import major
from tests.servers.postgres import PostgresServer, of_major, postgres_server

PASSWORD = "planted-steward"


@pytest.fixture(scope="module", params=(15, 16, 18), ids=lambda number: f"pg{number}")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp(f"lesser{request.param}"), of_major(request.param)) as found:
        yield found


@pytest.fixture
def managed(server: PostgresServer) -> PostgresServer:
    """What a service's own superuser leaves to its customer."""
    modern = major(server) >= 16
    options = " WITH INHERIT TRUE, SET TRUE, ADMIN TRUE" if modern else ""
    server.sql(
        f"CREATE ROLE steward LOGIN CREATEROLE CREATEDB PASSWORD '{PASSWORD}'",
        "CREATE ROLE shop_owner",
        "CREATE ROLE elsewhere",
        "CREATE ROLE theirs CREATEDB",
        "CREATE ROLE boss SUPERUSER",
        "CREATE ROLE guest",
        "CREATE ROLE lent",
        f"GRANT shop_owner TO steward{options}",
        f"GRANT lent TO steward WITH {'ADMIN TRUE' if modern else 'ADMIN OPTION'}",
        "GRANT lent TO guest",
        "CREATE DATABASE shop OWNER shop_owner",
        "CREATE DATABASE closed OWNER elsewhere",
        "CREATE DATABASE shut",
        "CREATE ROLE leaver",
        "REVOKE ALL ON DATABASE shut, postgres FROM PUBLIC",
        "GRANT CONNECT ON DATABASE postgres TO steward",
    )
    server.sql(
        "CREATE SCHEMA app AUTHORIZATION shop_owner",
        "CREATE TABLE app.t (id int)",
        "ALTER TABLE app.t OWNER TO shop_owner",
        "CREATE TABLE app.foreign_to_us (id int)",
        "CREATE SCHEMA far",
        "CREATE TABLE far.t (id int)",
        database="shop",
    )
    return server


@dataclass(frozen=True)
class Held:
    """An address, words that say why it is held; `since` and `until` are majors."""

    address: str
    words: str
    since: int = 15
    until: int = 99


HELD = [
    Held("role/mighty", "only a superuser may give or take SUPERUSER"),
    Held("role/copier", "only a superuser may give or take REPLICATION", until=16),
    Held("role/copier", "only who has it may give or take REPLICATION", since=16),
    Held("role/theirs", "needs ADMIN OPTION on role theirs: GRANT theirs TO steward WITH ADMIN OPTION", since=16),
    Held("role/leaver", "GRANT leaver TO steward"),
    Held("role/boss", "only a superuser may do that"),
    Held("membership/boss.reader", "only a superuser may do that"),
    Held("membership/theirs.reader", "needs ADMIN OPTION on role theirs", since=16),
    Held("membership/pg_read_all_data.reader", "needs ADMIN OPTION on role pg_read_all_data", since=16),
    Held("membership/lent.guest", "was granted by postgres", since=16),
    Held("database/closed", "it belongs to elsewhere"),
    Held("database/new_theirs", "role elsewhere"),
    Held("schema/shop.far", "it belongs to postgres"),
    Held("extension/shop.file_fdw", "only a superuser may create this extension"),
    Held("parameter/work_mem", "ALTER SYSTEM needs a superuser"),
    Held("event-trigger/shop.guard", "need a superuser"),
    Held("tablespace/fast", "only a superuser may create a tablespace"),
    Held("slot/standby", "REPLICATION"),
    Held("subscription/shop.inbound", "may create a subscription"),
    Held("publication/shop.whole", "only a superuser may publish"),
    Held("privilege/table.shop.far.reader", "belongs to postgres"),
    Held("default-privilege/table.shop.app.elsewhere.reader", "GRANT elsewhere TO steward"),
    Held("setting/role.reader", "only a superuser may set log_statement"),
]
DONE = [
    "role/reader", "role/writer", "membership/writer.reader", "database/mine", "schema/shop.app", "schema/shop.extra",
    "schema/mine.inside", "extension/shop.citext", "privilege/database.shop.reader", "privilege/schema.shop.app.reader",
    "privilege/column.shop.app.reader", "publication/shop.out", "privilege/schema.shop.public.reader",
    "default-privilege/table.shop.app.shop_owner.reader", "policy/shop.app.t.own", "row-security/shop.app.t",
    "setting/database.shop", "setting/role.writer",
]  # fmt: skip


def documents(host: str) -> dict[str, list[dict[str, Any]]]:
    shop: dict[str, Any] = {
        "name": "shop", "owner": "shop_owner", "settings": {"default_statistics_target": 200},
        "schemas": [{"name": "app", "comment": "its tables"}, {"name": "extra", "owner": "shop_owner"},
                    {"name": "far", "comment": "not ours"}],
        "extensions": ["citext", "file_fdw"],
        "publications": [{"name": "out", "tables": ["app.t"]}, {"name": "whole", "allTables": True}],
        "subscriptions": [{"name": "inbound", "connection": {"host": "h", "database": "d", "user": "u"},
                           "publications": ["p"]}],
        "eventTriggers": [{"name": "guard", "event": "sql_drop", "function": "app.f"}],
        "rowSecurity": [{"table": "app.t", "policies": [{"name": "own", "using": "id > 0"}]}],
    }  # fmt: skip
    databases = [
        shop,
        {"name": "mine", "owner": "shop_owner", "schemas": [{"name": "inside", "owner": "shop_owner"}]},
        {"name": "closed", "comment": "not ours"},
        {"name": "new_theirs", "owner": "elsewhere"},
    ]
    more = {
        "postgres": {"parameters": {"work_mem": "8MB"}},
        "tablespaces": [{"name": "fast", "location": "/srv/fast"}],
        "replicationSlots": [{"name": "standby"}],
        "externalRoles": ["elsewhere", "shop_owner"],
    }
    on_app = {"database": "shop", "schemas": ["app"]}
    grants = [
        {"grant": {"database": ["CONNECT"], "schema": ["USAGE"]}, **on_app},
        {"grant": {"table": ["SELECT"]}, **on_app, "tables": ["t"], "columns": ["id"]},
        {"grant": {"schema": ["USAGE"]}, "database": "shop", "schemas": ["public"]},
        {"grant": {"table": ["SELECT"]}, "database": "shop", "schemas": ["far"], "tables": ["t"]},
        {
            "grant": {"table": ["SELECT"]},
            **on_app,
            "tables": [],
            "future": {"creators": ["shop_owner", "elsewhere"]},
        },
    ]
    roles = [
        group("reader", privileges=grants, memberOf=["writer", "boss", "theirs", "pg_read_all_data"],
              settings={"log_statement": "all"}),
        group("writer", settings={"statement_timeout": "5min"}, members={"roles": ["reader"]}),
        group("mighty", superuser=True),
        group("copier", replication=True),
        group("theirs", comment="hello"),
        group("boss", superuser=True, comment="hello"),
        group("lent", members={"roles": []}),
        user("guest", login=False),
        user("leaver", ensure="absent"),
    ]  # fmt: skip
    return {"a": [free_policy(), cluster("c", host, databases=databases, **more)], "roles": roles}


def as_steward(estate: EstateBuilder) -> None:
    admin = estate.settings["credentials"]["admin"]
    estate.settings["credentials"]["admin"] = {**admin, "user": "steward", "password": {"command": ["echo", PASSWORD]}}


def test_what_it_may_do_is_done_and_the_rest_is_held(managed: PostgresServer, estate_of: EstateMaker) -> None:
    version = major(managed)
    estate = estate_of(managed)
    as_steward(estate)
    estate.documents = documents(managed.host)
    estate.commit()
    plan = estate.plan().done()
    expected = [held for held in HELD if held.since <= version < held.until]
    wrong = [(h, plan.changes.get(f"c/{h.address}", {}).get("held")) for h in expected]
    assert [each for each in wrong if each[0].words not in (each[1] or "")] == []
    held = {f"c/{h.address}" for h in expected}
    assert {a: c["held"] for a, c in plan.changes.items() if a not in held and c["held"]} == {}
    assert [address for address in DONE if f"c/{address}" not in plan.changes] == []
    assert plan.text.count("no ledger, as the account") == 1, "the maintenance database is not ours to write in"
    ran = estate.apply()
    assert "Traceback" not in ran.text
    assert "still different" not in ran.text
    after = estate.plan().done()
    assert set(after.changes) == held, "what could be done is done, and nothing comes back"
    assert all(change["held"] for change in after.changes.values())
    estate.apply().done()
    estate.plan("--detailed-exitcode").done(EXIT_CHANGES)


def test_memberships_that_others_granted(server: PostgresServer, estate_of: EstateMaker) -> None:
    """As a superuser: each row is taken back in its grantor's name, what depends on it stays where it is declared."""
    if major(server) < 16:
        return  # a membership has no grantor that matters there
    server.sql("CREATE ROLE team", "CREATE ROLE lead", "CREATE ROLE other", "CREATE ROLE kept", "CREATE ROLE stray")
    server.sql("GRANT team TO lead, other WITH ADMIN OPTION", "SET ROLE lead", "GRANT team TO kept, stray")
    server.sql("SET ROLE other", "GRANT team TO kept WITH ADMIN OPTION")
    estate = estate_of(server)
    roles = [group("lead"), group("other"), group("kept", memberOf=["team"]), group("stray")]
    estate.documents = {"a": [free_policy(), cluster("c", server.host), group("team", members={"roles": []}), *roles]}
    estate.commit()
    estate.apply().done()
    estate.settled()
    found = server.sql(
        "SELECT member::regrole::text, grantor::regrole::text, admin_option FROM pg_auth_members"
        " WHERE roleid = 'team'::regrole"
    )
    assert found == [("kept", "postgres", False)]
