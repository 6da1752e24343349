"""Asking a daemon's JSON API. The token is sent to the server named and nowhere else, and is in no error."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from pgvillage.core.errors import PgVillageError, UsageError
from pgvillage.core.secret import Secret

_HERE = ("127.0.0.1", "localhost", "::1")
_SECONDS = 15
_MOST = 64 << 20  # bytes of an answer
_OF_THE_ASKER = (400, 404, 409)


class ApiClient:
    """In a context. Raises UsageError for what the server knows not or refuses as senseless, else PgVillageError."""

    def __init__(self, server: str, token: Secret | None, ca: Path | None = None) -> None:
        """Raises UsageError; nothing is sent yet."""
        import httpx2

        self.server = _checked(server)
        try:
            context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"--ca: {ca} can't be used: {error}") from None
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token is not None else {}
        self._http = httpx2.Client(
            verify=context, timeout=_SECONDS, trust_env=False, follow_redirects=False, headers=headers
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, *path: str, wait: int = 0, **query: Any) -> dict[str, Any]:
        """`wait` is how many seconds the server itself may take."""
        asked = {key: value for key, value in query.items() if value is not None}
        asked |= {"wait": wait} if wait else {}
        return self._send("GET", path, _SECONDS + wait, params=asked)

    def post(self, *path: str, **body: Any) -> dict[str, Any]:
        return self._send("POST", path, _SECONDS, json=body)

    def _send(self, method: str, path: tuple[str, ...], seconds: float, **more: Any) -> dict[str, Any]:
        import httpx2

        url = f"{self.server}/api/v1/{'/'.join(quote(part, safe='') for part in path)}"
        try:
            with self._http.stream(method, url, timeout=seconds, **more) as answer:
                content = b""
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > _MOST:
                        raise PgVillageError(f"{self.server}: the answer is too long")
                return self._read(answer, content)
        except httpx2.ConnectError as error:
            raise PgVillageError(f"{self.server} can't be reached: {_words(error)}") from None
        except httpx2.TimeoutException:
            raise PgVillageError(f"{self.server}: no answer in time") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise PgVillageError(f"{self.server}: {type(error).__name__}") from None

    def _read(self, answer: Any, content: bytes) -> dict[str, Any]:
        import json

        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise PgVillageError(f"{self.server}: this is no API of PgVillage (HTTP {answer.status_code})")
        if answer.status_code == 200:
            return found
        detail = str(found.get("detail") or found.get("title") or f"HTTP {answer.status_code}")[:500]
        if answer.status_code == 401:
            detail += " (PGVILLAGE_TOKEN, or --token-file)"
        kind = UsageError if answer.status_code in _OF_THE_ASKER else PgVillageError
        raise kind(detail)


def listed(client: ApiClient, what: str, limit: int | None, query: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All pages, or as many rows as asked for."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        size = 500 if limit is None else min(500, limit - len(found))
        page = client.get(what, limit=size, cursor=cursor, **query)
        found += page[what]
        cursor = page["next"]
        if cursor is None or (limit is not None and len(found) >= limit):
            return found


def _checked(server: str) -> str:
    try:
        parts = urlsplit(server)
        good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
        good = good and bool(parts.hostname) and not (parts.username or parts.query or parts.fragment)
    except ValueError:
        good = False
    if not good:
        raise UsageError("--server: expected an https:// URL without a user (http:// only on this machine)")
    return server.rstrip("/")


def _words(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message} (--ca names a CA file)"
        cause = cause.__cause__ or cause.__context__
    return "connection refused" if "refused" in str(error) else "no connection"
