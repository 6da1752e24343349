"""The REST API of Patroni's members: where requests may go is checked before a packet leaves."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

from pgvillage.clients.etcd.faults import reason_of
from pgvillage.clients.etcd.tls import tls_context
from pgvillage.clients.loopback import is_loopback
from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import CredentialRefused, ReadError, StepFailed
from pgvillage.settings import PatroniApi

if TYPE_CHECKING:
    import httpx2

DEFAULT_PORT = 8008
_MOST = 4 << 20  # bytes of an answer
_SHOWN = 300  # characters of an answer in a message


class AnswerLost(StepFailed):
    """It may have been done or not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is the member's own words, of one line and no more than a message can bear; `body` its JSON, or None."""

    status: int
    text: str
    body: object = None

    @property
    def mapping(self) -> Mapping[str, Any]:
        return self.body if isinstance(self.body, Mapping) else {}


class PatroniRest:
    """An async context; one login for all members of a cluster. `url` is always a member's, such as its `api_url`.

    Raises ReadError when nothing was done, StepFailed when a request that changes something was sent and refused, or
    its answer was lost; CredentialRefused, before anything is sent, for a member that the settings do not allow.
    """

    def __init__(self, cluster: str, name: str, settings: PatroniApi) -> None:
        self._cluster, self._name, self._settings = cluster, name, settings
        self._http: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Raises SettingsError or SecretError; nothing is sent yet."""
        import httpx2

        source, auth = self._settings.password, None
        if self._settings.user is not None and source is not None:
            password = await asyncio.to_thread(read_secret, source, f"patroni {self._name}: password")
            auth = httpx2.BasicAuth(self._settings.user, password.reveal())
        self._http = httpx2.AsyncClient(
            verify=tls_context(f"patroni {self._name}", self._settings.tls),
            timeout=self._settings.timeout,
            trust_env=False,
            follow_redirects=False,
            auth=auth,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def status(self, url: str) -> Mapping[str, Any]:
        """GET /patroni: what the member says of itself; of one whose PostgreSQL is down too (that is a 503)."""
        return await self._read(url, "patroni", (200, 503))

    async def cluster(self, url: str) -> Mapping[str, Any]:
        return await self._read(url, "cluster", (200,))

    async def config(self, url: str) -> Mapping[str, Any]:
        """The dynamic configuration, as it stands in the DCS."""
        return await self._read(url, "config", (200,))

    async def patch_config(self, url: str, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        """A merge patch, which Patroni writes by compare-and-swap; the whole configuration afterwards."""
        return (await self._do(url, "PATCH", "config", patch)).mapping

    async def restart(self, url: str, *, seconds: float, only_pending: bool = True) -> str:
        """The member's words once its PostgreSQL is back; `seconds` is how long that may take, which goes over
        primary_start_timeout.
        """
        body = {"timeout": max(1, int(seconds))} | ({"restart_pending": True} if only_pending else {})
        return (await self._do(url, "POST", "restart", body, seconds)).text

    async def reload(self, url: str) -> str:
        return (await self._do(url, "POST", "reload", {})).text

    async def switchover(self, url: str, leader: str, candidate: str | None, *, seconds: float) -> str:
        """Without a candidate Patroni chooses. It answers once it is done."""
        body = {"leader": leader} | ({"candidate": candidate} if candidate is not None else {})
        return (await self._do(url, "POST", "switchover", body, seconds)).text

    async def failover(self, url: str, candidate: str, *, seconds: float) -> str:
        """Without asking the leader: what the candidate lacks is lost."""
        return (await self._do(url, "POST", "failover", {"candidate": candidate}, seconds)).text

    async def _read(self, url: str, path: str, good: tuple[int, ...]) -> Mapping[str, Any]:
        answer = await self._send(url, "GET", path, None, self._settings.timeout)
        if answer.status not in good or not isinstance(answer.body, Mapping):
            raise ReadError(self._cluster, f"{self._place(url)}/{path}: {self._words(answer)}")
        return answer.body

    async def _do(
        self, url: str, method: str, path: str, body: Mapping[str, Any], seconds: float | None = None
    ) -> Answer:
        limit = max(seconds or 0, self._settings.timeout)
        answer = await self._send(url, method, path, body, limit)
        if answer.status not in (200, 202):
            raise StepFailed(f"{self._cluster}: {method} {self._place(url)}/{path}: {self._words(answer)}")
        return answer

    def _words(self, answer: Answer) -> str:
        if answer.status in (401, 403):
            told = f": {answer.text}" if answer.text else ""
            return f"Patroni refused the login (HTTP {answer.status}{told}); check patroni.{self._name} of the settings"
        return f"HTTP {answer.status}: {answer.text}" if answer.text else f"HTTP {answer.status}"

    async def _send(self, url: str, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> Answer:
        import httpx2

        place = self._place(url)
        if self._http is None:
            raise RuntimeError("PatroniRest is used outside its `async with`")
        try:
            async with asyncio.timeout(seconds):
                async with self._http.stream(method, f"{place}/{path}", timeout=seconds, json=body) as answer:
                    return Answer(answer.status_code, *_parsed(await self._content(answer, place)))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise ReadError(self._cluster, f"{place}: {reason_of(error, seconds)}") from None
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
            why = reason_of(error, seconds)
            if method == "GET":
                raise ReadError(self._cluster, f"{place}/{path}: {why}") from None
            raise AnswerLost(
                f"{self._cluster}: {method} {place}/{path} was sent and its answer was lost ({why}). It may have been "
                "done or not: look again before another attempt"
            ) from None

    async def _content(self, answer: httpx2.Response, place: str) -> bytes:
        content = b""
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > _MOST:
                raise ReadError(self._cluster, f"{place}: the answer is longer than {_MOST >> 20} MiB")
        return content

    def _place(self, url: str) -> str:
        """Scheme, host and port of a member's URL; what else stands in it, such as its path, is not asked for.

        Raises CredentialRefused: the URL may come from etcd, where others can write.
        """
        parts = _split(url)
        if parts is None:
            raise CredentialRefused(f"{self._cluster}: {shown(url)} is no URL of a member; expected https://HOST:PORT")
        host, port = parts.hostname or "", parts.port or DEFAULT_PORT
        place = f"[{host}]" if ":" in host else host
        if not any(_matches(pattern, f"{place}:{port}") for pattern in self._settings.hosts):
            raise CredentialRefused(
                f"{self._cluster}: patroni.{self._name} of the settings is not meant for {place}:{port}; they allow "
                f"{', '.join(self._settings.hosts)}"
            )
        if parts.scheme == "http" and self._settings.user is not None and not is_loopback(host):
            raise CredentialRefused(
                f"{self._cluster}: the password would go to http://{place}:{port} in clear text; give Patroni's REST "
                "API a certificate"
            )
        return f"{parts.scheme}://{place}:{port}"


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return None
    clean = re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", host) and re.fullmatch(r"[!-~]+", url)
    if parts.scheme not in ("http", "https") or not clean or parts.username is not None or parts.password is not None:
        return None
    return parts


def _matches(pattern: str, place: str) -> bool:
    """`*` stands for anything within one label; a pattern without a port allows Patroni's usual one alone."""
    if not re.search(r"(?<!:):[0-9*]+$|\]:[0-9*]+$", pattern):
        pattern = f"{pattern}:{DEFAULT_PORT}"
    regex = "".join("[^.:/]*" if char == "*" else re.escape(char) for char in pattern.lower())
    return re.fullmatch(regex, place.lower()) is not None


def _parsed(content: bytes) -> tuple[str, object]:
    text = shown(content[: _SHOWN * 8].decode(errors="replace"))
    try:
        return text, json.loads(content)
    except (ValueError, RecursionError):
        return text, None


def shown(text: str) -> str:
    """Of one line, without control characters, and not long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
