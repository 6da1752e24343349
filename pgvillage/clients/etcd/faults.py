"""What goes wrong on the way to etcd, in words."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pgvillage.core.errors import ReadError

UNAUTHENTICATED = 16  # gRPC's code; the gateway sends it as HTTP 401
_UNAVAILABLE = (4, 14)  # deadline exceeded, unavailable
# the last is what a request without a token meets once authentication was switched on
_STALE_TOKEN = (
    "invalid auth token",
    "revision of auth store is old",
    "revision in header is old",  # the same, met later: when the request was to be applied, and was not
    "user name is empty",
)


class LeaseGone(ReadError):
    """etcd knows this lease no more: it was revoked, or ended while nobody renewed it."""


class NoSpace(ReadError):
    """etcd takes no writes, as its database is as large as its quota allows."""


class Fault(Exception):
    """One endpoint gave no usable answer; `sent` when the request may have reached it all the same."""

    def __init__(self, why: str, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said. A stream says its errors inside of HTTP's 200, in a field `error`."""

    endpoint: str
    status: int
    body: Mapping[str, Any]

    @property
    def _error(self) -> Mapping[str, Any]:
        error = self.body.get("error")
        return error if isinstance(error, Mapping) else self.body

    @property
    def words(self) -> str:
        return str(self._error.get("message") or self._error.get("error") or f"HTTP status {self.status}")

    @property
    def code(self) -> object:
        return self._error.get("code", self._error.get("grpc_code"))

    @property
    def refused(self) -> bool:
        return self.status != 200 or isinstance(self.body.get("error"), Mapping)

    @property
    def token_is_stale(self) -> bool:
        return self.refused and any(words in self.words for words in _STALE_TOKEN)


def parsed(target: str, endpoint: str, status: int, content: bytes) -> Answer:
    """Raises Fault where another endpoint may do better, ReadError where this is no etcd at all."""
    if 300 <= status < 400:
        raise ReadError(target, f"{endpoint} redirects elsewhere, which is not followed; name etcd itself")
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    answer = Answer(endpoint, status, body if isinstance(body, dict) else {})
    if status == 404 and answer.code is None:
        raise ReadError(
            target, f"{endpoint} has no /v3 gateway: expected etcd 3.4 or newer, with its gRPC gateway switched on"
        )
    if answer.token_is_stale:
        return answer
    if status >= 500 or (answer.refused and answer.code in _UNAVAILABLE):
        raise Fault(shown(answer.words), sent=True)
    if b"CommonName" in content and status == 400:
        raise ReadError(
            target,
            f"{endpoint} has authentication on and its gateway then takes no client certificate with a CN: "
            "issue tls.cert without a CN; user and password say who you are",
        )
    if not isinstance(body, dict):
        raise ReadError(target, f"{endpoint} answered with something that is not etcd's JSON (HTTP {status})")
    return answer


def refusal(target: str, answer: Answer, user: str | None, token: str | None) -> ReadError:
    """In etcd's own words, without the token should they hold it."""
    words = answer.words.replace(token, "…") if token else answer.words
    kind = LeaseGone if "lease not found" in words else NoSpace if "space exceeded" in words else ReadError
    return kind(target, f"{answer.endpoint} refused: {shown(words)}{_advice(answer, user)}")


def _advice(answer: Answer, user: str | None) -> str:
    if "user name is empty" in answer.words:
        return "; it wants a login: set user and password in the settings"
    if "permission denied" in answer.words and user:
        return f"; grant user {user!r} a role that may do this"
    if "space exceeded" in answer.words:
        return "; etcd's database is full: compact and defragment it, then disarm the alarm (etcdctl alarm disarm)"
    if answer.code == UNAUTHENTICATED:
        return "; the login was renewed and refused again: check that the members share one token setting"
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def reason_of(error: BaseException, seconds: float) -> str:
    """Why there was no answer, in words; httpx2 keeps the true cause down the chain."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate was not accepted: {cause.verify_message}; check tls.ca and the host's name"
        if isinstance(cause, ssl.SSLError):
            words = (cause.reason or "unknown fault").replace("_", " ").lower()
            return f"TLS failed: {words}; check that the port speaks TLS, tls.cert and tls.key"
    if "Timeout" in type(error).__name__:
        return f"no answer within {seconds:g} s"
    # also how TLS 1.3 ends for a client whose certificate is missing or unwelcome, when the alert is lost on the way
    # and how a port without TLS may end it before TLS has had its say
    return shown(str(error)) or (
        "the connection was cut; check that the port speaks TLS; if it asks for client certificates, "
        "check tls.cert and tls.key"
    )


def is_refusal(error: BaseException) -> bool:
    """TLS 1.3 tells of an unwelcome client certificate only after the handshake; the request was then not looked at."""
    return any(
        isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or "") and "CERT" in (cause.reason or "")
        for cause in _chain(error)
    )


def shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:300]).strip()
