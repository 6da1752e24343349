"""Asking a forge's API: one host, limits of time and size, retries where they can't do a thing twice."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pgvillage.clients.loopback import is_loopback
from pgvillage.core.errors import PgVillageError, SettingsError

if TYPE_CHECKING:
    import httpx2

_SECONDS = 20
_TRIES = 4
_LONGEST_WAIT = 60.0
_MOST_BYTES = 32 << 20
_PAGES = 200


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    status: int
    headers: Mapping[str, str]
    document: Any


@dataclass
class ForgeApi:
    """`rights` says in errors what the token must be allowed; `sleep` is there for tests."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    rights: str
    ca: Path | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        if not _may_be_sent(self.url):
            raise SettingsError(f"the forge's API must be an https:// URL (http:// only on this machine): {self.url!r}")
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        import httpx2

        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"forge.ca: the CA file {self.ca} can't be used: {error}") from None
        headers = {"user-agent": "pgvillage", **self.headers}
        self._client = httpx2.AsyncClient(
            headers=headers, verify=context, timeout=_SECONDS, trust_env=False, follow_redirects=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> Answer:
        return await self._ask("GET", path, parameters or {}, None, again=True)

    async def send(self, method: str, path: str, document: Mapping[str, Any], *, again: bool) -> Answer:
        """`again`: doing it twice is the same as once, so it may be tried after an answer that never came."""
        return await self._ask(method, path, {}, document, again=again)

    async def _ask(
        self, method: str, path: str, parameters: Mapping[str, str | int], document: object, *, again: bool
    ) -> Answer:
        """Raises PgVillageError for every answer that is not a success."""
        for attempt in range(1, _TRIES + 1):
            answer = await self._once(method, path, parameters, document, last=attempt == _TRIES or not again)
            if answer is not None and answer.status < 300:
                return answer
            pause = self._pause(answer, attempt, again=again)
            if pause is None or attempt == _TRIES:
                assert answer is not None
                raise PgVillageError(self._words(answer.status))
            await self.sleep(pause)
        raise AssertionError

    async def _once(
        self, method: str, path: str, parameters: Mapping[str, str | int], document: object, *, last: bool
    ) -> Answer | None:
        """None for no answer, if it may be tried again."""
        import httpx2

        assert self._client is not None
        try:
            answer = await self._client.request(
                method, self.url.rstrip("/") + path, params=dict(parameters) or None, json=document
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            if last or not isinstance(error, httpx2.TransportError):
                words = "its certificate is not trusted" if "CERTIFICATE_VERIFY" in str(error) else type(error).__name__
                raise PgVillageError(f"{self._host()} gave no answer: {words}") from None
            return None
        return Answer(answer.status_code, answer.headers, _document(answer))

    def _pause(self, answer: Answer | None, attempt: int, *, again: bool) -> float | None:
        """Seconds before the next try, None when there is to be none. A request refused for its rate did nothing."""
        wait = min(2.0 ** (attempt - 1), _LONGEST_WAIT) * random.uniform(0.5, 1)  # noqa: S311 - jitter
        if answer is None:
            return wait
        limited = answer.status == 429 or (
            answer.status == 403
            and ("retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0")
        )
        if limited:
            asked = _retry_after(answer.headers.get("retry-after", ""))
            return wait if asked is None else asked if asked <= _LONGEST_WAIT else None
        return wait if answer.status >= 500 and again else None

    def _words(self, status: int) -> str:
        reasons = {
            401: "it does not take the token (401)",
            403: f"the token may not do this (403): it needs {self.rights}",
            404: f"there is no such merge request or commit, or the token can't see it (404): it needs {self.rights}",
            413: "the comment is too large for it (413)",
            422: "it does not take the values (422)",
            429: "it asks to wait for longer than a job should (429): run the job again later",
        }
        if 300 <= status < 400:
            return f"{self._host()} redirects ({status}), which a token does not follow: set the final forge.url"
        return f"{self._host()}: {reasons.get(status, f'it answered {status}')}"

    def _host(self) -> str:
        return urlsplit(self.url).netloc


def _document(answer: httpx2.Response) -> Any:
    try:
        return answer.json() if len(answer.content) <= _MOST_BYTES else None
    except ValueError:
        return None


def _retry_after(text: str) -> float | None:
    """Seconds, or a date."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _may_be_sent(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    whole = bool(host) and not (parts.username or parts.password or parts.query or parts.fragment)
    return whole and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


async def pages(api: ForgeApi, path: str, size_name: str, size: int, **order: str) -> list[dict[str, Any]]:
    """All of a list. One that ignores `page` gives the same again, and is then whole."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    for page in range(1, _PAGES + 1):
        listed = (await api.get(path, {**order, "page": page, size_name: size})).document
        fresh = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        fresh = [each for each in fresh if str(each.get("id")) not in seen]
        seen.update(str(each.get("id")) for each in fresh)
        found += fresh
        if not fresh or not isinstance(listed, list) or len(listed) < size:
            break
    return found
