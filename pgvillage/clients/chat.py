"""Posting to chat end points. The URL is a secret: it appears in no error and no log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import PgVillageError
from pgvillage.settings import Webhook

_SECONDS = 10
_HERE = {("http", host) for host in ("127.0.0.1", "localhost", "::1")}


async def post(name: str, channel: Webhook, payload: Mapping[str, Any]) -> None:
    """Raises PgVillageError, SecretError; nothing is tried twice here."""
    import httpx2

    url = read_secret(channel.url, f"channel {name!r}").reveal()
    if not _may_be_sent(url):
        raise PgVillageError(f"channel {name!r}: the URL must be https://, except on this machine")
    try:
        async with httpx2.AsyncClient(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client:
            answer = await client.post(url, json=payload)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise PgVillageError(f"channel {name!r}: {type(error).__name__}: the message was not delivered") from None
    if answer.status_code >= 300:
        raise PgVillageError(
            f"channel {name!r}: the server answered {answer.status_code}: the message was not delivered"
        )


def _may_be_sent(url: str) -> bool:
    """By the host itself: `http://127.0.0.1.example` is not this machine."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme, parts.hostname) in _HERE)
    except ValueError:
        return False
