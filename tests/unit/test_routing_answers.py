"""What the routing API answers: PgRoute66's end points, Patroni's health checks, agent-check, tokens, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from starlette.testclient import TestClient

from pgvillage.core.errors import SettingsError
from pgvillage.core.node_answer import NodeAnswer
from pgvillage.core.node_name import node_name, node_names
from pgvillage.daemon.api_auth import Auth, Caller, token_table
from pgvillage.routing.agent import Agent
from pgvillage.routing.answers import Answers
from pgvillage.routing.health import CHECKS
from pgvillage.routing.http import RoutingHttp
from pgvillage.routing.judge import Group, Rules
from pgvillage.routing.lag import Positions, bytes_of
from pgvillage.routing.memory import Memory
from pgvillage.routing.memory_file import MemoryFile
from pgvillage.routing.metrics import RoutingMetrics
from pgvillage.routing.monitor import Monitor, Watched
from pgvillage.routing.service import is_open, stands_for
from pgvillage.settings import Routing, SecretSource
from pgvillage.settings.api import Scope

MB = 1 << 20
TOKEN = "planted-routing-token-0123456789"
FORGETS = "planted-forgetful-token-0123456789"


def answer(recovering: bool, position: int = 100 * MB, **more: Any) -> NodeAnswer:
    return NodeAnswer(recovering, "s", 1, position, **more)


@pytest.fixture
def monitor() -> Monitor:
    """Group orders: primary pg1, standbys pg2 (synchronous) and pg3 (20 MB behind), pg4 that does not answer."""
    found = Monitor(Routing(), lambda _: pytest.fail("nobody is asked"), {}, lambda: None)
    found.clock = lambda: 10.0
    group = Group("orders", Rules(down=1, up=1, age=10), Memory())
    group.use(("pg1.example", "pg2.example", "pg3.example", "pg4.example"))
    group.answered("pg1.example", answer(False, synchronous=frozenset({"n2"})), 9.5, 9.6, "now")
    group.answered("pg2.example", answer(True, upstream_name="n2"), 9.5, 9.6, "now")
    group.answered("pg3.example", answer(True, 80 * MB, upstream_name="n3"), 9.5, 9.6, "now")
    group.failed("pg4.example", 9.5, 9.6, "refused with a planted secret")
    positions = Positions()
    positions.saw(2.0, 80 * MB)
    positions.saw(9.5, 100 * MB)
    found.watched["orders"] = Watched(group, positions)
    return found


def client_of(monitor: Monitor, *, open_: bool = True, one: tuple[str, str] | None = None) -> TestClient:
    answers = Answers(monitor, None)
    named = [
        (SecretSource(command=["echo", TOKEN]), Caller("token:reads", frozenset({Scope.READ}))),
        (SecretSource(command=["echo", FORGETS]), Caller("token:forgets", frozenset({Scope.READ, Scope.APPROVE}))),
    ]
    auth = Auth(token_table("routing", named))
    return TestClient(RoutingHttp(answers, RoutingMetrics(monitor), auth, open_, one).app())


@pytest.fixture
def client(monitor: Monitor) -> Iterator[TestClient]:
    with client_of(monitor) as found:
        yield found


def split(monitor: Monitor) -> None:
    """pg2 was promoted by hand, and pg1 goes on."""
    group = monitor.watched["orders"].group
    group.answered("pg2.example", NodeAnswer(False, "s", 2, 100 * MB), 9.7, 9.7, "now")
    group.answered("pg1.example", answer(False), 9.8, 9.9, "now")


@pytest.mark.parametrize(
    ("path", "status", "document"),
    [
        ("/v1/primary", 200, "pg1.example"),
        ("/v1/primary?group=orders", 200, "pg1.example"),
        ("/v1/primaries", 200, ["pg1.example"]),
        ("/v1/standbys?group=orders", 200, ["pg2.example", "pg3.example"]),
        ("/v1/pg1.example/status", 200, "primary"),
        ("/v1/pg1.example:5432/status", 200, "primary"),
        ("/v1/pg3.example/status", 200, "standby"),
        ("/v1/pg1.example/availability", 200, "ok"),
        ("/v1/pg2.example/availability?limit=1", 200, "ok"),
        ("/v1/pg3.example/availability?limit=10", 200, "ok"),
    ],
)
def test_the_answers_of_pgroute66(client: TestClient, path: str, status: int, document: object) -> None:
    found = client.get(path)
    assert (found.status_code, found.json()) == (status, document)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/primary?group=order", 404, "did you mean orders?"),
        ("/v1/pg9.example/status", 404, "there is no node 'pg9.example'; did you mean"),
        ("/v1/pg4.example/status", 422, "it does not answer"),
        ("/v1/pg3.example/availability?limit=7", 422, "8.0 s behind, more than 7 s"),
        ("/v1/pg4.example/availability", 422, "it does not answer"),
        ("/v1/pg1.example/availability?limit=soon", 400, "expected seconds, found 'soon'"),
        ("/v1/pg1.example/availability?limit=nan", 400, "expected seconds"),
        ("/nodes/orders/pg1.example/prim", 404, "there is no such check"),
        ("/nodes/orders/pg3.example/replica?lag=many", 400, "10MB, found 'many'"),
        ("/primary", 404, ""),
    ],
)
def test_what_can_not_be_answered(client: TestClient, path: str, status: int, words: str) -> None:
    found = client.get(path)
    assert found.status_code == status
    assert words in found.text
    assert "planted" not in found.text


GOOD = {
    "pg1.example": {"primary", "master", "leader", "read-write", "read-only", "read-only-sync", "read-only-async",
                    "readiness", "health", "liveness"},
    "pg2.example": {"replica", "synchronous", "sync", "read-only", "read-only-sync", "readiness", "health", "liveness"},
    "pg3.example": {"replica", "asynchronous", "async", "read-only", "read-only-async", "readiness", "health",
                    "liveness"},
    "pg4.example": {"liveness"},
}  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("node", GOOD)
def test_the_checks_of_patroni(client: TestClient, node: str, method: str) -> None:
    found = {check: client.request(method, f"/nodes/orders/{node}/{check}") for check in CHECKS}
    assert {check for check, each in found.items() if each.status_code == 200} == GOOD[node]
    assert {each.status_code for each in found.values()} <= {200, 503}
    assert all(bool(each.content) == (method == "GET") for each in found.values())


@pytest.mark.parametrize(("lag", "status"), [("10MB", 503), ("20MB", 200), ("20971520", 200), ("20479kB", 503)])
def test_a_standby_that_lags_gets_no_reads(client: TestClient, lag: str, status: int) -> None:
    assert client.options(f"/nodes/orders/pg3.example/replica?lag={lag}").status_code == status
    assert client.options(f"/nodes/orders/pg3.example/read-only?lag={lag}").status_code == status


def test_a_split_brain_names_nobody(monitor: Monitor, client: TestClient) -> None:
    split(monitor)
    assert client.get("/v1/primary").status_code == 409
    assert "pg1.example said that it is a primary" in client.get("/v1/primary").text
    assert client.get("/v1/primaries").status_code == 409
    assert [client.get(f"/nodes/orders/pg{n}.example/primary").status_code for n in (1, 2, 3, 4)] == [503] * 4
    assert client.get("/v1/groups").json()["orders"]["primary"] is None


def test_forgetting_needs_a_token_that_may(monitor: Monitor, client: TestClient) -> None:
    split(monitor)
    place = "/v1/groups/orders/memory"
    assert client.get(place).json()["doubts"][0]["node"] == "pg1.example"
    assert client.delete(place).status_code == 401
    assert client.delete(place, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 403
    assert client.get(place).json()["doubts"]
    assert client.delete(place, headers={"Authorization": f"Bearer {FORGETS}"}).json() == {"forgotten": "orders"}
    assert client.get(place).json()["doubts"] == []


def test_without_anonymous_reading_a_token_is_needed(monitor: Monitor) -> None:
    with client_of(monitor, open_=False) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/v1/primary", "/metrics", "/nodes/orders/pg1.example/primary"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        wrong = [client.get("/v1/primary", headers={"Authorization": "Bearer no"}).status_code for _ in range(12)]
        assert wrong[0] == 401
        assert wrong[-1] == 429


def test_a_process_that_stands_for_one_node(monitor: Monitor) -> None:
    with client_of(monitor, one=("orders", "pg3.example")) as client:
        assert client.options("/replica?lag=20MB").status_code == 200
        assert client.options("/replica?lag=10MB").status_code == 503
        assert client.head("/primary").status_code == 503
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 503
    with client_of(monitor, one=("orders", "pg9.example")) as client:
        assert client.options("/health").status_code == 503


def test_several_groups_must_be_named(monitor: Monitor, client: TestClient) -> None:
    other = Group("billing", Rules())
    other.use(("pg1.example",))
    monitor.watched["billing"] = Watched(other)
    assert client.get("/v1/primary").status_code == 400
    assert "billing, orders" in client.get("/v1/primary").text
    assert client.get("/v1/pg1.example/status").status_code == 400
    assert client.get("/v1/pg1.example/status?group=orders").json() == "primary"
    assert client.get("/v1/pg2.example/status").json() == "standby"


def test_before_the_estate_is_read_nothing_is_known(monitor: Monitor, client: TestClient) -> None:
    monitor.watched.clear()
    assert [client.get(path).status_code for path in ("/v1/primary", "/nodes/orders/x/primary")] == [503, 503]


NONE = "down # no such node or check"


@pytest.mark.parametrize(
    ("line", "word"),
    [("orders/pg1.example primary", "up"), ("orders/pg2.example primary", "down"), ("orders/pg2.example replica", "up"),
     ("orders/pg3.example replica", "drain"), ("orders/pg4.example replica", "down"),
     ("", NONE), ("orders/pg1.example rm -rf", NONE), ("\x00/…", NONE)],
)  # fmt: skip
def test_agent_check(monitor: Monitor, line: str, word: str) -> None:
    assert Agent(Answers(monitor, 10 * MB), 10 * MB).word(line) == word


def test_metrics_have_no_label_that_a_client_chose(monitor: Monitor, client: TestClient) -> None:
    client.get("/v1/primary?group=planted")
    client.get("/nodes/planted/planted/primary")
    client.get("/planted")
    text = client.get("/metrics").text
    samples = {
        (s.name, *sorted(s.labels.items())): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }
    assert samples["pgvillage_routing_primary", ("group", "orders")] == 1
    assert samples["pgvillage_routing_node_up", ("group", "orders"), ("node", "pg4.example")] == 0
    assert samples["pgvillage_routing_node_lag_bytes", ("group", "orders"), ("node", "pg3.example")] == 20 * MB
    assert "planted" not in text


@pytest.mark.parametrize(
    ("text", "found"),
    [("0", 0), ("10MB", 10 * MB), ("1 GB", 1 << 30), ("5kb", 5120), ("7B", 7), ("", None), ("-1", None), ("1PB", None),
     ("1.5MB", None), ("9" * 19, None), ("٣MB", None)],
)  # fmt: skip
def test_sizes(text: str, found: int | None) -> None:
    assert bytes_of(text) == found


def test_names_of_nodes() -> None:
    assert [node_name(h) for h in ("pg1.example:5432", "pg1:5433", "[::1]:5433", "/run/pg")] == [
        "pg1.example", "pg1:5433", "_::1_:5433", "_run_pg",
    ]  # fmt: skip
    assert dict(node_names(["/a b", "/a_b", "/a b"])) == {"_a_b": "/a b", "_a_b-2": "/a_b"}


@pytest.mark.parametrize(
    ("settings", "found"),
    [({}, True), ({"listen": "10.0.0.1:8433", "anonymousRead": True}, True),
     ({"tokens": [{"name": "x", "secret": {"env": "X"}}], "listen": "0.0.0.0:8433"}, False),
     ({"listen": "10.0.0.1:1", "tls": {"cert": "c", "key": "k", "clientCa": "a"}}, True)],
)  # fmt: skip
def test_who_may_ask_without_a_token(settings: Mapping[str, Any], found: bool) -> None:
    assert is_open(Routing.model_validate(settings)) is found


@pytest.mark.parametrize("settings", [{"listen": "10.0.0.1:8433"}, {"agent": {"listen": "0.0.0.0:1"}}])
def test_what_nobody_or_everybody_could_ask_is_refused(settings: Mapping[str, Any]) -> None:
    with pytest.raises(SettingsError, match="anonymousRead: true"):
        is_open(Routing.model_validate(settings))


def test_settings_are_strict() -> None:
    token = {"name": "x", "secret": {"env": "X"}}
    for wrong in ({"listn": "x"}, {"interval": 0}, {"hysteresis": {"down": 0}}, {"tokens": [token, token]}):
        with pytest.raises(ValidationError):
            Routing.model_validate(wrong)


def test_whom_a_process_stands_for() -> None:
    assert stands_for("", ()) is None
    assert stands_for("orders/pg1.example:5432", ()) == ("orders", "pg1.example")
    assert stands_for("pg1", ("orders",)) == ("orders", "pg1")
    for wrong in ("pg1", "/pg1", "orders/"):
        with pytest.raises(SettingsError, match="CLUSTER/NODE"):
            stands_for(wrong, ())


def test_the_memory_file(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path / "deep" / "routing.json")
    assert file.read() == {}
    with file.held():
        file.write({"orders": Memory("s", 3, "pg1")})
        assert file.read() == {"orders": Memory("s", 3, "pg1")}
        with pytest.raises(SettingsError, match="another pgvillage routing"), MemoryFile(file.path).held():
            pass
    file.wish_to_forget("or/ders…")
    assert file.wishes() == ("or/ders…",)
    file.granted("or/ders…")
    assert file.wishes() == ()
    file.path.write_text("{")
    with pytest.raises(SettingsError, match="is damaged"):
        file.read()
