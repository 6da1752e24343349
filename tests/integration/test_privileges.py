"""Accounts that may little: what they can do is done, what they can't see or do is said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EstateBuilder, cluster, free_policy, group, user
from tests.servers.postgres import PostgresServer


def as_role(estate: EstateBuilder, server: PostgresServer, role: str, attributes: str) -> None:
    server.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'its-password' {attributes}")
    estate.settings["credentials"]["admin"] |= {"user": role, "password": {"command": ["echo", "its-password"]}}


def documents(server: PostgresServer, **more: Any) -> dict[str, list[dict[str, Any]]]:
    database = {"name": "shop", "owner": "keeper", "schemas": [{"name": "app", "owner": "keeper"}]}
    return {
        "a": [
            free_policy(),
            cluster("c", server.host, databases=[database], **more),
            group("keeper"),
            group("readers", privileges=[{"profile": "reader", "database": "shop", "schemas": ["app"]}]),
            user("app", auth={"method": "scram", "password": {"secret": "app"}}, memberOf=["readers"], comment="it"),
        ]
    }


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    return estate_of(pg, secrets={"app": {"command": ["echo", "apps-password"]}})


def test_createrole_and_createdb_are_enough_for_roles_and_databases(pg: PostgresServer, estate: EstateBuilder) -> None:
    as_role(estate, pg, "steward", "CREATEROLE CREATEDB")
    pg.sql("GRANT CREATE ON DATABASE postgres TO steward")
    estate.documents = documents(pg)
    # it may give what it makes to a role only as that role's member
    estate.documents["a"][2]["spec"]["members"] = {"roles": ["steward"]}
    estate.documents["a"][1]["spec"]["externalRoles"] = ["steward"]
    estate.commit()
    plan = estate.plan().done()
    said = " ".join(d["message"] for d in plan.document["diagnostics"])
    estate.apply().done()
    pg.connect("shop", "app", password="apps-password").close()
    after = estate.plan("--detailed-exitcode").done()
    said += " ".join(d["message"] for d in after.document["diagnostics"])
    assert "pg_authid" in said, "that passwords can't be compared is said"
    pg.sql("ALTER ROLE app CONNECTION LIMIT 3")
    estate.apply().done()
    estate.settled()


def test_what_needs_a_superuser_is_held_and_said(pg: PostgresServer, estate: EstateBuilder) -> None:
    as_role(estate, pg, "steward", "CREATEROLE CREATEDB")
    pg.sql("GRANT CREATE ON DATABASE postgres TO steward")
    estate.documents = {
        "a": [free_policy(), cluster("c", pg.host, postgres={"parameters": {"work_mem": "9MB"}}), group("o")]
    }
    estate.commit()
    change = estate.plan().changes["c/parameter/work_mem"]
    assert "superuser" in change["held"]
    ran = estate.apply()
    assert "Traceback" not in ran.text
    assert pg.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'o'") == [(1,)]


def test_no_room_for_a_ledger_is_said(pg: PostgresServer, estate: EstateBuilder) -> None:
    as_role(estate, pg, "steward", "CREATEROLE CREATEDB")
    estate.documents = {"a": [free_policy(), cluster("c", pg.host), group("o")]}
    estate.commit()
    ran = estate.apply().done()
    assert "no ledger" in ran.text
    estate.settled()


@pytest.mark.parametrize("with_ledger", [False, True])
def test_an_account_that_may_only_log_in(pg: PostgresServer, estate: EstateBuilder, *, with_ledger: bool) -> None:
    estate.documents = documents(pg)
    if with_ledger:
        estate.commit()
        estate.apply().done()
        pg.sql("ALTER ROLE app CONNECTION LIMIT 3")
    as_role(estate, pg, "nobody", "")
    estate.commit()
    plan = estate.plan()
    assert "Traceback" not in plan.text
    assert plan.code in (0, 1, 6), plan.text
    ran = estate.apply()
    assert "Traceback" not in ran.text
    assert ran.code in (1, 6), ran.text
    assert "permission denied" in ran.text or "must be" in ran.text, ran.text
