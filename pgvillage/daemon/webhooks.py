"""POST /hooks/NAME: a forge says that somebody pushed, and the daemon looks at the repository at once.

Nothing in a delivery is believed but that it is one: what was pushed is read from the repository itself.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qs

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import SecretError, SettingsError
from pgvillage.core.repository_place import RepositoryPlace, repository_place
from pgvillage.daemon.hooks import gitlab
from pgvillage.daemon.hooks.bitbucket import BITBUCKET
from pgvillage.daemon.hooks.concern import concerns
from pgvillage.daemon.hooks.delivery import Delivery, HookDialect
from pgvillage.daemon.hooks.flood import Flood
from pgvillage.daemon.hooks.github import FORGEJO, GITEA, GITHUB
from pgvillage.daemon.origin import peer_of
from pgvillage.settings import Hook, Repository, Settings

log = structlog.get_logger("pgvillage.webhooks")

_MOST_BYTES = 1 << 20
_READ_SECONDS = 10.0
_SECRET_SECONDS = 60.0
_AT_A_TIME, _AT_A_TIME_EACH = 32, 4
_KEPT = timedelta(days=30)
_REFUSAL_TOKENS = 5
_FORM = "application/x-www-form-urlencoded"
_DIALECTS = {"github": GITHUB, "gitea": GITEA, "forgejo": FORGEJO, "bitbucket": BITBUCKET}


class Deliveries(Protocol):
    """The part `intake` of the state database."""

    def take(self, hook: str, identity: str, at: datetime) -> bool: ...
    def forget(self, before: datetime) -> int: ...


Count = Callable[[str, str], None]


def webhook_routes(
    settings: Settings,
    poke: Callable[[], None],
    deliveries: Deliveries,
    count: Count = lambda _hook, _result: None,
    read_seconds: float = _READ_SECONDS,
    address_of: Callable[[Request], str] = peer_of,
) -> list[Route]:
    """None when the settings have no webhooks. `poke` is called in the event loop and must not block.

    `count` is told the hook, empty for one that isn't there, and what became of a delivery: taken, repeated, ignored,
    refused, flood, broken, failed. Raises SettingsError.
    """
    if not settings.webhooks:
        return []
    hooks = {name: _OpenHook(name, hook, _place(name, hook, settings)) for name, hook in settings.webhooks.items()}
    gate = _Intake(hooks, settings.repository, poke, deliveries, count, read_seconds, address_of)
    return [Route("/hooks/{name}", gate.answer, methods=["POST"])]


def _place(name: str, hook: Hook, settings: Settings) -> RepositoryPlace:
    place = repository_place(hook.repository or settings.repository.url)
    if place is None:
        raise SettingsError(
            f"webhooks.{name}: repository.url is a folder, and a push names a URL: set webhooks.{name}.repository"
        )
    return place


@dataclass
class _OpenHook:
    """A hook with its key, which is read again after a minute, so that a changed secret needs no restart."""

    name: str
    settings: Hook
    place: RepositoryPlace
    _key: bytes = field(default=b"", repr=False)
    _read_at: float = -_SECRET_SECONDS

    @property
    def dialect(self) -> HookDialect:
        if self.settings.forge == "gitlab":
            return gitlab.SIGNED if self.settings.signing is not None else gitlab.TOKEN
        return _DIALECTS[self.settings.forge]

    async def key(self) -> bytes:
        """Raises SecretError."""
        if time.monotonic() - self._read_at >= _SECRET_SECONDS:
            source = self.settings.signing or self.settings.secret
            assert source is not None
            found = await asyncio.to_thread(read_secret, source, f"webhooks.{self.name}")
            self._key, self._read_at = found.reveal().encode(), time.monotonic()
        return self._key


class _Refused(Exception):
    """A request that ends here; nothing of it is repeated."""

    def __init__(self, status: int, result: str, retry_after: int = 0) -> None:
        super().__init__(result)
        self.status, self.result, self.retry_after = status, result, retry_after


_WORDS = {
    200: "this delivery was taken before",
    202: "the repository will be looked at",
    400: "the body is not what this webhook takes",
    401: "no such webhook, or a wrong secret",
    408: "the body took too long",
    413: "the body is too large",
    415: "expected application/json",
    429: "too many requests",
    503: "not ready to check a secret",
}


@dataclass
class _Intake:
    _hooks: Mapping[str, _OpenHook]
    _repository: Repository
    _poke: Callable[[], None]
    _deliveries: Deliveries
    _count: Count
    _read_seconds: float
    _address_of: Callable[[Request], str]

    def __post_init__(self) -> None:
        self._of_address, self._of_hook = Flood(60, 2), Flood(120, 4)
        self._reading: Counter[str] = Counter()
        # An unknown name is checked against a key that nobody has, so that it looks and lasts like a wrong secret.
        self._nobody = secrets.token_bytes(32)
        self._swept = datetime.min.replace(tzinfo=UTC)

    async def answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        hook = self._hooks.get(name)
        try:
            status, result = await self._take(request, hook)
        except _Refused as refused:
            status, result = refused.status, refused.result
            retry = {"retry-after": str(refused.retry_after)} if refused.retry_after else None
            self._told(hook, result)
            return PlainTextResponse(_WORDS[status] + "\n", status, headers=retry)
        self._told(hook, result)
        return Response(status_code=204) if status == 204 else PlainTextResponse(_WORDS[status] + "\n", status)

    def _told(self, hook: _OpenHook | None, result: str) -> None:
        self._count(hook.name if hook else "", result)
        if result == "refused":
            log.warning("webhook refused", hook=hook.name if hook else "")
        elif result == "taken":
            log.info("webhook taken", hook=hook.name if hook else "")

    async def _take(self, request: Request, hook: _OpenHook | None) -> tuple[int, str]:
        address = self._address_of(request)
        if wait := self._of_address.wait(address, time.monotonic()):
            raise _Refused(429, "flood", wait)
        self._of_address.take(address, time.monotonic())
        delivery = Delivery(request.headers, await self._body(request, address))
        identity = await self._proven(hook, delivery)
        if hook is None or identity is None:
            self._of_address.take(address, time.monotonic(), _REFUSAL_TOKENS)
            raise _Refused(401, "refused")
        if wait := self._of_hook.wait(hook.name, time.monotonic()):
            raise _Refused(429, "flood", wait)
        self._of_hook.take(hook.name, time.monotonic())
        push = hook.dialect.push_of(delivery.headers, _document(request, delivery.body))
        if push is None or not concerns(push, hook.place, self._repository):
            return 204, "ignored"
        if not await self._is_new(hook.name, identity):
            return 200, "repeated"
        self._poke()
        return 202, "taken"

    async def _body(self, request: Request, address: str) -> bytes:
        """Whole and raw, within limits of size, time, and how many are read at a time."""
        if _content_type(request) not in ("application/json", _FORM):
            raise _Refused(415, "broken")
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 9 or int(length) > _MOST_BYTES:
            raise _Refused(413, "broken")
        if self._reading.total() >= _AT_A_TIME or self._reading[address] >= _AT_A_TIME_EACH:
            raise _Refused(429, "flood", 1)
        self._reading[address] += 1
        try:
            async with asyncio.timeout(self._read_seconds):
                return await _read(request)
        except TimeoutError:
            raise _Refused(408, "broken") from None
        except ClientDisconnect:
            raise _Refused(400, "broken") from None
        finally:
            self._reading[address] -= 1
            if not self._reading[address]:
                del self._reading[address]

    async def _proven(self, hook: _OpenHook | None, delivery: Delivery) -> str | None:
        if hook is None:
            GITHUB.proof(delivery, self._nobody, time.time())
            return None
        try:
            key = await hook.key()
        except SecretError as error:
            log.error("webhook without a secret", hook=hook.name, error=str(error))
            raise _Refused(503, "failed") from None
        return hook.dialect.proof(delivery, key, time.time())

    async def _is_new(self, hook: str, identity: str) -> bool:
        """What the state can't remember is taken: a look too many harms nobody."""
        now = datetime.now(UTC)
        try:
            if now - self._swept > timedelta(hours=1):
                self._swept = now
                await asyncio.to_thread(self._deliveries.forget, now - _KEPT)
            return await asyncio.to_thread(self._deliveries.take, hook, identity, now)
        except Exception as error:  # noqa: BLE001 - a full disk must not make the daemon deaf
            log.error("webhook not remembered", hook=hook, type=type(error).__name__)
            return True


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise _Refused(413, "broken")
    return bytes(body)


def _document(request: Request, body: bytes) -> Mapping[str, Any]:
    """The JSON object of a proven body; GitHub and Gitea can also send it as a form's field `payload`."""
    try:
        raw: str | bytes = body
        if _content_type(request) == _FORM:
            raw = parse_qs(body.decode(), strict_parsing=True, max_num_fields=4)["payload"][0]
        found = json.loads(raw)
    except (ValueError, KeyError, RecursionError):
        raise _Refused(400, "broken") from None
    if not isinstance(found, dict):
        raise _Refused(400, "broken")
    return found
