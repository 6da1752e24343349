"""HashiCorp Vault's KV store, version 2, over its HTTP interface: reading, and writing by check-and-set."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from pgvillage.core.errors import SecretError, SettingsError
from pgvillage.core.secret import Secret
from pgvillage.settings import PlainSource, Vault

if TYPE_CHECKING:
    import httpx2

_HERE = ("127.0.0.1", "localhost", "::1")
_TRIES = 2
_PASSING = (429, 502, 504)
_MAX_BYTES = 1 << 20
_WORDS = {
    403: "the token may not do this (403)",
    404: "there is no such KV store, or no such auth method (404)",
    503: "it is sealed or not ready (503)",
}


@dataclass(frozen=True, slots=True)
class VaultRecord:
    """What is at a path: `version` 0 where nothing ever was; a deleted record has a version and no data."""

    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    version: int = 0


class VaultClient:
    """One Vault, in a context; may be shared by threads. Raises SecretError, which never holds what was read."""

    def __init__(self, name: str, settings: Vault, read_secret: Callable[[PlainSource, str], Secret]) -> None:
        self.called = f"vault {name!r}"
        self._settings = settings
        self._read_secret = read_secret
        self._http: httpx2.Client | None = None
        self._token: Secret | None = None
        self._records: dict[str, VaultRecord] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Raises SettingsError; nothing is sent yet."""
        import httpx2

        self._check_address()
        try:
            context = ssl.create_default_context(cafile=self._settings.ca)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"{self.called}: the CA file {self._settings.ca} can't be used: {error}") from None
        self._http = httpx2.Client(
            verify=context, timeout=self._settings.timeout, trust_env=False, follow_redirects=False
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._http is not None:
            self._http.close()
        self._token = None
        self._records.clear()

    def read(self, path: str, what: str, *, fresh: bool = False) -> VaultRecord:
        """The newest version at `path` of the KV store."""
        with self._lock:
            if fresh or path not in self._records:
                self._records[path] = self._read(path, what)
            return self._records[path]

    def _read(self, path: str, what: str) -> VaultRecord:
        status, body = self._request("GET", self._data_url(path, what), None, what)
        # Both have no data; a record that was deleted is told by its metadata, and Vault's words for either are none.
        if status == 404 and not body.get("errors"):
            return VaultRecord(version=_version(body))
        self._expect_success(status, what)
        data = (body.get("data") or {}).get("data")
        if not isinstance(data, dict):
            raise SecretError(f"{what}: {self.called} gave an answer that is none of a KV store of version 2")
        return VaultRecord(data, _version(body))

    def write(self, path: str, data: Mapping[str, Any], version: int, what: str) -> bool:
        """A new version, if `version` is still the newest; False if not."""
        document = {"options": {"cas": version}, "data": dict(data)}
        with self._lock:
            self._records.pop(path, None)
            status, body = self._request("POST", self._data_url(path, what), document, what)
        if status == 400 and any("check-and-set" in str(each) for each in body.get("errors") or ()):
            return False
        self._expect_success(status, what)
        return True

    def _check_address(self) -> None:
        try:
            parts = urlsplit(self._settings.address)
            good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
            good = good and bool(parts.hostname) and not (parts.username or parts.query or parts.fragment)
        except ValueError:
            good = False
        if not good:
            raise SettingsError(f"{self.called}: the address must be an https:// URL (http:// only on this machine)")

    def _data_url(self, path: str, what: str) -> str:
        parts = path.strip("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise SecretError(f"{what}: {path!r} is no path in {self.called}")
        return f"{quote(self._settings.mount.strip('/'))}/data/{quote('/'.join(parts))}"

    def _request(self, method: str, url: str, document: object, what: str) -> tuple[int, dict[str, Any]]:
        if self._token is None:
            self._token = self._log_in(what)
        return self._send(method, url, document, {"X-Vault-Token": self._token.reveal()}, what)

    def _log_in(self, what: str) -> Secret:
        approle = self._settings.approle
        if approle is None:
            assert self._settings.token is not None
            return self._read_secret(self._settings.token, f"{self.called}: token")
        secret_id = self._read_secret(approle.secret_id, f"{self.called}: secretId").reveal()
        document = {"role_id": approle.role_id, "secret_id": secret_id}
        status, body = self._send("POST", f"auth/{quote(approle.mount)}/login", document, {}, what)
        if status in (400, 403):
            raise SecretError(f"{what}: {self.called} refuses the AppRole login ({status})")
        self._expect_success(status, what)
        token = (body.get("auth") or {}).get("client_token")
        if not isinstance(token, str) or not token:
            raise SecretError(f"{what}: {self.called} gave no token at the AppRole login")
        return Secret(token)

    def _send(
        self, method: str, url: str, document: object, headers: dict[str, str], what: str
    ) -> tuple[int, dict[str, Any]]:
        import httpx2

        assert self._http is not None
        headers = {"X-Vault-Request": "true", **headers}
        if self._settings.namespace:
            headers["X-Vault-Namespace"] = self._settings.namespace
        whole = f"{self._settings.address.rstrip('/')}/v1/{url}"
        for attempt in range(_TRIES):
            last = attempt + 1 == _TRIES
            try:
                answer = self._http.request(method, whole, json=document, headers=headers)
            except httpx2.ConnectError as error:
                if last:
                    raise SecretError(f"{what}: {self.called} can't be reached: {_tls_words(error)}") from None
                continue
            except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
                words = "no answer in time" if isinstance(error, httpx2.TimeoutException) else type(error).__name__
                raise SecretError(f"{what}: {self.called}: {words}") from None
            # A write may have been done although its answer says otherwise; check-and-set makes a second one harmless.
            if answer.status_code not in _PASSING or last:
                return answer.status_code, _body(answer)
        raise AssertionError

    def _expect_success(self, status: int, what: str) -> None:
        if status < 300:
            return
        if 300 <= status < 400:
            raise SecretError(f"{what}: {self.called} points to another server ({status}): name the active one")
        raise SecretError(f"{what}: {self.called}: {_WORDS.get(status, f'it answered {status}')}")


def _version(body: Mapping[str, Any]) -> int:
    found = ((body.get("data") or {}).get("metadata") or {}).get("version")
    return found if isinstance(found, int) else 0


def _body(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = answer.json() if len(answer.content) <= _MAX_BYTES else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tls_words(error: Exception) -> str:
    text = str(error)
    return "its certificate is not trusted" if "CERTIFICATE_VERIFY_FAILED" in text else "no connection"
