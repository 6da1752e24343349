"""Sending over HTTP to servers that answer as the services do; errors in words, secrets in none."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trustme
from pydantic import ValidationError

from pgvillage.clients.chat_answers import Answer, Fault, NotDelivered, judged
from pgvillage.core.errors import SecretError
from pgvillage.core.notice import Notice, Told
from pgvillage.daemon.chat_delivery import deliver
from pgvillage.settings import Channel
from tests.servers import free_port
from tests.servers.webhook import TOKEN, Webhook, webhook

NOTICE = Notice("drift", Told.OPENED, "error", "orders:1", "orders", count=1, lines=("~ role etl",))


@pytest.fixture
def chat() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, chat: Webhook) -> str:
    monkeypatch.setenv("CHAT_TOKEN", TOKEN)
    monkeypatch.setenv("CHAT_SECRET", "planted-secret")
    return chat.url("")


def made(service: str, **more: object) -> Channel:
    return Channel.model_validate({"service": service, "url": {"env": "CHAT_URL"}, **more})


def bot(chat: Webhook, channel: str = "#dba") -> Channel:
    token = {"env": "CHAT_TOKEN"}
    return Channel.model_validate({"service": "slack", "token": token, "channel": channel, "api": chat.url("/api")})


@pytest.mark.parametrize("service", ["slack", "mattermost", "teams", "rocketchat", "webhook"])
async def test_each_service_takes_its_form(service: str, chat: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_URL", chat.url(f"/{service}/planted-token"))
    done = await deliver("dba", made(service), NOTICE, "1")
    assert done.answer.startswith("20")
    assert len(chat.posts) == 1
    assert chat.headers[0]["content-type"].startswith("application/json")


@pytest.mark.usefixtures("planted")
async def test_a_plain_webhook_is_signed_and_has_a_key(chat: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_URL", chat.url("/plain"))
    signed = made("webhook", secret={"env": "CHAT_SECRET"})
    for identity in ("1", "1", "2"):
        await deliver("dba", signed, NOTICE, identity)
    keys = [headers["idempotency-key"] for headers in chat.headers]
    assert keys[0] == keys[1] != keys[2]
    text = chat.headers[0]["x-pgvillage-timestamp"].encode() + b"." + chat.raw[0]
    mac = hmac.new(b"planted-secret", text, hashlib.sha256).hexdigest()
    assert chat.headers[0]["x-pgvillage-signature"] == f"sha256={mac}"


@pytest.mark.usefixtures("planted")
async def test_a_bot_posts_once_updates_in_place_and_replies_when_it_gets_worse(chat: Webhook) -> None:
    posted = await deliver("dba", bot(chat), NOTICE, "1")
    again = Notice("drift", Told.CHANGED, "error", "orders:2", "orders", count=2)
    worse = Notice("drift", Told.ESCALATED, "error", "orders:2", "orders", count=2, detail="open for 24 hours")
    over = Notice("drift", Told.RESOLVED, "resolved", "orders:2", "orders")
    for notice in (again, worse, over):
        done = await deliver("dba", bot(chat), notice, "2", posted.reference)
        assert done.reference == posted.reference
    methods = [path.removeprefix("/api/chat.") for path, _ in chat.posts]
    assert methods == ["postMessage", "update", "update", "postMessage", "update"]
    assert chat.posts[3][1]["thread_ts"] == posted.reference.partition(":")[2]
    fresh = await deliver("dba", bot(chat), NOTICE, "3", posted.reference)  # the next time it is a new message
    assert fresh.reference != posted.reference


@pytest.mark.usefixtures("planted")
async def test_a_message_that_people_deleted_is_posted_anew(chat: Webhook) -> None:
    changed = Notice("drift", Told.CHANGED, "error", "orders:2", "orders", count=2)
    done = await deliver("dba", bot(chat), changed, "1", "C0DBA:1600000000.000100")
    assert chat.posts[-1][0] == "/api/chat.postMessage"
    assert done.reference.startswith("C0DBA:17")


@pytest.mark.usefixtures("planted")
async def test_what_a_bot_is_told_in_words(chat: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotDelivered, match="knows no such channel") as caught:
        await deliver("dba", bot(chat, "#nowhere"), NOTICE, "1")
    assert caught.value.fault is Fault.BROKEN
    monkeypatch.setenv("CHAT_TOKEN", "xoxb-planted-other")
    with pytest.raises(NotDelivered, match="does not know the token") as caught:
        await deliver("dba", bot(chat), NOTICE, "1")
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("service", "answer", "fault", "words"),
    [
        ("slack", (404, "no_service", {}), Fault.BROKEN, "revoked"),
        ("slack", (403, "action_prohibited", {}), Fault.BROKEN, "does not let the webhook post"),
        ("slack", (410, "channel_is_archived", {}), Fault.BROKEN, "archived"),
        ("slack", (429, "rate_limited", {"Retry-After": "30"}), Fault.LATER, "too many"),
        ("slack", (500, "rollup_error", {}), Fault.LATER, "500"),
        ("mattermost", (400, '{"message":"Invalid webhook"}', {}), Fault.REFUSED, "form"),
        ("mattermost", (403, "{}", {}), Fault.BROKEN, "does not let us post"),
        ("teams", (404, '{"error":{"code":"WorkflowNotFound"}}', {}), Fault.BROKEN, "revoked"),
        ("teams", (413, "", {}), Fault.REFUSED, "too large"),
        ("teams", (429, "", {"Retry-After": "7"}), Fault.LATER, "too many"),
        ("teams", (200, "Webhook message delivery failed with error 429", {}), Fault.LATER, "did not take it"),
        ("rocketchat", (200, '{"success":false}', {}), Fault.LATER, "did not take it"),
        ("rocketchat", (404, '{"success":false}', {}), Fault.BROKEN, "revoked"),
        ("webhook", (302, "", {"Location": "https://evil.example"}), Fault.BROKEN, "elsewhere"),
        ("webhook", (503, "", {}), Fault.LATER, "503"),
        ("webhook", (418, "", {}), Fault.BROKEN, "418"),
    ],
)
async def test_errors_of_services(
    chat: Webhook, monkeypatch: pytest.MonkeyPatch, service: str, answer: tuple[int, str, dict[str, str]],
    fault: Fault, words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("CHAT_URL", chat.url("/planted-token"))
    chat.says = answer
    with pytest.raises(NotDelivered, match=words) as caught:
        await deliver("dba", made(service), NOTICE, "1")
    assert caught.value.fault is fault
    after = answer[2].get("Retry-After")
    assert caught.value.after == (float(after) if after else None)
    assert "planted" not in str(caught.value)
    assert chat.refused == (2 if fault is Fault.REFUSED else 1)  # the title alone is tried as well


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("-3", 0), ("99999999", 3600), ("soon", None), ("nan", None), ("", None)]
)
def test_retry_after(text: str, seconds: float | None) -> None:
    with pytest.raises(NotDelivered) as caught:
        judged("dba", "webhook", Answer(429, "", text))
    assert caught.value.after == seconds


def test_retry_after_as_a_date() -> None:
    with pytest.raises(NotDelivered) as caught:
        judged("dba", "webhook", Answer(429, "", "Wed, 21 Oct 2015 07:28:00 GMT"))
    assert caught.value.after == 0


@pytest.mark.parametrize(
    ("url", "words", "fault"),
    [
        ("http://127.0.0.1.example.invalid/planted", "must be https", Fault.BROKEN),
        ("http://localhost@example.invalid/planted", "must be https", Fault.BROKEN),
        ("http://chat.example.invalid/planted", "must be https", Fault.BROKEN),
        ("planted", "must be https", Fault.BROKEN),
        ("https://[planted/", "must be https", Fault.BROKEN),
        ("https://chat.example.invalid/planted", "DNS knows no host chat.example.invalid", Fault.LATER),
        ("http://127.0.0.1:1/planted", "can't connect to 127.0.0.1: Connection refused", Fault.LATER),
    ],
)
async def test_a_url_goes_nowhere_in_clear_and_into_no_message(
    monkeypatch: pytest.MonkeyPatch, url: str, words: str, fault: Fault
) -> None:
    monkeypatch.setenv("CHAT_URL", url)
    with pytest.raises(NotDelivered, match=words) as caught:
        await deliver("ops", made("slack"), NOTICE, "1")
    assert caught.value.fault is fault
    assert "planted" not in str(caught.value)


async def test_a_certificate_that_no_one_vouches_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        monkeypatch.setenv("CHAT_URL", f"https://localhost:{server.server_address[1]}/planted")
        with pytest.raises(NotDelivered, match="certificate of localhost is not trusted") as caught:
            await deliver("ops", made("mattermost"), NOTICE, "1")
        assert "planted" not in str(caught.value)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_secret_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_URL", raising=False)
    with pytest.raises(SecretError, match="CHAT_URL is not set"):
        await deliver("ops", made("slack"), NOTICE, "1")


async def test_templates_of_a_folder(chat: Webhook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHAT_URL", chat.url("/plain"))
    (tmp_path / "drift.j2").write_text("Look at {{ target }}!")
    (tmp_path / "failed.j2").write_bytes(b"\xff\xfe")
    channel = made("webhook", templates=str(tmp_path))
    await deliver("dba", channel, NOTICE, "1")
    assert chat.posts[0][1]["title"] == "Look at orders!"
    with structlog.testing.capture_logs() as logs:
        await deliver("dba", channel, Notice("failed", Told.OPENED, "error", "k", "orders"), "2")
    assert chat.posts[1][1]["title"] == "orders: the apply failed"
    assert "broken" in chat.posts[1][1]["lines"][-1]
    assert logs[0]["event"] == "template not used"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"service": "slack"}, "needs `url`"),
        ({"service": "slack", "token": {"env": "A"}}, "needs `url`"),
        ({"service": "slack", "url": {"env": "A"}, "token": {"env": "A"}, "channel": "#x"}, "either `url`"),
        ({"service": "teams", "token": {"env": "A"}, "channel": "#x"}, "is for Slack bots"),
        ({"service": "slack", "url": {"env": "A"}, "secret": {"env": "B"}}, "know no signature"),
        ({"service": "irc", "url": {"env": "A"}}, "service"),
        ({"service": "slack", "url": {"env": "A"}, "format": "slack"}, "format"),
        ({"service": "slack", "url": {"env": "A"}, "mention": {"who": ["<!here>"]}}, "who"),
        ({"url": {"env": "A"}}, "service"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Channel.model_validate(settings)
    json.dumps(Channel.model_json_schema())
