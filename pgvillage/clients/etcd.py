"""etcd v3 through its HTTP gateway: reading keys, and transactions that compare before they write."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import CredentialRefused, ReadError, SettingsError, StepFailed
from pgvillage.settings import Etcd, TlsFiles

if TYPE_CHECKING:
    import httpx2

_UNAUTHENTICATED = 16  # gRPC's code; the gateway sends it as HTTP 401
# the last is what a request without a token meets once authentication was switched on
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as etcd holds it; `lease` is 0 for a key without one."""

    key: str
    value: bytes
    mod_revision: int
    create_revision: int
    lease: int


@dataclass(frozen=True, slots=True)
class EtcdStatus:
    """One member's answer; `member` and `leader` are ids, leader 0: there is none; `db_size` is in bytes."""

    endpoint: str
    version: str
    member: int
    leader: int
    db_size: int
    revision: int


@dataclass(frozen=True, slots=True)
class _Answer:
    endpoint: str
    status: int
    body: dict[str, Any]

    @property
    def words(self) -> str:
        return str(self.body.get("message") or self.body.get("error") or f"HTTP status {self.status}")

    @property
    def token_is_stale(self) -> bool:
        return self.status >= 400 and any(words in self.words for words in _STALE_TOKEN)


class _Fault(Exception):
    """One endpoint gave no usable answer; `sent` when the request may have reached it all the same."""

    def __init__(self, why: str, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class EtcdClient:
    """One etcd cluster. Enter it as an async context manager; it may be shared by tasks of the same event loop.

    Raises ReadError when nothing was read or written, StepFailed when a write was sent and its answer was lost.
    """

    def __init__(self, name: str, settings: Etcd) -> None:
        self._target = f"etcd {name}"
        self._settings = settings
        self._endpoints: list[str] = []
        self._http: httpx2.AsyncClient | None = None
        self._token: str | None = None
        self._login = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Raises SettingsError or CredentialRefused; nothing is sent yet."""
        import httpx2

        if bool(self._settings.user) != bool(self._settings.password):
            raise SettingsError(f"{self._target}: user and password go together; set both or none")
        self._endpoints = [self._checked(url) for url in self._settings.endpoints]
        limit = self._settings.timeout
        self._http = httpx2.AsyncClient(
            verify=_tls_context(self._target, self._settings.tls),
            # half of the time for connecting, so that a member that is down is told from one that took the request
            timeout=httpx2.Timeout(limit, connect=limit / 2),
            trust_env=False,
            follow_redirects=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None
        self._token = None

    async def get(self, key: str) -> KeyValue | None:
        """The key's newest value by a linearizable read, None when there is no such key."""
        found = await self._range({"key": _encoded(key)})
        return found[0] if found else None

    async def get_prefix(self, prefix: str) -> list[KeyValue]:
        """Every key that starts with `prefix`, in the order of their bytes."""
        start = _key_bytes(prefix) or b"\0"
        return await self._range({"key": _base64(start), "rangeEnd": _base64(_after(_key_bytes(prefix)))})

    async def swap(self, puts: Mapping[str, bytes], expect: Mapping[str, int]) -> bool:
        """One transaction: writes all of `puts` when every key of `expect` has that mod_revision (0: does not exist).

        False when a comparison failed; then nothing was written. Never sent twice: on StepFailed read again.
        """
        if not expect:
            raise ValueError("a swap without an expected revision would overwrite whatever is there")
        body = {
            "compare": [
                # the gateway's own documents spell the fields of a request this way
                {"key": _encoded(key), "target": "MOD", "result": "EQUAL", "modRevision": str(revision)}
                for key, revision in expect.items()
            ],
            "success": [{"requestPut": {"key": _encoded(key), "value": _base64(value)}} for key, value in puts.items()],
        }
        answer = await self._call("kv/txn", body, writes=True)
        return answer.get("succeeded") is True

    async def put(self, key: str, value: bytes) -> None:
        """Writes unconditionally."""
        await self._call("kv/put", {"key": _encoded(key), "value": _base64(value)}, writes=True)

    async def delete(self, key: str) -> bool:
        """Whether there was something to delete."""
        answer = await self._call("kv/deleterange", {"key": _encoded(key)}, writes=True)
        return _integer(answer, "deleted") > 0

    async def status(self) -> EtcdStatus:
        """What the first member that answers says of itself."""
        answer = await self._authorized("maintenance/status", {}, writes=False)
        body = self._accepted(answer)
        header = body.get("header") or {}
        return EtcdStatus(
            endpoint=answer.endpoint,
            version=str(body.get("version", "")),
            member=_integer(header, "member_id"),
            leader=_integer(body, "leader"),
            db_size=_integer(body, "dbSize"),
            revision=_integer(header, "revision"),
        )

    async def _range(self, body: Mapping[str, object]) -> list[KeyValue]:
        answer = await self._call("kv/range", body, writes=False)
        try:
            return [_key_value(entry) for entry in answer.get("kvs", ())]
        except (ValueError, TypeError, AttributeError):
            raise ReadError(self._target, "the answer to a range request is not one of etcd's") from None

    async def _call(self, method: str, body: Mapping[str, object], *, writes: bool) -> dict[str, Any]:
        return self._accepted(await self._authorized(method, body, writes=writes))

    async def _authorized(self, method: str, body: Mapping[str, object], *, writes: bool) -> _Answer:
        """Sends with a token where a user is set. A refused token means that nothing was done: log in again, once."""
        token = await self._fresh_token(stale=None)
        answer = await self._send(method, body, token, writes=writes)
        if self._settings.user and answer.token_is_stale:
            token = await self._fresh_token(stale=token)
            answer = await self._send(method, body, token, writes=writes)
        return answer

    async def _fresh_token(self, stale: str | None) -> str:
        """A token other than `stale`; empty where no user is set or etcd has authentication off."""
        user, source = self._settings.user, self._settings.password
        if user is None or source is None:
            return ""
        async with self._login:
            if self._token is None or self._token == stale:
                password = await asyncio.to_thread(read_secret, source, f"{self._target}: password")
                body = {"name": user, "password": password.reveal()}
                self._token = self._token_in(await self._send("auth/authenticate", body, "", writes=False))
            return self._token

    def _token_in(self, answer: _Answer) -> str:
        """What the server says is never repeated here: it could hold the password."""
        if "authentication is not enabled" in answer.words:
            return ""
        token = str(answer.body.get("token", ""))
        if answer.status == 200 and token.isascii() and token.isprintable() and token:
            return token
        raise ReadError(
            self._target,
            f"{answer.endpoint} refused to log in user {self._settings.user!r} (HTTP status {answer.status}): "
            "check user and password in the settings",
        )

    async def _send(self, method: str, body: Mapping[str, object], token: str, *, writes: bool) -> _Answer:
        """The first answer of an endpoint, beginning with the one that answered last."""
        faults = []
        for endpoint in tuple(self._endpoints):
            try:
                answer = await self._post(endpoint, method, body, token)
            except _Fault as fault:
                if writes and fault.sent:
                    raise StepFailed(
                        f"{self._target}: a write was sent to {endpoint} and its answer was lost ({fault}). "
                        "It may have been done or not: read again before another attempt"
                    ) from None
                faults.append(f"{endpoint}: {fault}")
            else:
                self._prefer(endpoint)
                return answer
        raise ReadError(self._target, "no endpoint answered; " + "; ".join(faults))

    def _prefer(self, endpoint: str) -> None:
        at = self._endpoints.index(endpoint)
        self._endpoints = self._endpoints[at:] + self._endpoints[:at]

    async def _post(self, endpoint: str, method: str, body: Mapping[str, object], token: str) -> _Answer:
        import httpx2

        if self._http is None:
            raise RuntimeError("EtcdClient is used outside its `async with`")
        headers = {"Authorization": token} if token else {}
        try:
            async with asyncio.timeout(self._settings.timeout):
                answer = await self._http.post(f"{endpoint}/v3/{method}", json=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise _Fault(_reason(error, self._settings.timeout / 2), sent=False) from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise _Fault(_reason(error, self._settings.timeout), sent=not _is_refusal(error)) from None
        return self._parsed(endpoint, answer.status_code, answer.content)

    def _parsed(self, endpoint: str, status: int, content: bytes) -> _Answer:
        if 300 <= status < 400:
            raise ReadError(self._target, f"{endpoint} redirects elsewhere, which is not followed; name etcd itself")
        if status == 404:
            raise ReadError(
                self._target,
                f"{endpoint} has no /v3 gateway: expected etcd 3.4 or newer, with its gRPC gateway switched on",
            )
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        answer = _Answer(endpoint, status, body if isinstance(body, dict) else {})
        if status >= 500:
            raise _Fault(_shown(answer.words), sent=True)
        if b"CommonName" in content and status == 400:
            raise ReadError(
                self._target,
                f"{endpoint} has authentication on and its gateway then takes no client certificate with a CN: "
                "issue tls.cert without a CN; user and password say who you are",
            )
        if not isinstance(body, dict):
            raise ReadError(self._target, f"{endpoint} answered with something that is not etcd's JSON (HTTP {status})")
        return answer

    def _accepted(self, answer: _Answer) -> dict[str, Any]:
        """The body of a success.

        Raises ReadError in etcd's own words, without the token should they hold it.
        """
        if answer.status == 200:
            return answer.body
        words = answer.words.replace(self._token, "…") if self._token else answer.words
        raise ReadError(self._target, f"{answer.endpoint} refused: {_shown(words)}{self._advice(answer)}")

    def _advice(self, answer: _Answer) -> str:
        if "user name is empty" in answer.words:
            return "; it wants a login: set user and password in the settings"
        if "permission denied" in answer.words and self._settings.user:
            return f"; grant user {self._settings.user!r} a role that may do this"
        if answer.body.get("code") == _UNAUTHENTICATED:
            return "; the login was renewed and refused again: check that the members share one token setting"
        return ""

    def _checked(self, url: str) -> str:
        """The endpoint as scheme, host and port.

        Raises SettingsError for anything more or less, CredentialRefused where a password would travel in clear text.
        """
        parts = self._split(url)
        host = parts.hostname or ""
        if parts.username is not None or parts.password is not None:
            raise SettingsError(f"{self._target}: the endpoint at {host} holds a user; set user and password instead")
        if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise SettingsError(f"{self._target}: expected an endpoint like https://etcd1.example:2379, found {url!r}")
        shown = f"[{host}]" if ":" in host else host
        if parts.scheme == "http" and self._settings.user and not _is_loopback(host):
            raise CredentialRefused(
                f"{self._target}: the password would go to http://{shown} in clear text; use an https:// endpoint"
            )
        return f"{parts.scheme}://{shown}:{parts.port or 2379}"

    def _split(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            _ = parts.port  # raises for what is no port
        except ValueError:
            raise SettingsError(f"{self._target}: an endpoint is not a URL: expected https://HOST:PORT") from None
        return parts


def _tls_context(target: str, files: TlsFiles) -> ssl.SSLContext:
    """Verification of chain and name is always on; with `ca` that CA is the only one trusted."""
    if files.key and not files.cert:
        raise SettingsError(f"{target}: tls.key needs tls.cert beside it")
    for path in (files.ca, files.cert, files.key):
        if path is not None and not _is_readable(path):
            raise SettingsError(f"{target}: cannot read the TLS file {path}")
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except ssl.SSLError:
        raise SettingsError(f"{target}: {files.ca} holds no CA certificate in PEM form") from None
    if files.cert:
        try:
            # without a password callback OpenSSL would ask on the terminal for the passphrase of an encrypted key
            context.load_cert_chain(files.cert, files.key, password=lambda: "")
        except (ssl.SSLError, ValueError):
            raise SettingsError(
                f"{target}: {files.cert} and {files.key or 'the key in it'} are no pair of a certificate "
                "and its unencrypted key in PEM form"
            ) from None
    return context


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _reason(error: BaseException, seconds: float) -> str:
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
    return _shown(str(error)) or (
        "the connection was cut; check that the port speaks TLS; if it asks for client certificates, "
        "check tls.cert and tls.key"
    )


def _is_refusal(error: BaseException) -> bool:
    """TLS 1.3 tells of an unwelcome client certificate only after the handshake; the request was then not looked at."""
    return any(
        isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or "") and "CERT" in (cause.reason or "")
        for cause in _chain(error)
    )


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:300]).strip()


def _key_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _encoded(key: str) -> str:
    return _base64(_key_bytes(key))


def _after(prefix: bytes) -> bytes:
    """The first key behind all that start with `prefix`; a zero byte means to the end."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def _integer(body: Mapping[str, Any], name: str) -> int:
    """int64 comes as text and zero not at all."""
    return int(body.get(name, 0))


def _key_value(entry: Mapping[str, Any]) -> KeyValue:
    return KeyValue(
        key=base64.b64decode(entry["key"], validate=True).decode("utf-8", "surrogateescape"),
        value=base64.b64decode(entry.get("value", ""), validate=True),
        mod_revision=_integer(entry, "mod_revision"),
        create_revision=_integer(entry, "create_revision"),
        lease=_integer(entry, "lease"),
    )
