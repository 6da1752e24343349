"""Sending to chat services. URLs and tokens are secrets: they appear in no error and no log."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pgvillage.clients.chat_answers import Answer, Delivered, Fault, NotDelivered, judged
from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import SettingsError
from pgvillage.settings import Channel, SecretSource

if TYPE_CHECKING:
    import httpx2

_SECONDS = 10
_LARGEST = 64 * 1024  # bytes of an answer that are looked at
_HERE = {("http", host) for host in ("127.0.0.1", "localhost", "::1")}


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent: `key` is the same at every try; `reference` is of the message to update, "" for a new one.

    `reply` also says it below the message that is updated, so that people are told.
    """

    payload: Mapping[str, Any]
    key: str
    reference: str = ""
    reply: bool = False


async def send(name: str, channel: Channel, parcel: Parcel) -> Delivered:
    """Raises NotDelivered, SecretError; nothing is tried twice here."""
    if channel.token is not None:
        return await _by_bot(name, channel, channel.token, parcel)
    assert channel.url is not None
    url = read_secret(channel.url, f"channel {name!r}").reveal()
    body = json.dumps(parcel.payload, ensure_ascii=False).encode("utf-8", "replace")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if channel.service == "webhook":
        headers |= {"Idempotency-Key": parcel.key} | _signature(name, channel.secret, body)
    answer = await _post(name, url, body, headers)
    return judged(name, channel.service, answer)


def ready(name: str, channel: Channel) -> str:
    """The host that messages go to, once all secrets are there; nothing is sent.

    Raises SettingsError, SecretError.
    """
    if channel.token is not None:
        read_secret(channel.token, f"token of channel {name!r}")
        url = channel.api
    else:
        assert channel.url is not None
        url = read_secret(channel.url, f"channel {name!r}").reveal()
        _signature(name, channel.secret, b"")
    try:
        return _host(name, url)
    except NotDelivered as error:
        raise SettingsError(f"channel {name!r}: {error.words}") from None


def _signature(name: str, source: SecretSource | None, body: bytes) -> dict[str, str]:
    """Over `TIME.BODY`, so that nobody sends an old message again as a new one."""
    if source is None:
        return {}
    at = str(int(time.time()))
    secret = read_secret(source, f"secret of channel {name!r}").reveal()
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-PgVillage-Timestamp": at, "X-PgVillage-Signature": f"sha256={mac}"}


async def _by_bot(name: str, channel: Channel, source: SecretSource, parcel: Parcel) -> Delivered:
    """Post, or update in place what `reference` (CHANNEL:TIME) names; what is no longer there is posted anew."""
    token = read_secret(source, f"token of channel {name!r}").reveal()
    place, _, moment = parcel.reference.partition(":")
    if moment:
        try:
            found = await _call(name, channel, token, "chat.update", {"channel": place, "ts": moment, **parcel.payload})
        except NotDelivered as error:
            if error.word not in ("message_not_found", "cant_update_message", "edit_window_closed"):
                raise
        else:
            if parcel.reply:
                below = {"channel": place, "thread_ts": moment, "text": parcel.payload["text"], "reply_broadcast": True}
                await _call(name, channel, token, "chat.postMessage", below)
            return found
    return await _call(name, channel, token, "chat.postMessage", {"channel": channel.channel, **parcel.payload})


async def _call(name: str, channel: Channel, token: str, method: str, payload: Mapping[str, Any]) -> Delivered:
    body = json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace")
    headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {token}"}
    answer = await _post(name, f"{channel.api}/{method}", body, headers)
    return judged(name, "slack-bot", answer)


async def _post(name: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    import httpx2

    host = _host(name, url)
    try:
        async with httpx2.AsyncClient(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client:
            request = client.build_request("POST", url, content=body, headers=dict(headers))
            answer = await client.send(request, stream=True)
            try:
                text = await _beginning(answer)
            finally:
                await answer.aclose()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise _in_words(name, host, error) from None
    secrets = tuple(part for part in urlsplit(url).path.split("/") if len(part) > 5)
    return Answer(answer.status_code, text, answer.headers.get("retry-after", ""), host, secrets)


async def _beginning(answer: httpx2.Response) -> str:
    data = b""
    async for chunk in answer.aiter_bytes():
        data += chunk
        if len(data) > _LARGEST:
            break
    return data[:_LARGEST].decode("utf-8", "replace")


def _host(name: str, url: str) -> str:
    """By the host itself: `http://127.0.0.1.example` is not this machine. Raises NotDelivered."""
    try:
        parts = urlsplit(url)
        if parts.hostname and (parts.scheme == "https" or (parts.scheme, parts.hostname) in _HERE):
            return parts.hostname
    except ValueError:
        pass
    raise NotDelivered(name, Fault.BROKEN, "the URL must be https://, except on this machine")


def _in_words(name: str, host: str, error: Exception) -> NotDelivered:
    import httpx2

    if not isinstance(error, httpx2.HTTPError):
        return NotDelivered(name, Fault.BROKEN, "the URL is not one")
    sure = isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.ConnectError)
    late = isinstance(error, httpx2.TimeoutException)
    why = _why(host, list(_causes(error)))
    if why is None:
        why = f"{host} did not answer within {_SECONDS} s" if late else f"{host} cut the connection"
    return NotDelivered(name, Fault.LATER if sure else Fault.UNSURE, why + ("" if sure else "; it may have arrived"))


def _why(host: str, causes: list[BaseException]) -> str | None:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"the DNS knows no host {host}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {host} is not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS with {host}: {cause.reason or 'the connection was cut'}"
    reasons = [os.strerror(cause.errno) for cause in causes if isinstance(cause, OSError) and cause.errno]
    return f"can't connect to {host}: {reasons[-1]}" if reasons else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
