"""What a merge request is told, and where: forges that speak their real API, environments of their pipelines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pgvillage.clients.forge.api import ForgeApi
from pgvillage.clients.forge.open import conversation
from pgvillage.core.errors import PgVillageError, SettingsError, UsageError
from pgvillage.core.merge_request import CommitStatus, MergeRequest
from pgvillage.core.plan import Finding, Gate, Status
from pgvillage.report.merge_request import comment_body, marker, plan_status
from pgvillage.resources.postgres.role import RoleState
from pgvillage.settings import Forge
from pgvillage.usecases.ci_place import place_in_ci
from pgvillage.usecases.comment import tell
from tests.servers.forge import TOKEN, ForgeServer, forge_server
from tests.unit.report_plans import HOSTILE, plan, role, target

SHA, HEAD = "a" * 40, "b" * 40
MARK = marker("estate", "a")
GOOD = CommitStatus(True, "pgvillage/plan", "3 to create", "https://git.example/job/1")
KINDS = ["gitlab", "github", "gitea", "forgejo"]


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ForgeServer]:
    with forge_server(request.param) as found:
        yield found


def place(server: ForgeServer, **more: Any) -> MergeRequest:
    return MergeRequest(
        server.kind, server.url, "dba/estate", 3, HEAD, "main", SHA, "https://git.example/job/1", **more
    )


class Slept(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def told(
    server: ForgeServer, body: str = f"{MARK}\nplan", token: str = TOKEN, slept: Slept | None = None, **more: Any
) -> list[str]:
    async def run() -> list[str]:
        forge = Forge.model_validate({"token": {"command": ["echo", token]}})
        async with conversation(forge, place(server, **more)) as talk:
            talk._api.sleep = Slept() if slept is None else slept
            return await tell(talk, MARK, body, GOOD)

    return asyncio.run(run())


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_one_comment_is_made_and_then_edited(server: ForgeServer) -> None:
    server.add("hello", "somebody")
    assert told(server) == []
    assert told(server, f"{MARK}\nanother plan") == []
    assert told(server, f"{MARK}\nanother plan") == []
    assert server.bodies == ["hello", f"{MARK}\nanother plan"]
    assert len(server.of("POST")) == 4, "one comment, three statuses"
    assert len(server.of("PUT" if server.kind == "gitlab" else "PATCH")) == 1, "what is the same is not sent again"


def test_the_requests_field_by_field(server: ForgeServer) -> None:
    assert told(server, pipeline="17") == []
    who, listed, added, status = server.asked
    project = "/projects/dba%2Festate" if server.kind == "gitlab" else "/repos/dba/estate"
    assert who.path.endswith("/user")
    assert added.document == {"body": f"{MARK}\nplan"}
    expected: dict[str, Any] = {"description": "3 to create", "target_url": "https://git.example/job/1",
                                "state": "success"}  # fmt: skip
    if server.kind == "gitlab":
        assert listed.path == added.path == f"/api/v4{project}/merge_requests/3/notes"
        assert listed.query == {"sort": ["asc"], "order_by": ["created_at"], "page": ["1"], "per_page": ["100"]}
        expected |= {"name": "pgvillage/plan", "pipeline_id": 17}
        assert who.headers["private-token"] == TOKEN
    else:
        assert listed.path == added.path
        assert listed.path.endswith(f"{project}/issues/3/comments")
        expected |= {"context": "pgvillage/plan"}
        size = {"github": {"per_page": ["100"]}}.get(server.kind, {"limit": ["50"]})
        assert listed.query == {"page": ["1"], **size}
    if server.kind == "github":
        assert who.headers["authorization"] == f"Bearer {TOKEN}"
        assert who.headers["accept"] == "application/vnd.github+json"
        assert who.headers["x-github-api-version"] == "2022-11-28"
    assert status.path.endswith(f"{project}/statuses/{SHA}")
    assert status.document == expected
    assert {asked.headers["content-type"] for asked in (added, status)} == {"application/json"}


def test_a_failed_plan_fails_the_commit(server: ForgeServer) -> None:
    async def run() -> None:
        forge = Forge.model_validate({"token": {"command": ["echo", TOKEN]}})
        async with conversation(forge, place(server)) as talk:
            await talk.set_status(CommitStatus(False, "pgvillage/plan", "blocked: limit-drop"))

    asyncio.run(run())
    (status,) = server.statuses
    assert status["state"] == ("failed" if server.kind == "gitlab" else "failure")
    assert "target_url" not in status


# --- whose comment ----------------------------------------------------------------------------------------------------


def test_others_comments_are_not_touched(server: ForgeServer) -> None:
    server.add(f"{MARK}\nplanted by a stranger", "stranger")
    server.add(f"text before {MARK}")
    server.add(f"{marker('estate', 'b')}\nof another pipeline")
    server.add(f"{MARK}\nof the system", "system" if server.kind != "gitlab" else None, system=True)
    before = list(server.bodies)
    assert told(server) == []
    assert server.bodies == [*before, f"{MARK}\nplan"]


@pytest.mark.parametrize("ignores_pages", [False, True])
def test_ours_is_found_on_a_later_page(server: ForgeServer, ignores_pages: bool) -> None:
    server.ignores_pages = ignores_pages
    for number in range(230):
        server.add(f"comment {number}", "somebody")
    ours = server.add(f"{MARK}\nold")
    assert told(server) == []
    assert ours["body"] == f"{MARK}\nplan"
    assert len(server.comments) == 231


def test_a_jobs_own_token_that_may_not_ask_its_name(server: ForgeServer) -> None:
    server.knows_account = False
    server.account = {"github": "github-actions[bot]", "forgejo": "forgejo-actions"}.get(server.kind, "gitea-actions")
    ours = server.add(f"{MARK}\nold")
    problems = told(server)
    if server.kind == "gitlab":
        assert "403" in problems[0]
    else:
        assert problems == []
        assert ours["body"] == f"{MARK}\nplan"


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [("gone", "no such merge request"), ("rights", "may not do this (403): it needs"), ("token", "(401)")],
)
def test_what_can_not_be_told_is_said(server: ForgeServer, fault: str, words: str) -> None:
    server.gone, server.may_write = fault == "gone", fault != "rights"
    problems = told(server, token="wrong" if fault == "token" else TOKEN)
    assert [words in problem for problem in problems] == [True, True], problems
    assert server.comments == server.statuses == []
    assert TOKEN not in str(problems)


def test_limits_of_rate_are_waited_for(server: ForgeServer) -> None:
    server.faults = [(429, {"retry-after": "7"}), (403, {"retry-after": "3"}), (429, {})]
    server.faulty = lambda asked: asked.method == "POST"
    slept = Slept()
    assert told(server, slept=slept) == []
    assert slept[:2] == [7, 3]
    assert len(slept) == 3
    assert len(server.comments) == len(server.statuses) == 1


def test_a_long_wait_is_not_waited_for(server: ForgeServer) -> None:
    server.faults = [(429, {"retry-after": "3600"})] * 2
    slept = Slept()
    problems = told(server, slept=slept)
    assert "run the job again later" in problems[0]
    assert slept == []


def test_a_server_that_stumbles(server: ForgeServer) -> None:
    server.faults = [(502, {}), (503, {}), (500, {})]
    server.faulty = lambda asked: asked.method == "GET"
    slept = Slept()
    assert told(server, slept=slept) == []
    assert len(slept) == 3
    assert all(0 < pause <= 4 for pause in slept)


def test_a_comment_is_not_written_twice(server: ForgeServer) -> None:
    """Its server may have written it before it stumbled."""
    server.faults = [(502, {})]
    server.faulty = lambda asked: asked.method == "POST" and "body" in asked.document
    problems = told(server)
    assert len(problems) == 1
    assert "502" in problems[0]
    assert "planted-answer" not in problems[0]
    assert server.comments == []
    assert len(server.statuses) == 1


def test_a_redirect_is_not_followed(server: ForgeServer) -> None:
    server.faults = [(302, {"location": "http://127.0.0.1:1/"})] * 2
    assert "redirects" in told(server)[0]


@pytest.mark.parametrize(
    "url",
    ["http://git.example/api", "ftp://x/", "https://a:b@git.example", "http://127.0.0.1.example/", "https://", "x"],
)
def test_a_token_goes_nowhere_else(url: str) -> None:
    with pytest.raises(SettingsError, match="must be an https://"):
        ForgeApi(url, {}, "")


def test_a_token_with_a_line_end() -> None:
    with pytest.raises(PgVillageError, match="character"), forge_server("gitlab") as server:
        told(server, token="two\nlines")


# --- where ------------------------------------------------------------------------------------------------------------

GITLAB_ENV = {
    "GITLAB_CI": "true",
    "CI_API_V4_URL": "https://git.example/api/v4",
    "CI_PROJECT_ID": "15",
    "CI_MERGE_REQUEST_PROJECT_ID": "15",
    "CI_MERGE_REQUEST_IID": "3",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    "CI_COMMIT_SHA": SHA,
    "CI_PIPELINE_ID": "1001",
    "CI_JOB_URL": "https://git.example/dba/estate/-/jobs/9",
}
GITHUB_ENV = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_API_URL": "https://api.github.com",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "dba/estate",
    "GITHUB_RUN_ID": "77",
    "GITHUB_RUN_NUMBER": "5",
    "GITHUB_SHA": SHA,
}
EVENT = {
    "action": "synchronize",
    "number": 3,
    "pull_request": {"number": 3, "head": {"sha": HEAD, "ref": "feature"}, "base": {"ref": "main", "sha": SHA}},
}


def test_a_merge_request_pipeline_of_gitlab() -> None:
    found = place_in_ci(Forge(), "gitlab", GITLAB_ENV, {})
    job = "https://git.example/dba/estate/-/jobs/9"
    assert found == MergeRequest(
        "gitlab", "https://git.example/api/v4", "15", 3, SHA, "main", SHA, job, "1001"
    )  # fmt: skip


def test_a_pipeline_for_merged_results() -> None:
    found = place_in_ci(Forge(), "gitlab", {**GITLAB_ENV, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": HEAD}, {})
    assert (found.head, found.sha) == (HEAD, SHA)


def test_a_pull_request_of_github() -> None:
    found = place_in_ci(Forge(), "github", GITHUB_ENV, EVENT)
    assert found == MergeRequest(
        "github", "https://api.github.com", "dba/estate", 3, HEAD, "main", HEAD,
        "https://github.com/dba/estate/actions/runs/77",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["gitea", "forgejo"])
def test_a_pull_request_of_gitea(kind: str) -> None:
    env = {**GITHUB_ENV, "GITHUB_SERVER_URL": "https://git.example", "GITHUB_API_URL": "https://git.example/api/v1"}
    found = place_in_ci(Forge(), kind, env, EVENT)
    assert (found.api, found.job) == ("https://git.example/api/v1", "https://git.example/dba/estate/actions/runs/5")
    del env["GITHUB_API_URL"]
    assert place_in_ci(Forge(), kind, env, EVENT).api == "https://git.example/api/v1"


@pytest.mark.parametrize(
    ("kind", "env", "event", "words"),
    [
        ("gitlab", {"CI_MERGE_REQUEST_IID": ""}, {}, "CI_MERGE_REQUEST_IID is not set: run the job in merge request"),
        ("gitlab", {"CI_MERGE_REQUEST_IID": "3/../4"}, {}, "expected the number"),
        ("gitlab", {"CI_COMMIT_SHA": "main"}, {}, "full hash"),
        ("gitlab", {"CI_API_V4_URL": ""}, {}, "CI_API_V4_URL is not set"),
        ("github", {}, {}, "run the job `on: pull_request`"),
        ("github", {"GITHUB_REPOSITORY": "a/b?c"}, EVENT, "OWNER/NAME"),
        ("github", {}, {"pull_request": {"number": 3}}, "head.sha"),
        ("github", {}, {"pull_request": {"number": True, "head": {"sha": HEAD}, "base": {"ref": "m"}}}, "number"),
    ],
)
def test_an_environment_that_is_none(kind: str, env: dict[str, str], event: dict[str, Any], words: str) -> None:
    base = GITLAB_ENV if kind == "gitlab" else GITHUB_ENV
    with pytest.raises(UsageError, match=re.escape(words)):
        place_in_ci(Forge(), kind, {**base, **env}, event)


def test_a_pipeline_can_not_send_the_settings_token_elsewhere() -> None:
    forge = Forge(url="https://git.example/api/v4", project="dba/estate")
    assert place_in_ci(forge, "gitlab", GITLAB_ENV, {}).project == "dba/estate"
    with pytest.raises(UsageError, match="settings says another"):
        place_in_ci(forge, "gitlab", {**GITLAB_ENV, "CI_API_V4_URL": "https://evil.example/api/v4"}, {})


# --- the text ---------------------------------------------------------------------------------------------------------

MADE = RoleState(login=True)


def _plan(count: int, names: int = 1) -> Any:
    return plan(
        *(target(*(role(f"r{n}", None, MADE, cluster=f"c{at}") for n in range(names)), cluster=f"c{at}")
          for at in range(count))
    )  # fmt: skip


def test_the_comment_is_cut_at_whole_targets() -> None:
    whole = _plan(40, 20)
    text = comment_body(whole, MARK, (HEAD, "main"), "https://git.example/job/1", 12_000)
    assert len(text) <= 12_000
    assert text.startswith(MARK)
    shown = text.count("<details><summary><code>c")
    assert f"{40 - shown} more targets, see the job's log." in text
    assert 1 < shown < 40
    assert text.count("+ role r") == 20 * shown, "no target is shown in part"
    assert text.count(", digest <code>") == shown
    assert text.count("```") % 2 == 0
    assert "40 clusters" in text


@pytest.mark.parametrize("limit", [1_300, 5_000, 65_536, 1_000_000])
def test_the_comment_keeps_to_every_limit(limit: int) -> None:
    hostile = plan(*(target(role(name, None, MADE), cluster="c") for name in HOSTILE * 30))
    text = comment_body(hostile, MARK, (HEAD, "main"), "https://git.example/job/1?(x)<y>", limit)
    assert len(text) <= limit


def test_nothing_in_names_pings_or_breaks_out() -> None:
    hostile = plan(*(target(role(name, None, MADE), cluster="c", error=name) for name in HOSTILE))
    text = comment_body(hostile, MARK, (HEAD, "main\n@all"), "https://git.example/(job)", 100_000)
    bare = re.sub(r"(`{3,})[^`\n]*\n.*?\n\1\n", "", text, flags=re.DOTALL)
    bare = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", bare)
    assert "@" not in bare
    assert "#42" not in bare
    assert "<script>" not in bare
    assert bare.count("<!--") == 2
    assert set(re.findall(r"</?[a-z]+>", bare)) <= {
        "<details>",
        "</details>",
        "<summary>",
        "</summary>",
        "<code>",
        "</code>",
    }


@pytest.mark.parametrize(
    ("made", "good", "words"),
    [
        (_plan(1, 3), True, "3 to create"),
        (plan(target()), True, "nothing to do"),
        (
            plan(target(role("a", MADE, None), gates=(Gate("limit-drop", "x"),))),
            False,
            "blocked: limit-drop; 1 to delete",
        ),
        (plan(target(role("a", MADE, None), gates=(Gate("limit-drop", "x", open=True),))), True, "1 to delete"),
        (plan(target(status=Status.UNREACHABLE), target()), False, "1 target without a plan; nothing to do"),
        (plan(target(), findings=(Finding("error", "x"),)), False, "1 error; nothing to do"),
    ],
)
def test_the_status(made: Any, good: bool, words: str) -> None:
    found = plan_status(made, "pgvillage/plan", "https://x")
    assert (found.good, found.description) == (good, words)
    assert len(found.description) <= 140


def test_markers_differ_and_hide_names() -> None:
    found = {marker("a", "b"), marker("ab", ""), marker("", "a", "b"), marker("a", "c")}
    assert len(found) == 4
    assert all(re.fullmatch(r"<!-- pgvillage:merge-request:[0-9a-f]{20} -->", each) for each in found)
