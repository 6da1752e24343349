"""An outsider gets in nowhere: one daemon with everything switched on, and what people try who mean no good."""

from __future__ import annotations

import hashlib
import hmac
import html
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from pgvillage.core.password_hash import hash_password
from pgvillage.daemon.logs import as_text
from pgvillage.daemon.patience import MOST, MOST_OF_ONE
from tests.integration.conftest import new_estate, wipe
from tests.integration.daemon_process import Daemon, serving
from tests.integration.estate_builder import EstateBuilder, cluster, credential, free_policy, user
from tests.servers import wait_until
from tests.servers.postgres import PostgresServer
from tests.servers.webhook import Webhook, webhook

KNOWN_AS = "https://git.example/acme/estate"
SECRETS = {
    name: f"planted-{name.lower()}-secret-0123456789"
    for name in ("GITEA", "GITLAB", "READER", "PROD", "ALL", "VIEWER", "APPROVER", "ADMIN", "APP")
}
HURT = "<script>window.hurt=1</script>"
ROLE = "<img src=x onerror=hurt()>\u202e@here"
SUBJECT = f"{HURT} \x1b[31mred\x1b]0;owned\x07 \u202e @here <!channel>"
PROXY = "127.0.0.9"
UNSEEN = ("\x1b", "\x07", "\u202e")


@dataclass
class Answered:
    status: int
    headers: Mapping[str, str]
    cookies: dict[str, str]
    text: str


@dataclass
class Scene:
    estate: EstateBuilder
    daemon: Daemon
    chat: Webhook
    digest: str = ""
    seen: list[str] = field(default_factory=list)

    @property
    def place(self) -> tuple[str, int]:
        host, _, port = self.daemon.address.rpartition(":")
        return host, int(port)

    def ask(
        self, method: str, path: str, body: str | bytes | None = None, source: str = "127.0.0.1", **headers: str
    ) -> Answered:
        """Header names with `_` for `-`. Every answer is kept, to be searched for secrets at the end."""
        with closing(http.client.HTTPConnection(*self.place, timeout=30, source_address=(source, 0))) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            text = answer.read().decode()
        self.seen.append(f"{answer.headers}\n{text}")
        set_ = (line.partition(";")[0].partition("=") for line in answer.headers.get_all("set-cookie") or ())
        return Answered(answer.status, answer.headers, {name: value for name, _, value in set_}, text)

    def api(self, path: str, token: str | None = "ALL", body: object = None, **more: str) -> Answered:
        headers = {"Authorization": f"Bearer {SECRETS.get(token, token)}"} if token else {}
        if body is None:
            return self.ask("GET", f"/api/v1{path}", **headers, **more)
        return self.ask("POST", f"/api/v1{path}", json.dumps(body), Content_Type="application/json", **headers, **more)

    def form(self, path: str, fields: Mapping[str, str], **headers: str) -> Answered:
        kind = "application/x-www-form-urlencoded"
        return self.ask("POST", path, urlencode(fields), Content_Type=kind, **headers)

    def raw(self, request: bytes) -> bytes:
        """Everything that comes until the server closes."""
        with socket.create_connection(self.place, timeout=30) as connection:
            connection.sendall(request)
            return drained(connection)

    def sign_in(self, name: str, password: str, after: str = "/", cookie: str = "", **headers: str) -> Answered:
        page = self.ask("GET", "/sign-in", **headers)
        (token,) = re.findall(r'name="token" value="([^"]+)"', page.text)
        cookies = f"pgvillage-form={page.cookies['pgvillage-form']}; {cookie}"
        fields = {"name": name, "password": password, "token": token, "next": after}
        return self.form("/sign-in", fields, Cookie=cookies, **headers)

    def session(self, name: str) -> str:
        """A cookie of somebody who signed in."""
        answer = self.sign_in(name.lower(), SECRETS[name])
        assert answer.status == 303, answer
        return f"pgvillage-session={answer.cookies['pgvillage-session']}"

    def csrf(self, cookie: str) -> str:
        return re.findall(r'name="csrf" value="([^"]+)"', self.ask("GET", "/", Cookie=cookie).text)[0]

    def looks(self) -> float:
        text = self.ask("GET", "/metrics", Authorization=f"Bearer {SECRETS['READER']}").text
        return sum(float(each) for each in re.findall(r"(?m)^pgvillage_looks_total\S* (\S+)$", text))

    def push(self, **headers: str) -> Answered:
        return self.ask("POST", "/hooks/gitea", PUSH, Content_Type="application/json", X_Gitea_Event="push", **headers)


PUSH = json.dumps(
    {
        "ref": "refs/heads/main", "before": "0" * 40, "after": "1" * 40,
        "repository": {"clone_url": f"{KNOWN_AS}.git", "html_url": KNOWN_AS, "default_branch": "main"},
    }
).encode()  # fmt: skip


def signature(secret: str) -> str:
    return hmac.new(secret.encode(), PUSH, hashlib.sha256).hexdigest()


def drained(connection: socket.socket) -> bytes:
    found = b""
    try:
        while part := connection.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.fixture(scope="module")
def scene(shared_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    wipe(shared_postgres)
    estate = new_estate(tmp_path_factory.mktemp("outsider") / "a", shared_postgres)
    with ExitStack() as stack:
        chat = stack.enter_context(webhook())
        described(estate, shared_postgres, chat)
        estate.commit()
        options = {"notify": ["dba"], "trustedProxies": [f"{PROXY}/32"], "observe": 2}
        daemon = stack.enter_context(serving(estate, **options))
        daemon.wait_for("applied")
        found = Scene(estate, daemon, chat)
        estate.documents["people"][1]["spec"]["login"] = False
        estate.commit(SUBJECT)
        daemon.wait(lambda: json.loads(found.api("/targets/orders").text)["blocked"], "a plan that waits")
        found.digest = json.loads(found.api("/targets/orders").text)["digest"]
        yield found


def described(estate: EstateBuilder, server: PostgresServer, chat: Webhook) -> None:
    people = ("VIEWER", "APPROVER", "ADMIN")
    hashes = {f"HASH_{name}": hash_password(SECRETS[name]) for name in people}
    estate.environment |= {**SECRETS, **hashes, "CHAT": chat.url("/chat-planted-address")}
    hooks = {name: {"forge": name, "secret": {"env": name.upper()}, "repository": KNOWN_AS} for name in
             ("gitea", "gitlab")}  # fmt: skip
    scopes = {"READER": ["read"], "PROD": ["read", "approve"],
              "ALL": ["read", "approve", "reconcile", "suspend", "audit"]}  # fmt: skip
    tokens = [{"name": name.lower(), "secret": {"env": name}, "scopes": each} for name, each in scopes.items()]
    tokens[1]["targets"] = {"labels": {"env": "prod"}}
    users = [{"name": name.lower(), "role": name.lower(), "password": {"env": f"HASH_{name}"}} for name in people]
    estate.settings |= {
        "webhooks": hooks,
        "api": {"tokens": tokens, "anonymousRead": False},
        "dashboard": {"users": users, "public": False},
        "channels": {"dba": {"service": "webhook", "url": {"env": "CHAT"}}},
        "secrets": {"app": {"env": "APP"}},
    }
    estate.settings["credentials"]["dead"] = credential(server, 1)
    policy = free_policy()
    policy["spec"]["policy"]["limits"]["revoke"] = {"count": 0, "share": "0%"}
    far = cluster("pay", "127.0.0.1:1", "dead")
    far["metadata"]["labels"]["env"] = "prod"
    estate.documents = {
        "estate": [policy],
        "c": [cluster("orders", server.host), far],
        "people": [
            user("hostile", ROLE),
            user("app", auth={"method": "scram", "password": {"secret": "app"}}, connectionLimit=5),
        ],
    }


def test_a_webhook_takes_only_what_is_proven(scene: Scene) -> None:
    strangers = [
        scene.push(),
        scene.push(X_Gitea_Signature=signature("wrong")),
        scene.push(X_Gitea_Signature="é" * 3),
        scene.ask("POST", "/hooks/nothing", PUSH, Content_Type="application/json", X_Gitea_Signature=signature("x")),
        scene.ask("POST", "/hooks/gitlab", PUSH, Content_Type="application/json", X_Gitlab_Token="wrong"),
    ]
    assert {(each.status, each.text) for each in strangers} == {(401, "no such webhook, or a wrong secret\n")}
    good = {"X_Gitea_Signature": signature(SECRETS["GITEA"]), "source": "127.0.1.1"}
    assert [scene.push(**good).status, scene.push(**good).status] == [202, 200]
    assert scene.ask("GET", "/hooks/gitea").status in (303, 404, 405)


def test_the_api_gives_nothing_away(scene: Scene) -> None:
    paths = ("/targets", "/targets/orders", "/targets/orders/plan", "/plans", "/runs", "/drifts", "/events", "/status",
             "/audit", "/openapi.json")  # fmt: skip
    for path in paths:
        assert scene.api(path, None).status == 401, path
        assert scene.api(path, "wrong", source=f"127.0.2.{len(path)}").status == 401, path
    assert scene.ask("GET", "/metrics").status == 401
    assert scene.api("/../../metrics", "PROD").status in (303, 403, 404)
    bearer = {name: f"Bearer {SECRETS[name]}" for name in ("PROD", "READER")}
    assert scene.ask("GET", "/metrics", Authorization=bearer["PROD"]).status == 403
    assert 'target="orders"' in scene.ask("GET", "/metrics", Authorization=bearer["READER"]).text
    assert scene.api("/audit", "READER").status == 403
    for verb, body in (("approve", {"digest": scene.digest}), ("reconcile", {}), ("suspend", {"reason": "x"}),
                       ("resume", {})):  # fmt: skip
        assert scene.api(f"/targets/orders/{verb}", None, body).status == 401
        assert scene.api(f"/targets/orders/{verb}", "READER", body).status == 403
    assert scene.api("/targets/orders/approve", "PROD", {"digest": scene.digest}).status == 404
    for path in ("/targets", "/plans", "/runs", "/drifts", "/events"):
        assert "orders" not in scene.api(path, "PROD").text, path
    assert scene.api("/targets/orders", "PROD").status == scene.api("/targets/nothing", "PROD").status == 404


def test_a_viewer_changes_nothing(scene: Scene) -> None:
    viewer, approver = scene.session("VIEWER"), scene.session("APPROVER")
    fields = {"target": "orders", "digest": scene.digest, "reason": "x", "csrf": scene.csrf(viewer)}
    for deed in ("approve", "reconcile", "suspend", "resume", "correct"):
        assert scene.form(f"/do/{deed}", fields, Cookie=viewer).status == 403, deed
        assert scene.form(f"/do/{deed}", fields).status == 401, deed
        assert scene.ask("GET", f"/do/{deed}", Cookie=approver).status == 405
    own = scene.csrf(approver)
    for token in ("", scene.csrf(viewer), own[:-2], "zz"):
        assert scene.form("/do/approve", {**fields, "csrf": token}, Cookie=approver).status == 403
    for elsewhere in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert scene.form("/do/approve", {**fields, "csrf": own}, Cookie=approver, **elsewhere).status == 403
    for deed in ("suspend", "resume"):
        assert scene.form(f"/do/{deed}", {**fields, "csrf": own}, Cookie=approver).status == 403
    assert scene.api("/targets/orders/approve", None, {"digest": scene.digest}, Cookie=approver).status == 401
    done = json.loads(scene.api("/audit").text)["audit"]
    assert {entry["action"] for entry in done} == {"sign in"}
    assert json.loads(scene.api("/targets/orders").text)["blocked"]


def test_a_planted_session_is_worth_nothing(scene: Scene) -> None:
    planted = "pgvillage-session=" + "p" * 43
    assert scene.ask("GET", "/", Cookie=planted).status == 303
    answer = scene.sign_in("viewer", SECRETS["VIEWER"], cookie=planted)
    fresh = answer.cookies["pgvillage-session"]
    assert fresh not in planted
    assert scene.ask("GET", "/", Cookie=planted).status == 303
    page = scene.ask("GET", "/", Cookie=f"pgvillage-session={fresh}")
    assert page.status == 200
    again = scene.sign_in("viewer", SECRETS["VIEWER"], cookie=f"pgvillage-session={fresh}")
    assert again.cookies["pgvillage-session"] != fresh
    assert scene.ask("GET", "/", Cookie=f"pgvillage-session={fresh}").status == 303


def test_no_path_leads_out(scene: Scene) -> None:
    ups = ("../", "..%2f", "%2e%2e%2f", "%252e%252e%252f", "..\\", "..%5c", "..%255c", "%c0%ae%c0%ae/", "....//")
    cookie = scene.session("VIEWER").encode()
    for up in ups:
        for start in ("/static/x/", "/static/", "/api/v1/targets/", "/plans/", "/"):
            for file in ("etc/passwd", "pgvillage.yaml", "render.py", "proc/self/environ"):
                path = f"{start}{up * 8}{file}".encode()
                got = scene.raw(
                    b"GET %s HTTP/1.1\r\nHost: localhost\r\nCookie: %s\r\nConnection: close\r\n\r\n" % (path, cookie)
                )
                assert re.match(rb"HTTP/1\.1 (4\d\d|303|307) ", got), (path, got[:200])
                assert re.findall(rb"(?i)\nlocation: (?!/sign-in|http://localhost/)", got) == [], (path, got[:200])
                scene.seen.append(got.decode("latin-1"))
                assert b"root:" not in got


def test_what_is_too_large_is_not_read(scene: Scene) -> None:
    cookie = scene.session("VIEWER")
    huge = "x" * (2 << 20)
    length = {"Content_Length": str(1 << 40)}
    assert scene.ask("POST", "/hooks/gitea", "x", Content_Type="application/json", **length).status == 413
    token = f"Bearer {SECRETS['ALL']}"
    approve = "/api/v1/targets/orders/approve"
    assert scene.ask("POST", approve, "x", Authorization=token, **length).status == 413
    chunked = iter([huge[:100_000].encode()])
    assert scene.ask("POST", approve, chunked, Authorization=token, Content_Type="application/json").status == 413
    kind = "application/x-www-form-urlencoded"
    for path in ("/do/approve", "/sign-in"):
        assert scene.ask("POST", path, "a=" + huge[:100_000], Content_Type=kind, Cookie=cookie).status == 413
    for header in (b"X: " + b"x" * 100_000, b"\r\n".join(b"X%d: y" % n for n in range(20_000))):
        got = scene.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n")
        assert got == b"" or got.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), got[:100]
    got = scene.raw(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert got == b"" or got.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")), got[:100]


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0",
        b"Content-Length: 4\r\nContent-Length: 40",
        b"Content-Length: 4, 40",
        b"Content-Length: +4",
        b"Content-Length : 4",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Host: evil.example",
    ],
)
def test_nothing_is_smuggled(scene: Scene, headers: bytes) -> None:
    inner = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
    got = scene.raw(b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n" + inner)
    assert re.match(rb"HTTP/1\.1 (400|501) ", got), got
    assert got.count(b"HTTP/1.1 ") == 1


def test_hosts_and_redirects_are_ours(scene: Scene) -> None:
    for host in ("evil.example", "localhost.evil.example", "localhost@evil.example", ""):
        answer = scene.ask("GET", "/", Host=host)
        assert answer.status in (400, 421), host
    moved = scene.ask("GET", "/drifts", X_Forwarded_Host="evil.example", X_Forwarded_Proto="https", Forwarded="host=e")
    assert moved.headers["location"].startswith("/sign-in?next=%2Fdrifts")
    for after in ("//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
                  "javascript:alert(1)", "/\r\nSet-Cookie: hurt=1", " //evil.example"):  # fmt: skip
        answer = scene.sign_in("viewer", SECRETS["VIEWER"], after)
        assert (answer.status, answer.headers["location"]) == (303, "/"), after
        assert "hurt" not in answer.cookies
        page = scene.ask("GET", f"/sign-in?next={quote(after)}")
        assert 'name="next" value="/"' in page.text
        assert "evil" not in str(page.headers)
    for path in ("/clusters/%0d%0aSet-Cookie:%20hurt=1", "/hooks/%0d%0ahurt", "/api/v1/targets/a%0d%0ahurt:%201"):
        assert "hurt" not in str(scene.ask("GET", path).headers).replace("%0D%0A", "").partition("next=")[0]


def test_watchers_are_counted(scene: Scene) -> None:
    cookie = scene.session("VIEWER").encode()
    with ExitStack() as stack:
        told = []
        for _ in range(36):
            connection = stack.enter_context(socket.create_connection(scene.place, timeout=30))
            connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nCookie: %s\r\n\r\n" % cookie)
            told.append(connection.recv(12))
        assert told == [b"HTTP/1.1 200"] * 30 + [b"HTTP/1.1 503"] * 6
        assert scene.ask("GET", "/healthz").status == 200


def test_who_holds_connections_holds_up_nobody(scene: Scene) -> None:
    """From one address, from many, with headers and bodies that trickle and never end."""
    looks = scene.looks()
    with ExitStack() as stack:

        def begun(source: str, words: bytes) -> socket.socket:
            found = stack.enter_context(socket.create_connection(scene.place, 30, source_address=(source, 0)))
            found.sendall(words)
            return found

        headers = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
        body = b"POST /hooks/gitea HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        unread = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
        slow = [begun("127.0.3.1", words) for words in (body, unread)]
        one = [begun("127.0.4.1", headers) for _ in range(MOST_OF_ONE + 40)]
        wait_until(lambda: sum(map(is_closed, one)) == 40, "what is too many for one address to be closed")
        many = [begun(f"127.0.5.{n % 8 + 1}", headers) for n in range(MOST + 60)]
        assert scene.ask("GET", "/healthz").status == 200
        wait_until(lambda: sum(map(is_closed, [*one, *many])) >= 60 + 40 + 60, "the longest waiting to be closed")
        assert [scene.ask("GET", path).status for path in ("/healthz", "/readyz", "/sign-in")] == [200, 200, 200]

        def all_gone() -> bool:
            everyone = [*slow, *one, *many]
            for each in everyone:
                try:
                    each.send(b"x")
                except OSError:
                    continue
            time.sleep(0.5)
            return all(map(is_closed, everyone))

        wait_until(all_gone, "every one of them to be closed, though they trickle", seconds=60)
    assert scene.ask("GET", "/healthz").status == 200
    scene.daemon.wait(lambda: scene.looks() > looks + 1, "the loops to go on")


def is_closed(connection: socket.socket) -> bool:
    """By the server; an answer that came before is read and left."""
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_forwarded_addresses_count_from_trusted_proxies_alone(scene: Scene) -> None:
    def api(source: str, browser: str) -> int:
        return scene.api("/targets", "wrong", source=source, X_Forwarded_For=browser).status

    def hook(source: str, browser: str) -> int:
        return scene.push(source=source, X_Forwarded_For=browser).status

    def form(source: str, browser: str) -> int:
        return scene.sign_in(f"nobody{time.monotonic_ns()}", "x", source=source, X_Forwarded_For=browser).status

    for number, (attempt, refused) in enumerate(((api, 401), (hook, 401), (form, 403))):
        until(attempt, PROXY, "10.1.0.1")
        assert attempt(PROXY, "10.1.0.2") == refused
        assert attempt(PROXY, f"10.1.0.1, 10.1.1.{number}") == refused, "the nearest counts, not what a browser claims"
        until(attempt, "127.0.6.1", "")
        assert attempt("127.0.6.1", "10.1.0.3") == 429, "who is no proxy is who it is"


def until(attempt: object, source: str, browser: str) -> None:
    """Until it is told to wait: at most as often as the most generous limit lets."""
    assert callable(attempt)
    assert 429 in (attempt(source, browser) for _ in range(60))


def test_hostile_names_stay_names(scene: Scene) -> None:
    cookie = scene.session("ADMIN")
    head = scene.estate.git("rev-parse", "HEAD").strip()
    hurt = html.escape(HURT)
    scene.daemon.wait(lambda: hurt in scene.ask("GET", "/revisions", Cookie=cookie).text, "the commit on its page")
    pages = {path: scene.ask("GET", path, Cookie=cookie) for path in (
        "/", "/clusters/orders", f"/plans/{scene.digest}/orders", "/revisions", f"/revisions/{head}", "/drifts",
        "/reconciler", f"/clusters/{quote(HURT)}", f"/access?target={quote(ROLE)}&object={quote(HURT)}",
    )}  # fmt: skip
    for path, page in pages.items():
        assert HURT not in page.text, path
        assert "<img" not in page.text, path
        shown = re.sub(r'value="[^"]*"', "", page.text)  # a field says what was typed into it
        assert not set(UNSEEN) & set(shown), path
    for path in ("/targets", "/events", "/plans", "/runs", "/targets/orders/plan", "/audit"):
        answer = scene.api(path)
        json.loads(answer.text)
        assert "\x1b" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "hurt" in scene.api("/events").text
    scene.estate.environment["PGVILLAGE_TOKEN"] = SECRETS["ALL"]
    for words in (["get", "targets"], ["describe", "orders"], ["events"]):
        ran = scene.estate.run(*words, "--server", f"http://{scene.daemon.address}")
        assert ran.code == 0, ran
        assert not set(UNSEEN) & set(ran.text), words
        scene.seen.append(ran.text)
    scene.daemon.wait(lambda: scene.chat.posts, "a message")
    for raw in scene.chat.raw:
        assert not set(UNSEEN) & set("".join(strings(json.loads(raw))))
    for line in scene.daemon.lines:
        assert line.rstrip("\n").isprintable()
        assert as_text(None, "", json.loads(line)).isprintable()


def strings(found: object) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict | list):
        for each in found.values() if isinstance(found, dict) else found:
            yield from strings(each)


def test_no_secret_is_anywhere(scene: Scene) -> None:
    """Last: in what all tests before were answered, and in everything that the daemon left."""
    scene.seen.append(scene.ask("GET", "/metrics", Authorization=f"Bearer {SECRETS['ALL']}").text)
    scene.seen += [scene.api(path).text for path in ("/status", "/events", "/audit", "/targets/orders/plan")]
    left = ["".join(scene.seen), "".join(scene.daemon.lines), str(scene.chat.raw)]
    left.append(Path(f"/proc/{scene.daemon.process.pid}/cmdline").read_text())
    files = [each for each in (scene.estate.folder / "state").rglob("*") if each.is_file()]
    assert any(each.name == "state.db" for each in files)
    left += [each.read_bytes().decode("latin-1") for each in files]
    for name, secret in {**SECRETS, "CHAT": "chat-planted-address"}.items():
        for number, text in enumerate(left):
            assert secret not in text, (name, number)
