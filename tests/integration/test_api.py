"""The JSON API: its document, its answers, its tokens, its limits, and what an outsider tries."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import uvicorn
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pgvillage.clients.state.state import State
from pgvillage.core.errors import SecretError, SettingsError
from pgvillage.core.history import DriftRecord, Event, PlanRecord, RunRecord
from pgvillage.core.status import Health, Ready, Sync, TargetStatus
from pgvillage.daemon.actions import Actions
from pgvillage.daemon.api import About, Loop, api_routes
from pgvillage.daemon.api_auth import Auth, Refused
from pgvillage.daemon.api_openapi import openapi
from pgvillage.report.json import plan_document
from pgvillage.settings import Settings
from tests.servers import wait_until
from tests.servers.postgres import PostgresServer
from tests.unit.report_plans import drifted, plan, target

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DIGEST, OTHER = "a" * 64, "b" * 64
TOKENS = {
    "all": (["read", "reconcile", "approve", "suspend", "audit"], None),
    "reader": (["read"], None),
    "shop": (["read", "approve"], {"team": "shop"}),
}
HOSTILE = "a:stolon'\"<script>@here{}%s"


def secret(name: str) -> str:
    return f"planted-token-of-{name}-0123456789"


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret(name)}"}


def settings_with(monkeypatch: pytest.MonkeyPatch, **api: Any) -> Settings:
    tokens = []
    for name, (scopes, labels) in TOKENS.items():
        monkeypatch.setenv(f"TOKEN_{name.upper()}", secret(name))
        token: dict[str, Any] = {"name": name, "secret": {"env": f"TOKEN_{name.upper()}"}, "scopes": scopes}
        tokens.append(token | ({"targets": {"labels": labels}} if labels else {}))
    return Settings.model_validate({"repository": {"url": "/estate"}, "api": {"tokens": tokens, **api}})


class Api:
    """The routes over a filled state, and what they woke."""

    def __init__(self, state: State, settings: Settings) -> None:
        self.state = state
        self.woken: list[str] = []
        self.clock = 0.0
        auth = Auth.of(settings)
        auth = Auth(auth.tokens, auth.anonymous, auth.hosts | {"testserver"}, lambda: self.clock)
        about = About("replica-1", NOW, lambda: [Loop("estate", moves=True)], now=lambda: NOW)
        actions = Actions(state, lambda: NOW, self.woken.append)
        self.app = Starlette(routes=[*api_routes(state, actions, auth, about)])
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def get(self, path: str, token: str | None = "all", **more: Any) -> Any:
        headers = {**(bearer(token) if token else {}), **more.pop("headers", {})}
        return self.client.get(f"/api/v1{path}", headers=headers, **more)

    def post(self, path: str, body: Any = None, token: str | None = "all") -> Any:
        return self.client.post(f"/api/v1{path}", headers=bearer(token) if token else {}, json=body or {})


def fill(state: State) -> None:
    document = plan_document(plan(target(drifted("etl"))))
    state.statuses.put(
        TargetStatus("shop", {"team": "shop", "env": "prod"}, Ready.STALLED, Sync.DRIFTED, Health.HEALTHY,
                     ("a gate",), NOW, NOW + timedelta(minutes=15), "r" * 40, DIGEST, 2, 1, 0, 1,
                     NOW - timedelta(hours=1), ("drop",)),
        TargetStatus("old", {"team": "crm"}, Ready.READY, Sync.SYNCED, Health.UNKNOWN, (), NOW, NOW),
        TargetStatus(HOSTILE, {"team": "crm"}, Ready.READY, Sync.SYNCED, Health.HEALTHY, (), NOW,
                     NOW + timedelta(minutes=1)),
    )  # fmt: skip
    state.history.put_plan(PlanRecord("shop", DIGEST, "r" * 40, NOW - timedelta(hours=2), document, "first"))
    state.history.put_plan(PlanRecord("shop", OTHER, "r" * 40, NOW - timedelta(hours=1), document, "second"))
    state.history.put_plan(PlanRecord("old", DIGEST, "r" * 40, NOW, document))
    for number in range(3):
        began = NOW + timedelta(seconds=number)
        state.history.begin_run(RunRecord(f"run{number}", "shop", DIGEST, "r", began, "replica-1"))
    change = document["targets"][0]["changes"][0]
    state.history.seen_drifts("shop", [DriftRecord("shop", "shop/role/etl", "f", NOW, NOW, "low", change)], NOW)
    for number in range(5):
        state.events.add(Event(NOW, "shop" if number % 2 else "old", "DriftFound", f"<b>{number}</b>"))


@pytest.fixture(params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    if request.param == "sqlite":
        state = State.in_file(tmp_path / "state.db")
    else:
        server: PostgresServer = request.getfixturevalue("pg")
        server.sql("CREATE DATABASE state")
        state = State.in_postgres(f"postgresql://postgres:{server.password}@127.0.0.1:{server.port}/state")
    fill(state)
    yield Api(state, settings_with(monkeypatch))
    state.close()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """On SQLite alone: where the database makes no difference."""
    state = State.in_file(tmp_path / "state.db")
    fill(state)
    yield Api(state, settings_with(monkeypatch))
    state.close()


def valid(answer: Any, path: str, method: str = "get") -> Any:
    """The answer's document, checked against what the OpenAPI document says of this path and status."""
    found = openapi()
    said = found["paths"][path][method]["responses"][str(answer.status_code)]
    if "$ref" in said:
        said = found["components"]["responses"][said["$ref"].rsplit("/", 1)[1]]
    kind = answer.headers["content-type"].partition(";")[0]
    schema = {**said["content"][kind]["schema"]}
    schema["$ref"] = "urn:openapi" + schema["$ref"]
    resource = Resource.from_contents({"$id": "urn:openapi", **found}, default_specification=DRAFT202012)
    registry: Any = Registry().with_resource("urn:openapi", resource).crawl()
    checker = jsonschema.Draft202012Validator(
        schema, registry=registry, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    checker.validate(answer.json())
    return answer.json()


def test_the_document_is_openapi() -> None:
    found = openapi()
    assert re.fullmatch(r"3\.1\.\d+", found["openapi"])
    names = [operation["operationId"] for path in found["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) == 16
    for name, schema in found["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert name.startswith("Plan") or "enum" in schema or schema["additionalProperties"] is False
    text = json.dumps({**found, "components": {**found["components"], "schemas": {}}})
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', text):
        node = found
        for step in reference.split("/"):
            node = node[step]
    for path, operations in found["paths"].items():
        for operation in operations.values():
            inside = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert inside == set(re.findall(r"{(\w+)}", path))
            assert "200" in operation["responses"]


def test_every_answer_is_what_the_document_says(api: Api) -> None:
    targets = valid(api.get("/targets"), "/targets")["targets"]
    assert [each["name"] for each in targets] == sorted(["shop", "old", HOSTILE])
    by_name = {each["name"]: each for each in targets}
    assert (by_name["shop"]["sync"], by_name["shop"]["fresh"]) == ("Drifted", True)
    assert (by_name["old"]["sync"], by_name["old"]["fresh"]) == ("Unknown", False)
    assert valid(api.get("/targets/shop"), "/targets/{name}") == by_name["shop"]
    plan = valid(api.get("/targets/shop/plan"), "/targets/{name}/plan")
    assert (plan["digest"], plan["current"], plan["subject"]) == (DIGEST, True, "first")
    plan = valid(api.get("/targets/shop/plan?digest=bbbb"), "/targets/{name}/plan")
    assert (plan["digest"], plan["current"]) == (OTHER, False)
    assert len(valid(api.get("/plans"), "/plans")["plans"]) == 3
    assert [each["id"] for each in valid(api.get("/runs"), "/runs")["runs"]] == ["run2", "run1", "run0"]
    assert valid(api.get("/runs/run1"), "/runs/{name}")["outcome"] == ""
    assert valid(api.get("/drifts?ended=true"), "/drifts")["drifts"][0]["address"] == "shop/role/etl"
    events = valid(api.get("/events?after=0"), "/events")
    assert ([each["id"] for each in events["events"]], events["last"]) == ([1, 2, 3, 4, 5], 5)
    status = valid(api.get("/status"), "/status")
    assert status["database"]["kind"] == api.state.engine.dialect.name
    assert api.get("/openapi.json").json() == openapi()
    for path, pattern, code in (
        ("/targets/none", "/targets/{name}", 404),
        ("/targets/none/plan", "/targets/{name}/plan", 404),
        ("/targets/shop/plan?digest=ffff", "/targets/{name}/plan", 404),
        ("/runs/none", "/runs/{name}", 404),
        ("/targets/a%00b", "/targets/{name}", 404),
        ("/plans?cursor=bm9uZQ", "/plans", 400),
        ("/plans?limit=0", "/plans", 400),
        ("/plans?target=a%00", "/plans", 400),
        ("/events?after=99999999999999999999", "/events", 400),
        ("/plans?limti=1", "/plans", 400),
        ("/plans?label=x", "/plans", 400),
        ("/drifts?ended=yes", "/drifts", 400),
    ):
        answer = api.get(path)
        assert answer.status_code == code, path
        valid(answer, pattern)


def test_actions_act_and_are_noted(api: Api) -> None:
    asked = valid(api.post("/targets/shop/reconcile"), "/targets/{name}/reconcile", "post")
    assert asked == {"target": "shop", "verb": "reconcile"}
    valid(api.post("/targets/shop/suspend", {"reason": "work", "until": "2030-01-01T00:00:00Z"}),
          "/targets/{name}/suspend", "post")  # fmt: skip
    assert api.get("/targets/shop").json()["suspension"]["by"] == "token:all"
    valid(api.post("/targets/shop/resume"), "/targets/{name}/resume", "post")
    assert api.get("/targets/shop").json()["suspension"] is None
    wrong = api.post("/targets/shop/approve", {"digest": OTHER})
    assert (wrong.status_code, valid(wrong, "/targets/{name}/approve", "post")["title"]) == (409, "Conflict")
    found = valid(api.post("/targets/shop/approve", {"digest": DIGEST, "comment": "seen"}), "/targets/{name}/approve",
                  "post")  # fmt: skip
    assert (found["by"], found["comment"]) == ("token:all", "seen")
    assert [each.digest for each in api.state.decisions.approvals("shop", NOW)] == [DIGEST]
    audit = valid(api.get("/audit"), "/audit")["audit"]
    assert [each["action"] for each in audit] == ["approve", "resume", "suspend", "reconcile"]
    assert {each["address"] for each in audit} == {"testclient"}
    assert api.woken == ["shop"] * 4
    assert api.post(f"/targets/{HOSTILE.replace('%', '%25')}/reconcile").json()["target"] == HOSTILE
    for verb, body in (
        ("suspend", {}), ("suspend", {"reason": ""}), ("suspend", {"reason": "x", "until": "2020-01-01T00:00:00Z"}),
        ("suspend", {"reason": "x", "until": "2030-01-01T00:00:00"}), ("suspend", {"reason": "x", "more": 1}),
        ("approve", {"digest": "short"}), ("reconcile", {"x": 1}), ("reconcile", [1]),
    ):  # fmt: skip
        answer = api.post(f"/targets/shop/{verb}", body)
        assert answer.status_code == 400, (verb, body)
        valid(answer, f"/targets/{{name}}/{verb}", "post")


def test_pages_filters_and_etags(api: Api) -> None:
    seen, path = [], "/runs?limit=1"
    while path:
        page = api.get(path).json()
        seen += [each["id"] for each in page["runs"]]
        path = f"/runs?limit=1&cursor={page['next']}" if page["next"] else ""
    assert seen == ["run2", "run1", "run0"]
    names = []
    cursor = ""
    while cursor is not None:
        page = api.get(f"/targets?limit=2&cursor={cursor}").json()
        names += [each["name"] for each in page["targets"]]
        cursor = page["next"]
    assert len(names) == 3
    for query, expected in (
        ("sync=drifted", ["shop"]), ("sync=Unknown", ["old"]), ("health=unknown", ["old"]),
        ("label=team%3Dshop&label=env%3Dprod", ["shop"]), ("label=team%3Dshop&label=env%3Ddev", []),
        ("ready=Stalled", ["shop"]),
    ):  # fmt: skip
        assert [each["name"] for each in api.get(f"/targets?{query}").json()["targets"]] == expected, query
    assert [each["target"] for each in api.get("/plans?label=team%3Dcrm").json()["plans"]] == ["old"]
    assert len(api.get("/events?after=0&target=shop").json()["events"]) == 2
    first = api.get("/targets")
    again = api.get("/targets", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    api.state.statuses.put(TargetStatus("new"))
    changed = api.get("/targets", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200


def test_a_token_sees_its_targets_alone_and_does_what_it_may(small: Api) -> None:
    assert [each["name"] for each in small.get("/targets", "shop").json()["targets"]] == ["shop"]
    for path in ("/targets/old", "/targets/old/plan"):
        assert small.get(path, "shop").status_code == 404
    for path, key in (("/plans", "plans"), ("/runs", "runs"), ("/events?after=0", "events"), ("/drifts", "drifts")):
        assert {each["target"] for each in small.get(path, "shop").json()[key]} == {"shop"}
    assert small.get("/plans?target=old", "shop").json()["plans"] == []
    assert small.post("/targets/old/approve", {"digest": DIGEST}, "shop").status_code == 404
    assert small.post("/targets/shop/approve", {"digest": DIGEST}, "shop").status_code == 200
    for token in ("shop", "reader", None):
        assert small.post("/targets/shop/suspend", {"reason": "x"}, token).status_code == 403
        assert small.get("/audit", token).status_code == 403
    assert small.post("/targets/shop/approve", {"digest": DIGEST}, "reader").status_code == 403
    assert small.get("/targets", None).status_code == 200  # on loopback, as nothing says otherwise
    assert small.state.decisions.suspensions() == {}


def test_strangers(small: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Api(small.state, settings_with(monkeypatch, anonymousRead=False))
    answer = closed.get("/targets", None)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="pgvillage"')
    assert small.get("/targets", None, headers={"Host": "evil.example"}).status_code == 403
    assert small.get("/targets", headers={"Host": "evil.example"}).status_code == 200
    assert small.get("/targets", None, headers={"Cookie": "session=1"}).headers.get("set-cookie") is None
    for value in ("", "Bearer", "Bearer ", "Basic " + secret("all"), "Bearer \u00e9", "Bearer " + secret("all")[:-1]):
        assert small.get("/targets", None, headers={"Authorization": value.encode()}).status_code == 401, value
    for _ in range(4):
        assert small.get("/targets", None, headers={"Authorization": "Bearer x"}).status_code == 401
    stopped = small.get("/targets", "all")
    assert (stopped.status_code, stopped.headers["retry-after"]) == (429, "61")
    small.clock = 61.5
    assert small.get("/targets", "all").status_code == 200
    assert "access-control-allow-origin" not in small.client.options("/api/v1/targets", headers=bearer("all")).headers


def test_wrong_tokens_are_counted_in_bounded_memory() -> None:
    auth = Auth(hosts=frozenset())
    for number in range(10_000):
        with pytest.raises(Refused):
            auth.caller("Bearer x", "h", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(auth._wrong) == 4_096
    for number in range(20):
        with pytest.raises(Refused) as caught:
            auth.caller("Bearer x", "h", f"2001:db8::{number}")
    assert caught.value.status == 429


def test_tokens_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(monkeypatch)
    monkeypatch.setenv("TOKEN_ALL", "too-short-planted")
    with pytest.raises(SettingsError, match="'all' has fewer than 20") as caught:
        Auth.of(settings)
    assert "planted" not in str(caught.value)
    monkeypatch.setenv("TOKEN_ALL", secret("reader"))
    with pytest.raises(SettingsError, match="'reader' has the same secret") as caught:
        Auth.of(settings)
    assert "planted" not in str(caught.value)
    monkeypatch.delenv("TOKEN_ALL")
    with pytest.raises(SecretError, match="TOKEN_ALL is not set"):
        Auth.of(settings)
    monkeypatch.setenv("TOKEN_ALL", secret("all"))
    assert "planted" not in repr(Auth.of(settings))
    elsewhere = settings.model_copy(update={"serve": settings.serve.model_copy(update={"listen": "0.0.0.0:80"})})
    assert (Auth.of(settings).anonymous, Auth.of(elsewhere).anonymous) == (True, False)


def test_nothing_else_is_there(small: Api) -> None:
    for path in (
        "",
        "/",
        "/nothing",
        "/targets/../../etc/passwd",
        "/targets/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/metrics",
    ):
        answer = small.client.get(f"/api/v1{path}", headers=bearer("all"))
        assert answer.status_code == 404, path
        assert "root:" not in answer.text
    answer = small.client.delete("/api/v1/targets/shop", headers=bearer("all"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert small.get("/targets/shop/approve").headers["allow"] == "POST"
    assert answer.headers["content-type"] == "application/problem+json"


def test_bodies_within_limits(small: Api) -> None:
    url, headers = "/api/v1/targets/shop/reconcile", bearer("all")
    kind = {"Content-Type": "application/json"}

    def post(**more: Any) -> int:
        more["headers"] = {**headers, **more.get("headers", {})}
        return int(small.client.post(url, **more).status_code)

    assert post(content=b"x" * 70_000, headers=kind) == 413
    assert post(content=iter([b"x" * 40_000] * 2), headers=kind) == 413
    assert post(content=b"{}", headers={"Content-Type": "text/plain"}) == 415
    assert post(content=b"{", headers=kind) == 400
    assert post(content=b"\xff", headers=kind) == 400
    assert post(content=b"[" * 60_000, headers=kind) == 400
    assert post() == 200
    assert len(small.woken) == 1


def test_a_failed_database_is_told_and_a_bug_is_not(small: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with small.state.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE status RENAME TO hidden")
    answer = small.get("/targets")
    assert valid(answer, "/targets")["status"] == 503
    assert "hidden" not in answer.text
    assert small.get("/status").json()["database"]["faults"] == 1
    monkeypatch.setattr(small.state.events, "after", lambda *_: 1 / 0)
    answer = small.get("/events?after=0")
    assert (answer.status_code, "Traceback" in answer.text, "division" in answer.text) == (500, False, False)


@pytest.fixture
def served(small: Api) -> Iterator[Callable[[], socket.socket]]:
    """By a real uvicorn; makes connections to it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(small.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    wait_until(lambda: server.started, "uvicorn")
    yield lambda: socket.create_connection(listener.getsockname(), 20)
    server.should_exit = True
    thread.join(20)
    listener.close()


def _ask(connection: socket.socket, text: str) -> bytes:
    connection.sendall(text.replace("\n", "\r\n").encode())
    found = b""
    while chunk := connection.recv(65_536):
        found += chunk
    return found


def test_waiting_for_events(small: Api, served: Callable[[], socket.socket]) -> None:
    head = f"Host: 127.0.0.1\nAuthorization: Bearer {secret('shop')}\nConnection: close\n\n"
    answers: list[bytes] = []

    def wait() -> None:
        with served() as connection:
            answers.append(_ask(connection, f"GET /api/v1/events?after=5&wait=30 HTTP/1.1\n{head}"))

    waiting = threading.Thread(target=wait)
    waiting.start()
    small.state.events.add(Event(NOW, "old", "Applied", "not for this token"))
    small.state.events.add(Event(NOW, "shop", "Applied", "for it"))
    waiting.join(20)
    document = json.loads(answers[0].partition(b"\r\n\r\n")[2])
    assert [each["message"] for each in document["events"]] == ["for it"]
    assert document["last"] == 7
    with served() as connection:  # a lost database numbers anew
        found = _ask(connection, f"GET /api/v1/events?after=999&wait=30 HTTP/1.1\n{head}")
    assert len(json.loads(found.partition(b"\r\n\r\n")[2])["events"]) == 3


def test_a_slow_body_is_ended(small: Api, served: Callable[[], socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgvillage.daemon.api_request._SECONDS", 1)
    head = f"Host: 127.0.0.1\nAuthorization: Bearer {secret('all')}\nContent-Length: 10\n"
    with served() as connection:
        found = _ask(connection, f"POST /api/v1/targets/shop/reconcile HTTP/1.1\n{head}\n{{")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert small.woken == []
