"""What only a look at a target or a directory shows to be mistyped: nothing is done there, innocent or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_BLOCKED, EXIT_DONE, EXIT_PARTIAL, cluster, free_policy, group, user
from tests.integration.warm_command import run_here
from tests.servers.postgres import PostgresServer
from tests.servers.slapd import SUFFIX, folders, group_dn, person, person_dn, record, slapd

GRANT = {"database": "shop", "schemas": ["public"]}
MISTAKES = {
    "schema": ({**GRANT, "schemas": ["pubic"], "grant": {"schema": ["USAGE"]}}, "did you mean public?"),
    "column": (
        {**GRANT, "grant": {"table": ["SELECT"]}, "tables": ["customers"], "columns": ["nmae"]},
        "did you mean name?",
    ),
    "function": (
        {**GRANT, "grant": {"function": ["EXECUTE"]}, "functions": ["refund(bigint)"]},
        "did you mean refund(integer)?",
    ),
    "parameter": ({"grant": {"parameter": ["SET"]}, "parameters": ["work_men"]}, "did you mean work_mem?"),
}


@pytest.fixture
def shop(pg: PostgresServer) -> PostgresServer:
    pg.sql("CREATE DATABASE shop")
    pg.sql(
        "CREATE TABLE public.customers (name text)",
        "CREATE FUNCTION public.refund(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        database="shop",
    )
    return pg


def roles(server: PostgresServer) -> list[tuple[Any, ...]]:
    return server.sql("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'")


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistyped_name_stops_the_whole_target(shop: PostgresServer, estate_of: EstateMaker, what: str) -> None:
    grant, words = MISTAKES[what]
    estate = estate_of(shop)
    one = cluster("c", shop.host, databases=[{"name": "shop"}])
    estate.documents = {"a": [free_policy(), one, user("innocent"), user("ann", privileges=[grant])]}
    estate.commit()
    ran = run_here(estate, "plan").done(EXIT_BLOCKED)
    assert "blocked by manifest: a.yaml:" in ran.text
    assert ran.text.count(words) == 1, ran.text
    document = run_here(estate, "plan", "-o", "json").done(EXIT_BLOCKED).document
    gate = document["gates"][0]
    assert (gate["rule"], gate["approvable"], document["applyable"]) == ("manifest", False, False)
    digest = document["targets"][0]["digest"]
    ran = run_here(estate, "apply", "--auto", "--approve", digest).done(EXIT_BLOCKED)
    assert words in ran.text
    assert roles(shop) == []


TEAM = {"directory": "corp", "group": group_dn("team")}
ATTRIBUTES = {
    "template": ({**TEAM, "role": "{uidd}"}, "knows no attribute uidd; did you mean uid?"),
    "filter": ({**TEAM, "role": "{uid}", "filter": "(mial=*)"}, "knows no attribute mial; did you mean mail?"),
}


@pytest.mark.parametrize("what", ATTRIBUTES)
def test_a_mistyped_attribute(shop: PostgresServer, estate_of: EstateMaker, tmp_path: Path, what: str) -> None:
    members, words = ATTRIBUTES[what]
    team = {"objectClass": "groupOfMembers", "cn": "team", "member": [person_dn("p0")]}
    text = folders("people", "groups") + person("p0", uid="p0") + record(group_dn("team"), team)
    estate = estate_of(shop)
    with slapd(tmp_path / "ldap", text) as server:
        estate.settings["directories"] = {"corp": {"uris": [server.uri], "base": SUFFIX, "startTls": False}}
        documents = [free_policy(), cluster("c", shop.host), user("innocent"), group("team", members=members)]
        estate.documents = {"a": documents}
        estate.commit()
        ran = run_here(estate, "apply", "--auto").done(EXIT_BLOCKED)
        assert words in ran.text, ran.text
        assert roles(shop) == []
    # a directory that is down is nobody's mistake: the rest is done
    ran = run_here(estate, "apply", "--auto").done(EXIT_PARTIAL)
    assert ("innocent",) in roles(shop)


def test_what_was_passed_on_holds_the_revoke(shop: PostgresServer, estate_of: EstateMaker) -> None:
    shop.sql("CREATE ROLE app", "CREATE ROLE mallory")
    shop.sql(
        "GRANT SELECT ON public.customers TO app WITH GRANT OPTION",
        "SET ROLE app",
        "GRANT SELECT ON public.customers TO mallory",
        database="shop",
    )
    estate = estate_of(shop)
    one = cluster("c", shop.host, databases=[{"name": "shop"}])
    estate.documents = {"a": [free_policy(), one, user("app"), user("innocent")]}
    estate.commit()
    change = run_here(estate, "plan", "-o", "json").changes["c/privilege/table.shop.public.app"]
    assert change["held"].startswith("mallory got SELECT on customers from app")
    run_here(estate, "apply", "--auto").done(EXIT_DONE)
    assert ("innocent",) in roles(shop)
    acl = "SELECT relacl::text FROM pg_class WHERE relname = 'customers'"
    assert "mallory=r/app" in shop.sql(acl, database="shop")[0][0]
    estate.documents["a"].append(user("mallory"))
    estate.commit()
    run_here(estate, "apply", "--auto").done()
    assert "app" not in shop.sql(acl, database="shop")[0][0]
    estate.settled()


def test_members_that_a_member_made(pg_of_major: PostgresServer, estate_of: EstateMaker) -> None:
    """From 16 on a membership hangs on its grantor's: who stays a member is one by our own grant first."""
    pg = pg_of_major
    pg.sql("CREATE ROLE team", "CREATE ROLE ann", "CREATE ROLE bob", "GRANT team TO ann WITH ADMIN OPTION")
    pg.sql("SET SESSION AUTHORIZATION ann", "GRANT team TO bob")
    members = "SELECT member::regrole::text FROM pg_auth_members WHERE roleid = 'team'::regrole ORDER BY 1"
    estate = estate_of(pg)
    estate.documents = {"a": [free_policy(), cluster("c", pg.host), user("ann"), user("innocent")]}
    estate.commit()
    run_here(estate, "apply", "--auto").done()
    assert pg.sql(members) == [("bob",)]
    estate.settled()
    estate.documents["a"].append(user("bob"))
    estate.commit()
    run_here(estate, "apply", "--auto").done()
    assert pg.sql(members) == []
    estate.settled()
