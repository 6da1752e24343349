"""Posting to chat end points. The URL is a secret: it appears in no error and no log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import PgVillageError
from pgvillage.settings import Webhook

_SECONDS = 10


async def post(name: str, channel: Webhook, payload: Mapping[str, Any]) -> None:
    """Raises PgVillageError, SecretError; nothing is tried twice here."""
    import httpx2

    url = read_secret(channel.url, f"channel {name!r}").reveal()
    if not url.startswith("https://") and not url.startswith(("http://127.0.0.1", "http://localhost", "http://[::1]")):
        raise PgVillageError(f"channel {name!r}: the URL must be https://, except on this machine")
    try:
        async with httpx2.AsyncClient(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client:
            answer = await client.post(url, json=payload)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise PgVillageError(f"channel {name!r}: {type(error).__name__}: the message was not delivered") from None
    if answer.status_code >= 300:
        raise PgVillageError(
            f"channel {name!r}: the server answered {answer.status_code}: the message was not delivered"
        )
