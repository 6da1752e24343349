"""Merge requests end to end: a real Git server, a real PostgreSQL, forges that speak their API, the real command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import (
    EXIT_BLOCKED,
    EXIT_ERROR,
    EXIT_INVALID,
    EXIT_PARTIAL,
    EXIT_USAGE,
    EstateBuilder,
    Ran,
    cluster,
    document,
    group,
    user,
)
from tests.integration.test_git import serving
from tests.servers.forge import TOKEN, ForgeServer, forge_server
from tests.servers.postgres import PostgresServer

STRICT = {"drop": {"count": 0, "share": "0%"}, "revoke": {"count": 0, "share": "0%"}}
WIDE = {"drop": {"count": 999, "share": "100%"}, "revoke": {"count": 999, "share": "100%"}}


def policy(limits: dict[str, Any], **more: Any) -> dict[str, Any]:
    return document("Estate", "tests", policy={"limits": limits, **more})


@pytest.fixture
def forge(request: pytest.FixtureRequest) -> Iterator[ForgeServer]:
    with forge_server(getattr(request, "param", "gitlab")) as found:
        yield found


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> Iterator[EstateBuilder]:
    """An estate that was applied, and is served by git's own http-backend; then a branch that takes a role away."""
    made = estate_of(pg)
    with serving(None, made.repository.parent) as (url, _):
        made.settings["repository"] = {"url": f"{url}/estate/.git", "branch": "main"}
        made.documents = {"estate": [policy(STRICT)], "c": [cluster("c", pg.host)], "users": [user("etl"), user("web")]}
        made.commit("first")
        made.apply().done()
        made.git("checkout", "-qb", "feature")
        made.documents["users"] = [user("etl", ensure="absent"), user("web", connectionLimit=7)]
        yield made


def rules(ran: Ran) -> list[str]:
    return [gate["rule"] for gate in ran.document["gates"]]


def in_pipeline(estate: EstateBuilder, forge: ForgeServer, **more: str) -> None:
    """What the forge's own pipeline sets, for the head of the branch `feature`."""
    head = estate.git("rev-parse", "feature").strip()
    estate.environment["PGVILLAGE_FORGE_TOKEN"] = TOKEN
    if forge.kind == "gitlab":
        found = {
            "CI_API_V4_URL": forge.url, "CI_PROJECT_ID": "dba/estate", "CI_MERGE_REQUEST_IID": "3",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_COMMIT_SHA": head, "CI_PIPELINE_ID": "11",
            "CI_JOB_URL": "https://git.example/dba/estate/-/jobs/9",
        }  # fmt: skip
    else:
        event = estate.folder / "event.json"
        request = {"number": 3, "head": {"sha": head}, "base": {"ref": "main"}}
        event.write_text(json.dumps({"pull_request": request}))
        found = {
            "GITHUB_API_URL": forge.url, "GITHUB_SERVER_URL": "https://git.example",
            "GITHUB_REPOSITORY": "dba/estate", "GITHUB_EVENT_PATH": str(event), "GITHUB_RUN_ID": "7",
            "GITHUB_RUN_NUMBER": "7",
        }  # fmt: skip
    estate.environment |= {**found, **more}


@pytest.mark.parametrize("forge", ["gitlab", "github", "gitea"], indirect=True)
def test_the_plan_in_one_comment(estate: EstateBuilder, forge: ForgeServer) -> None:
    estate.commit("etl leaves")
    in_pipeline(estate, forge)
    ran = estate.run("plan", "--comment", forge.kind).done(EXIT_BLOCKED)
    (body,) = forge.bodies
    digest = estate.plan("--base", "main", "--revision", "feature").targets["c"]["digest"]
    assert "Blocked by policy" in body
    assert f"pgvillage approve c {digest[:12]}" in body
    assert f"digest <code>{digest[:12]}</code>" in body
    assert "- role etl" in body
    assert "- role etl" in ran.out
    (status,) = forge.statuses
    assert status["state"] == ("failed" if forge.kind == "gitlab" else "failure")
    assert status["description"].startswith("blocked: limit-drop")
    assert status["sha"] == estate.git("rev-parse", "feature").strip()
    assert status["target_url"] in body
    estate.documents["users"] = [user("etl"), user("web", connectionLimit=8)]
    estate.commit("only a limit")
    in_pipeline(estate, forge)
    estate.run("plan", "--comment", forge.kind).done()
    assert len(forge.comments) == 1
    assert "role etl" not in forge.bodies[0]
    assert forge.statuses[-1]["description"] == "1 to update"
    assert TOKEN not in ran.text + str(forge.bodies)


def test_limits_that_are_raised_in_the_same_merge_request_open_nothing(
    estate: EstateBuilder, forge: ForgeServer
) -> None:
    estate.documents["estate"] = [policy(WIDE, correct="all", approve="none")]
    estate.commit("etl leaves, and nobody shall ask")
    in_pipeline(estate, forge)
    alone = estate.plan("--revision", "feature").done()
    assert rules(alone) == [], "by its own policy there is no gate at all"
    ran = estate.run("plan", "--comment", "gitlab").done(EXIT_BLOCKED)
    assert "policy changes take effect after the merge" in ran.out
    assert "policy changes take effect after the merge" in forge.bodies[0]
    assert forge.statuses[0]["description"].startswith("blocked: limit-drop")
    asked = estate.plan("--base", "main", "--revision", "feature").done(EXIT_BLOCKED)
    digest = asked.targets["c"]["digest"]
    estate.plan("--base", "main", "--revision", "feature", "--approve", digest).done()


def test_the_merge_is_planned_and_not_the_branch(estate: EstateBuilder, pg: PostgresServer) -> None:
    estate.documents["users"] = [user("etl"), user("web", connectionLimit=7)]
    estate.commit("a limit")
    estate.git("checkout", "-q", "main")
    estate.documents["users"] = [user("etl"), user("web")]
    estate.documents["more"] = [group("readers")]
    estate.commit("meanwhile a group")
    merged = estate.plan("--base", "main", "--revision", "feature").done()
    assert set(merged.changes) == {"c/role/readers", "c/role/web"}
    again = estate.plan("--base", "main", "--revision", "feature")
    assert again.document["revision"] == merged.document["revision"], "the same merge has the same name"
    assert rules(merged) == [], "what was applied last is in the merge's history"
    digest = merged.targets["c"]["digest"]
    estate.git("merge", "-q", "--no-ff", "-m", "merged", "feature")
    after = estate.plan().done()
    assert after.targets["c"]["digest"] == digest, "the plan of the merge is the plan after the merge"
    estate.run("apply", "--auto", "--approve", digest).done()
    assert pg.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'web'") == [(7,)]


def test_a_conflict_is_an_error_in_words(estate: EstateBuilder) -> None:
    estate.commit("etl leaves")
    estate.git("checkout", "-q", "main")
    estate.documents["users"] = [user("etl", connectionLimit=3), user("web", connectionLimit=9)]
    estate.commit("etl stays")
    ran = estate.plan("--base", "main", "--revision", "feature").done(EXIT_ERROR)
    assert "does not merge into" in ran.err
    assert "conflicts in 'users.yaml'" in ran.err


def test_a_base_that_is_broken_is_the_strictest(estate: EstateBuilder) -> None:
    estate.documents["users"] = [user("etl"), user("web", connectionLimit=7)]
    estate.commit("a limit")
    estate.git("checkout", "-q", "main")
    (estate.repository / "estate.yaml").write_text("kind: Nothing\n")
    estate.git("commit", "-qam", "broken")
    estate.git("checkout", "-q", "feature")
    estate.git("merge", "-q", "--no-ff", "-s", "ours", "-m", "put right", "main")
    ran = estate.plan("--base", "main", "--revision", "feature").done(EXIT_BLOCKED)
    assert rules(ran) == ["approval"]
    assert "everything waits for an approval" in ran.text


@pytest.mark.parametrize(
    ("fault", "words"), [("rights", "may not do this (403)"), ("gone", "no such merge request"), ("token", "(401)")]
)
def test_failing_to_comment_never_hides_the_plan(
    estate: EstateBuilder, forge: ForgeServer, fault: str, words: str
) -> None:
    estate.documents["users"] = [user("etl"), user("web", connectionLimit=7)]
    estate.commit("a limit")
    forge.may_write, forge.gone = fault != "rights", fault == "gone"
    in_pipeline(estate, forge)
    if fault == "token":
        estate.environment["PGVILLAGE_FORGE_TOKEN"] = "planted-other-token"
    ran = estate.run("plan", "--comment", "gitlab").done(EXIT_PARTIAL)
    assert "~ role web" in ran.out
    assert words in ran.err
    assert "the plan above is whole" in ran.err
    assert "planted" not in ran.text


def test_an_old_plan_is_not_left_standing(estate: EstateBuilder, forge: ForgeServer) -> None:
    estate.commit("etl leaves")
    in_pipeline(estate, forge)
    estate.run("plan", "--comment", "gitlab").done(EXIT_BLOCKED)
    estate.documents["users"] = [user("etl", memberOf=["planted ``` @here"]), user("web", conectionLimit=7)]
    estate.commit("broken")
    in_pipeline(estate, forge)
    ran = estate.run("plan", "--comment", "gitlab").done(EXIT_INVALID)
    assert "connectionLimit" in ran.err
    (body,) = forge.bodies
    assert "### No plan for" in body
    assert "connectionLimit" in body
    assert "role etl" not in body
    assert forge.statuses[-1]["state"] == "failed"


def test_what_makes_no_sense(estate: EstateBuilder, forge: ForgeServer) -> None:
    estate.commit("etl leaves")
    ran = estate.run("plan", "--comment", "gitlab").done(EXIT_USAGE)
    assert "CI_MERGE_REQUEST_IID is not set" in ran.err
    in_pipeline(estate, forge)
    estate.run("plan", "--comment", "gitlab", "--out", "/dev/null").done(EXIT_USAGE)
    estate.settings["forge"] = {"kind": "github"}
    estate.commit()
    assert "forge.kind of the settings is github" in estate.run("plan", "--comment", "gitlab").done(EXIT_USAGE).err


def test_approvals_for_every_merged_change(estate: EstateBuilder, pg: PostgresServer) -> None:
    """What is applied is exactly the plan that was approved; drift goes back without one."""
    estate.git("checkout", "-q", "main")
    estate.documents["estate"] = [policy(WIDE, approve="all")]
    estate.documents["users"] = [user("etl"), user("web")]
    estate.commit("approvals")
    estate.apply().done()
    estate.git("checkout", "-qB", "feature")
    estate.documents["users"] = [user("etl"), user("web", connectionLimit=7)]
    estate.commit("a limit")
    proposed = estate.plan("--base", "main", "--revision", "feature").done(EXIT_BLOCKED)
    digest = proposed.targets["c"]["digest"]
    estate.git("checkout", "-q", "main")
    estate.git("merge", "-q", "feature")
    estate.apply().done(EXIT_BLOCKED)
    pg.sql("ALTER ROLE etl CREATEDB")
    estate.run("apply", "--auto", "--approve", digest).done(EXIT_BLOCKED)
    pg.sql("ALTER ROLE etl NOCREATEDB")
    estate.run("apply", "--auto", "--approve", digest).done()
    pg.sql("ALTER ROLE etl CREATEDB")
    estate.apply().done()
    estate.settled()


def test_an_account_that_only_reads_has_the_same_digest(pg: PostgresServer, estate_of: EstateMaker) -> None:
    """CI has no secret and no right to change anything, and what it says is what the daemon will do."""
    pg.sql("CREATE DATABASE shop")
    pg.sql("CREATE SCHEMA app", "CREATE TABLE app.t (id int)", "CREATE TABLE app.u (id int)", database="shop")
    pg.sql(
        "CREATE ROLE reader_of_ci LOGIN PASSWORD 'planted-ci-password'",
        "GRANT pg_read_all_settings TO reader_of_ci",
        "GRANT CONNECT ON DATABASE shop, postgres TO reader_of_ci",
    )
    daemon = estate_of(pg)
    on_app = {"database": "shop", "schemas": ["app"]}
    grants = [{"profile": "reader", **on_app, "future": {"creators": ["postgres"]}}]
    auth = {"method": "scram", "password": {"secret": "app"}}
    databases = [{"name": "shop", "schemas": [{"name": "app", "comment": "x"}, {"name": "more"}]}]
    daemon.documents = {
        "estate": [policy(WIDE)],
        "c": [cluster("c", pg.host, databases=databases, externalRoles=["reader_of_ci"])],
        "roles": [
            user("app", auth=auth, memberOf=["readers"], connectionLimit=5, settings={"statement_timeout": "5min"}),
            user("old"),
            group("readers", privileges=grants),
        ],
    }
    daemon.settings["secrets"] = {"app": {"env": "APP_PASSWORD"}}
    daemon.environment["APP_PASSWORD"] = "planted-app-password"
    daemon.commit()
    lesser = EstateBuilder(daemon.folder / "ci", {})
    lesser.repository = daemon.repository
    lesser.settings = {
        "repository": daemon.settings["repository"],
        "state": str(daemon.folder / "ci-state"),
        "credentials": {"admin": {**daemon.settings["credentials"]["admin"], "user": "reader_of_ci",
                                  "password": {"command": ["echo", "planted-ci-password"]}}},
        "secrets": {"app": {"env": "NOT_IN_CI"}},
    }  # fmt: skip
    lesser.settings_file.write_text(json.dumps(lesser.settings))

    def digests() -> tuple[str, str]:
        of_ci, of_daemon = lesser.plan(), daemon.plan().done()
        assert "planted" not in of_ci.text
        return of_ci.targets["c"]["digest"], of_daemon.targets["c"]["digest"]

    new = digests()
    assert new[0] == new[1], "a cluster that nothing was applied to yet"
    daemon.apply().done()
    pg.sql(
        "GRANT USAGE ON SCHEMA pgvillage TO reader_of_ci",
        "GRANT SELECT ON ALL TABLES IN SCHEMA pgvillage TO reader_of_ci",
    )
    for role in daemon.documents["roles"]:
        if role["metadata"]["name"] == "app":
            role["spec"]["connectionLimit"] = 9
        if role["metadata"]["name"] == "old":
            role["spec"]["ensure"] = "absent"
    daemon.documents["roles"].append(user("fresh"))
    daemon.commit()
    later = digests()
    assert later[0] == later[1], "a cluster with a ledger"
    assert later != new
