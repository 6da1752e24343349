"""Webhooks: who is believed, what is looked at, and what a stranger can't do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from structlog.testing import capture_logs

from pgvillage.clients.state.state import State
from pgvillage.core.errors import SettingsError
from pgvillage.core.repository_place import RepositoryPlace, repository_place
from pgvillage.daemon.hooks import bitbucket, gitlab
from pgvillage.daemon.hooks.flood import Flood
from pgvillage.daemon.hooks.github import GITHUB
from pgvillage.daemon.webhooks import webhook_routes
from pgvillage.settings import Settings
from tests.unit import forge_payloads as forges

MIB = 1 << 20
SECRET = {"command": ["echo", forges.SECRET]}
HOOKS = {
    "lab": {"forge": "gitlab", "secret": SECRET},
    "signed": {"forge": "gitlab", "signing": {"command": ["echo", forges.SIGNING]}},
    "hub": {"forge": "github", "secret": SECRET},
    "tea": {"forge": "gitea", "secret": SECRET},
    "forgejo": {"forge": "forgejo", "secret": SECRET},
    "bucket": {"forge": "bitbucket", "secret": SECRET},
}
Maker = Callable[..., forges.Made]
SENDERS: list[tuple[str, Maker, Callable[..., dict[str, Any]]]] = [
    ("lab", forges.gitlab, forges.gitlab_document),
    ("signed", forges.gitlab_signed, forges.gitlab_document),
    ("hub", forges.github, forges.github_document),
    ("tea", forges.gitea, forges.github_document),
    ("forgejo", forges.forgejo, forges.github_document),
    ("bucket", forges.bitbucket, forges.bitbucket_document),
    ("bucket", forges.data_center, forges.data_center_document),
]
each_forge = pytest.mark.parametrize(("hook", "made", "document"), SENDERS)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class House:
    """The routes with a real state database, and what became of deliveries."""

    folder: Path
    repository: dict[str, Any] = field(default_factory=lambda: {"url": "git@git.example:DBA/estate.git"})
    hooks: dict[str, Any] = field(default_factory=lambda: HOOKS)
    read_seconds: float = 10
    pokes: int = 0
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = State.in_file(self.folder / "state.db")
        found = Settings.model_validate({"repository": self.repository, "webhooks": self.hooks})
        routes = webhook_routes(
            found, self._poke, self.state.intake, lambda *told: self.told.append(told), self.read_seconds
        )
        self.app = Starlette(routes=routes)

    def _poke(self) -> None:
        self.pokes += 1

    def post(self, hook: str, made: forges.Made, **more: Any) -> Answer:
        return asyncio.run(self.send(hook, *made, **more))

    async def send(
        self,
        hook: str,
        headers: dict[str, str],
        body: bytes | Iterable[bytes] | AsyncIterator[bytes],
        address: str = "192.0.2.1",
        method: str = "POST",
    ) -> Answer:
        found = Answer(0, {}, b"")
        parts = _parts(body)

        async def receive() -> dict[str, Any]:
            try:
                return {"type": "http.request", "body": await anext(parts), "more_body": True}
            except StopAsyncIteration:
                return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                found.status = message["status"]
                found.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                found.body += message.get("body", b"")

        raw = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
        scope = {
            "type": "http", "method": method, "path": f"/hooks/{hook}", "raw_path": b"", "query_string": b"",
            "headers": raw, "client": (address, 1), "server": ("x", 1), "scheme": "http", "http_version": "1.1",
            "root_path": "",
        }  # fmt: skip
        await self.app(scope, receive, send)
        return found


async def _parts(body: bytes | Iterable[bytes] | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
    elif isinstance(body, AsyncIterator):
        async for part in body:
            yield part
    else:
        for part in body:
            yield part


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# --- who is believed --------------------------------------------------------------------------------------------------


@each_forge
def test_a_push_makes_the_daemon_look_once(house: House, hook: str, made: Maker, document: Any) -> None:
    del document
    first = made()
    assert house.post(hook, first).status == 202
    again = house.post(hook, first)
    assert (again.status, house.pokes) == (200, 1), "the same delivery is answered and does nothing"
    assert house.told == [(hook, "taken"), (hook, "repeated")]


@each_forge
def test_a_header_that_nobody_signed_makes_no_replay_new(house: House, hook: str, made: Maker, document: Any) -> None:
    del document
    headers, body = made()
    house.post(hook, (headers, body))
    unsigned = {k: "other" for k in headers if k.endswith(("-delivery", "-uuid", "idempotency-key"))}
    assert house.post(hook, ({**headers, **unsigned}, body)).status == 200
    assert house.pokes == 1


@each_forge
def test_a_wrong_secret_and_an_unknown_hook_look_alike(house: House, hook: str, made: Maker, document: Any) -> None:
    del document
    wrong = forges.SIGNING[:-6] + "AAAAA=" if hook == "signed" else "wrong"
    refused = house.post(hook, made(secret=wrong))
    unknown = house.post("nobody", made())
    assert (refused.status, refused.headers, refused.body) == (unknown.status, unknown.headers, unknown.body)
    assert refused.status == 401
    assert house.pokes == 0
    assert house.told == [(hook, "refused"), ("", "refused")]


@each_forge
def test_what_is_signed_is_the_body_as_it_came(house: House, hook: str, made: Maker, document: Any) -> None:
    del document
    headers, body = made()
    expected = 401 if hook != "lab" else 202  # a token says nothing of the body
    assert house.post(hook, (headers, body + b" ")).status == expected


@pytest.mark.parametrize("header", ["x-hub-signature-256", "x-gitlab-token", "webhook-signature", "webhook-timestamp"])
def test_without_its_proof_a_delivery_is_refused(house: House, header: str) -> None:
    for hook, made in (("hub", forges.github()), ("lab", forges.gitlab()), ("signed", forges.gitlab_signed())):
        headers, body = made
        if header in headers:
            del headers[header]
            assert house.post(hook, (headers, body)).status == 401
            assert house.post(hook, ({**headers, header: "v1,\xff\xfe 1"}, body)).status == 401
    assert house.pokes == 0
    assert len(house.told) == 2


def test_sha1_is_no_proof(house: House) -> None:
    import hashlib
    import hmac

    headers, body = forges.github()
    del headers["x-hub-signature-256"]
    headers["x-hub-signature"] = "sha1=" + hmac.new(forges.SECRET.encode(), body, hashlib.sha1).hexdigest()
    assert [house.post(hook, (headers, body)).status for hook in ("hub", "bucket")] == [401, 401]


@pytest.mark.parametrize(("age", "status"), [(0, 202), (290, 202), (-290, 202), (310, 401), (-310, 401), (10**9, 401)])
def test_a_signed_delivery_ages(house: House, age: int, status: int) -> None:
    assert house.post("signed", forges.gitlab_signed(at=time.time() - age)).status == status


def test_the_published_vector_of_standard_webhooks() -> None:
    """From the specification's own example."""
    from pgvillage.daemon.hooks.delivery import Delivery

    body = b'{"test": 2432232314}'
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
               "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}  # fmt: skip
    key = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert gitlab.by_signature(Delivery(headers, body), key, 1614265330.0) == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert gitlab.by_signature(Delivery(headers, body + b" "), key, 1614265330.0) is None


def test_githubs_published_vector() -> None:
    """From GitHub's documentation of validating deliveries."""
    from pgvillage.daemon.hooks.delivery import Delivery

    found = Delivery(
        {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        b"Hello, World!",
    )
    assert GITHUB.proof(found, b"It's a Secret to Everybody", 0) is not None


# --- what is looked at ------------------------------------------------------------------------------------------------


@each_forge
def test_other_pushes_and_events_do_nothing(tmp_path: Path, hook: str, made: Maker, document: Any) -> None:
    # Bitbucket does not say which branch is the default one, so there any branch counts where none is named.
    house = House(
        tmp_path, {"url": "git@git.example:DBA/estate.git", **({"branch": "main"} if hook == "bucket" else {})}
    )
    others = [
        document(ref="refs/heads/feature/main"),
        document(ref="refs/heads/Main"),
        document(ref="refs/tags/main"),
        document(after=forges.GONE),
        document(host="evil.example"),
        document(host="git.example.evil.example"),
        {},
    ]
    for number, other in enumerate(others):
        assert house.post(hook, made(other)).status == 204, number
    if hook != "signed":
        assert house.post(hook, made(event="Issue Hook")).status == 204
    assert house.pokes == 0
    assert {result for _, result in house.told} == {"ignored"}


@pytest.mark.parametrize(
    ("repository", "ref", "status"),
    [
        ({"branch": "release"}, "refs/heads/release", 202),
        ({"branch": "release"}, "refs/heads/main", 204),
        ({"tag": "v1"}, "refs/tags/v1", 202),
        ({"tag": "v1"}, "refs/heads/v1", 204),
        ({"commit": "1" * 40}, "refs/heads/main", 204),
    ],
)
def test_what_the_settings_follow(tmp_path: Path, repository: dict[str, Any], ref: str, status: int) -> None:
    house = House(tmp_path, {"url": "https://git.example/dba/estate", **repository})
    event = "Tag Push Hook" if ref.startswith("refs/tags/") else "Push Hook"
    assert house.post("lab", forges.gitlab(forges.gitlab_document(ref), event=event)).status == status


def test_a_default_branch_of_another_name_is_followed(house: House) -> None:
    document = forges.github_document("refs/heads/trunk")
    document["repository"]["default_branch"] = "trunk"
    assert house.post("hub", forges.github(document)).status == 202


def test_a_form_is_read_as_well(house: House) -> None:
    import hashlib
    import hmac

    _, body = forges.github()
    form = b"payload=" + quote_plus(body).encode()
    headers, _ = forges.github()
    headers["content-type"] = "application/x-www-form-urlencoded"
    headers["x-hub-signature-256"] = "sha256=" + hmac.new(forges.SECRET.encode(), form, hashlib.sha256).hexdigest()
    assert house.post("hub", (headers, form)).status == 202


@pytest.mark.parametrize(
    "url",
    [
        "git@git.example:DBA/Estate.git", "https://git.example/dba/estate", "https://GIT.example:8443/dba/estate.git/",
        "ssh://git@git.example:2222/dba/estate.git", "git.example:dba/estate", "https://git.example./dba/estate.git",
    ],
)  # fmt: skip
def test_one_place_has_many_urls(url: str) -> None:
    assert repository_place(url) == RepositoryPlace("git.example", "dba/estate")


@pytest.mark.parametrize("url", ["/srv/estate.git", "./estate", "file:///srv/estate", "", "https://", "https://[x/y"])
def test_a_folder_is_no_place(url: str, tmp_path: Path) -> None:
    assert repository_place(url) is None
    if url:
        with pytest.raises(SettingsError, match=r"webhooks\.lab\.repository"):
            House(tmp_path, {"url": url}, {"lab": HOOKS["lab"]})


def test_a_mirror_says_what_it_mirrors(tmp_path: Path) -> None:
    hooks = {"lab": {**HOOKS["lab"], "repository": "https://git.example/dba/estate"}}
    assert House(tmp_path, {"url": "/srv/estate.git"}, hooks).post("lab", forges.gitlab()).status == 202


def test_bitbucket_tells_several_changes() -> None:
    document = forges.bitbucket_document("refs/heads/other")
    document["push"]["changes"] += forges.bitbucket_document()["push"]["changes"]
    found = bitbucket.push_of({"x-event-key": "repo:push"}, document)
    assert found is not None
    assert [ref.name for ref in found.refs] == ["refs/heads/other", "refs/heads/main"]


# --- what a stranger can't do -----------------------------------------------------------------------------------------


def _pieces(count: int, taken: list[int]) -> Iterable[bytes]:
    for number in range(count):
        taken.append(number)
        yield b"x" * 65_536


def test_a_large_body_is_not_read(house: House) -> None:
    headers, _ = forges.github()
    taken: list[int] = []
    announced = house.post("hub", ({**headers, "content-length": str(MIB + 1)}, _pieces(99, taken)))
    assert (announced.status, taken) == (413, [])
    for odd in ("-1", "1e3", "9" * 400, "\xb2"):
        assert house.post("hub", ({**headers, "content-length": odd}, b"")).status == 413
    chunked = house.post("hub", (headers, _pieces(99, taken)))
    assert chunked.status == 413
    assert len(taken) == 17, "reading ends with the piece that is too much"


def test_a_mebibyte_is_taken(house: House) -> None:
    document = forges.github_document()
    document["padding"] = ""
    document["padding"] = "x" * (MIB - len(json.dumps(document)))
    made = forges.github(document)
    assert len(made[1]) == MIB
    assert house.post("hub", (made[0], [made[1][:1000], made[1][1000:]])).status == 202


def test_a_body_that_never_ends_is_given_up(tmp_path: Path) -> None:
    house = House(tmp_path, read_seconds=0.05)
    headers, _ = forges.github()

    async def forever() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert house.post("hub", (headers, forever())).status == 408
    assert house.told == [("hub", "broken")]


def test_few_bodies_are_read_at_a_time(tmp_path: Path) -> None:
    house = House(tmp_path, read_seconds=60)
    headers, _ = forges.github()

    async def run() -> list[int]:
        going = asyncio.Event()

        async def held() -> AsyncIterator[bytes]:
            await going.wait()
            yield b"{}"

        def one(address: str) -> asyncio.Task[Answer]:
            return asyncio.create_task(house.send("hub", headers, held(), address))

        held_back = [one("192.0.2.1") for _ in range(4)]
        await asyncio.sleep(0)
        fifth = await one("192.0.2.1")
        others = [one(f"192.0.2.{n}") for n in range(2, 30)]
        await asyncio.sleep(0)
        full = await one("192.0.2.99")
        going.set()
        done = await asyncio.gather(*held_back, *others)
        return [fifth.status, full.status, *{answer.status for answer in done}]

    assert asyncio.run(run()) == [429, 429, 401]


def test_guessing_ends_in_429_and_others_are_served(house: House) -> None:
    async def run() -> None:
        wrong = forges.github(secret="guess")
        found = [await house.send("hub", *wrong) for _ in range(20)]
        assert [answer.status for answer in found] == [401] * 10 + [429] * 10
        assert int(found[-1].headers["retry-after"]) >= 1
        assert (await house.send("hub", *forges.github())).status == 429, "whoever guessed waits with a right one too"
        assert (await house.send("hub", *forges.github(), address="192.0.2.7")).status == 202

    asyncio.run(run())


def test_buckets_are_bounded_and_fill_again() -> None:
    flood = Flood(burst=2, rate=0.5, most=10)
    for _ in range(2):
        assert flood.wait("a", 0) == 0
        flood.take("a", 0)
    assert flood.wait("a", 0) == 2
    assert flood.wait("a", 1) == 1
    assert flood.wait("a", 2) == 0
    flood.take("a", 2, 100)
    assert flood.wait("a", 2) == 6, "a debt is no longer than a burst"
    for number in range(1_000):
        flood.take(str(number), 3)
    assert len(flood) == 10


@pytest.mark.parametrize("kind", ["text/plain", "", "multipart/form-data", "application/xml"])
def test_other_contents_are_refused(house: House, kind: str) -> None:
    headers, body = forges.github()
    assert house.post("hub", ({**headers, "content-type": kind}, body)).status == 415


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"nul", b"\xff", b"[" * 100_000, b'{"ref":', b"1" * 9_999, b'"text"'], ids=range(8)
)
def test_a_signed_body_that_is_no_object(house: House, body: bytes) -> None:
    headers, _ = forges.gitlab()
    answer = house.post("lab", (headers, body))
    assert (answer.status, answer.body) == (400, b"the body is not what this webhook takes\n")


def test_only_post(house: House) -> None:
    assert house.post("hub", forges.github(), method="GET").status == 405
    assert house.post("a/b", forges.github()).status == 404


def test_no_secret_to_be_had(tmp_path: Path) -> None:
    house = House(tmp_path, hooks={"hub": {"forge": "github", "secret": {"env": "NOT_SET_ANYWHERE"}}})
    assert house.post("hub", forges.github()).status == 503
    assert house.told == [("hub", "failed")]


def test_a_state_that_fails_makes_nobody_deaf(house: House) -> None:
    house.state.close()
    (house.folder / "state.db").unlink()
    (house.folder / "state.db").mkdir()
    assert house.post("hub", forges.github()).status == 202
    assert house.pokes == 1


def test_nothing_of_a_request_is_repeated(house: House) -> None:
    planted = "planted-<script>@here"
    with capture_logs() as logs:
        for hook in ("lab", planted):
            for secret in (forges.SECRET, planted):
                document = forges.gitlab_document(f"refs/heads/{planted}")
                answer = house.post(hook, forges.gitlab(document, secret))
                assert planted.encode() not in answer.body
                assert planted not in json.dumps(answer.headers)
        house.post("lab", forges.gitlab())
    assert planted not in json.dumps(logs)
    assert forges.SECRET not in json.dumps(logs)
    assert {"webhook refused", "webhook taken"} == {entry["event"] for entry in logs}


_KEYS = st.sampled_from(
    ["ref", "after", "project", "repository", "object_kind", "git_http_url", "default_branch", "push", "changes", "new",
     "old", "name", "type", "links", "clone", "href", "html", "id", "clone_url"]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from([forges.AFTER, "refs/heads/main", "branch"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(changed=st.dictionaries(_KEYS, _JSON, max_size=4))
def test_any_object_is_understood_or_ignored(changed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    house = House(tmp_path_factory.mktemp("fuzz"))

    async def run() -> None:
        for number, (hook, made, document) in enumerate(SENDERS):
            answer = await house.send(hook, *made({**document(), **changed}), address=f"192.0.2.{number}")
            assert answer.status in (200, 202, 204)

    asyncio.run(run())
    house.state.close()


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=400), name=st.text(max_size=20))
def test_any_bytes_are_refused(body: bytes, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    house = House(tmp_path_factory.getbasetemp())
    headers, _ = forges.github()
    assert house.post("hub", (headers, body)).status == 401
    assert house.pokes == 0
    house.state.close()


def test_old_deliveries_are_forgotten(house: House) -> None:
    now = datetime.now(UTC)
    intake = house.state.intake
    assert intake.take("hub", "old", now - timedelta(days=31))
    assert intake.take("hub", "new", now)
    assert intake.take("lab", "new", now), "each hook for itself"
    assert not intake.take("hub", "new", now)
    assert intake.forget(now - timedelta(days=30)) == 1
    assert intake.take("hub", "old", now)
