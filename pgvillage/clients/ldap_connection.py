"""A read-only LDAP connection: where it may go, TLS, bind, paged searches; every failure in words."""

from __future__ import annotations

import importlib
import math
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pgvillage.clients.ldap_dn import InvalidDn, dn_key
from pgvillage.clients.ldap_failure import (
    DirectoryRefused,
    SearchFailed,
    ServerGone,
    Uri,
    in_words,
    result_in_words,
)
from pgvillage.clients.ldap_tls import secure, tls_context, tls_facts
from pgvillage.clients.loopback import is_loopback
from pgvillage.core.lookup import TlsFacts
from pgvillage.core.secret import Secret
from pgvillage.settings import Directory

Scope = Literal["BASE", "LEVEL", "SUBTREE"]
_PAGED_RESULTS = "1.2.840.113556.1.4.319"
_PARTITIONS = {("cn", "configuration"), ("dc", "domaindnszones"), ("dc", "forestdnszones")}
NO_SUCH_OBJECT = 32
INVALID_DN = 34


def parse_uri(text: str) -> Uri:
    """Raises DirectoryRefused for anything but ldap://HOST[:PORT] and ldaps://HOST[:PORT]."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise DirectoryRefused(f"{text.rpartition('@')[2]}: not a URL: {error}") from None
    plain = parts.path in {"", "/"} and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in {"ldap", "ldaps"} or not parts.hostname or not plain:
        raise DirectoryRefused(f"{parts.scheme}://{parts.hostname}: expected ldap://HOST[:PORT] or ldaps://HOST[:PORT]")
    return Uri(parts.scheme, parts.hostname, port or (636 if parts.scheme == "ldaps" else 389))


def refuse_clear_text(uri: Uri, settings: Directory) -> None:
    """Raises DirectoryRefused where the bind password would cross a network in clear."""
    clear = uri.scheme == "ldap" and not settings.start_tls
    if clear and settings.tls:
        raise DirectoryRefused(f"{uri}: a client certificate needs TLS; use ldaps:// or set startTls: true")
    if settings.bind and settings.bind.gssapi and clear and not is_loopback(uri.host.lower()):
        raise DirectoryRefused(
            f"{uri}: a Kerberos bind protects none of the answers; use ldaps:// or set startTls: true"
        )
    if settings.bind and clear and not is_loopback(uri.host.lower()):
        raise DirectoryRefused(
            f"{uri}: the bind password would be sent in clear text; use ldaps:// or set startTls: true"
        )


class Line:
    """The one socket in use, so that a call that takes too long can be cut from outside its thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._cut = False

    def use(self, connection: Any) -> None:
        with self._lock:
            if self._cut:
                raise ServerGone("the time for the whole call is over")
            self._connection = connection

    def cut(self) -> None:
        """End whatever is under way; nothing can be started after it."""
        with self._lock:
            self._cut = True
            used: socket.socket | None = getattr(self._connection, "socket", None)
        if used is not None:
            try:
                # The bare socket under TLS too: SSLSocket.shutdown would pull the TLS state from under the reader.
                socket.socket.shutdown(used, socket.SHUT_RDWR)
            except OSError:
                return  # closed already

    def drop(self) -> None:
        """Close the socket, whatever state it is in; for the thread that uses it."""
        with self._lock:
            used: socket.socket | None = getattr(self._connection, "socket", None)
            self._connection = None
        if used is not None:
            used.close()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Raw entries, as (dn, attributes); `continued` when the server pointed to other servers for more."""

    entries: Sequence[tuple[bytes, dict[str, list[bytes]]]]
    continued: bool


class Session:
    """An open, bound connection."""

    def __init__(self, uri: Uri, connection: Any, settings: Directory) -> None:
        self.uri = uri
        self.round_trips = 0
        self._connection = connection
        self._settings = settings

    @property
    def tls(self) -> TlsFacts | None:
        return tls_facts(self._connection.socket)

    def search(self, base: str, search_filter: str, scope: Scope, attributes: Sequence[str]) -> SearchResult:
        """All pages of one search. Raises ServerGone, or SearchFailed for any result but success: never a part."""
        entries: list[tuple[bytes, dict[str, list[bytes]]]] = []
        continued = False
        for page in self._pages(base, search_filter, scope, attributes):
            for response in page:
                if response["type"] == "searchResEntry":
                    entries.append((bytes(response["raw_dn"]), response["raw_attributes"]))
                continued = continued or (response["type"] == "searchResRef" and not _holds_no_people(response))
        return SearchResult(entries, continued)

    def children(self, parent: str, attributes: Sequence[str], at_most: int) -> SearchResult | None:
        """All entries right below `parent`, or None when there are more than `at_most` (or a page more)."""
        entries: list[tuple[bytes, dict[str, list[bytes]]]] = []
        for page in self._pages(parent, "(objectClass=*)", "LEVEL", attributes):
            found = [each for each in page if each["type"] == "searchResEntry"]
            entries += [(bytes(each["raw_dn"]), each["raw_attributes"]) for each in found]
            if len(entries) > at_most:
                return None
        return SearchResult(entries, continued=False)

    def _pages(
        self, base: str, search_filter: str, scope: Scope, attributes: Sequence[str]
    ) -> Iterator[list[dict[str, Any]]]:
        # A read of one entry needs no pages, and some servers refuse the control there.
        size = None if scope == "BASE" else self._settings.page_size
        cookie: bytes | None = None
        while True:
            self.round_trips += 1
            with in_words(self.uri, f"searching {base}"):
                self._connection.search(
                    base, search_filter, scope, "NEVER", list(attributes), paged_size=size, paged_cookie=cookie,
                    time_limit=math.ceil(self._settings.timeout),
                )  # fmt: skip
                result, page = self._connection.result, self._connection.response
                control = result.get("controls", {}).get(_PAGED_RESULTS)
                cookie = control["value"]["cookie"] if control else None
            self._check(result, base)
            yield page
            if not cookie:
                return

    def _check(self, result: dict[str, Any], base: str) -> None:
        if result["result"] == 0:
            return
        reason = f"{self.uri}: reading {base}: {result_in_words(result)}"
        if result["result"] in {51, 52}:
            raise ServerGone(reason)
        raise SearchFailed(result["result"], reason)

    def close(self) -> None:
        """Take leave; whether the server hears it makes no difference to the answers."""
        with suppress(ServerGone), in_words(self.uri, "closing"):
            self._connection.unbind()


def _holds_no_people(response: dict[str, Any]) -> bool:
    """Does this lead to Active Directory's own partitions only? Every search from a domain's root is sent there."""
    keys = []
    for uri in response["uri"]:
        try:
            keys.append(dn_key(unquote(urlsplit(uri).path.removeprefix("/"))))
        except (InvalidDn, ValueError):
            return False
    return bool(keys) and all(key[0][0] in _PARTITIONS for key in keys)


def connect(uri: Uri, settings: Directory, password: Secret | None, line: Line) -> Session:
    """Connect, start TLS, bind. Raises ServerGone, or DirectoryRefused when the server refuses the bind."""
    import ldap3

    refuse_clear_text(uri, settings)
    if settings.bind and settings.bind.gssapi:
        _need_gssapi()
    context = tls_context(settings) if uri.scheme == "ldaps" or settings.start_tls else None
    with in_words(uri, "preparing the connection", quote=False):
        server = ldap3.Server(uri.host, uri.port, get_info=ldap3.NONE, connect_timeout=settings.timeout)
        connection = ldap3.Connection(
            server,
            **_credentials(settings, password),
            auto_referrals=False, auto_range=False, read_only=True, check_names=False,
            return_empty_attributes=False, raise_exceptions=False,
        )  # fmt: skip
    line.use(connection)
    with in_words(uri, "connecting"):
        connection.open(read_server_info=False)
        connection.socket.settimeout(settings.timeout)
    line.use(connection)
    if context:
        secure(uri, connection, context, settings)
    _bind(uri, connection, settings)
    return Session(uri, connection, settings)


def _credentials(settings: Directory, password: Secret | None) -> dict[str, Any]:
    if settings.bind and settings.bind.external:
        return {"authentication": "SASL", "sasl_mechanism": "EXTERNAL", "sasl_credentials": ""}
    if settings.bind and settings.bind.gssapi:
        return {"authentication": "SASL", "sasl_mechanism": "GSSAPI"}
    if settings.bind:
        return {"user": settings.bind.dn, "password": password.reveal() if password else None}
    return {}


def _need_gssapi() -> None:
    try:
        importlib.import_module("gssapi")
    except ImportError as error:
        raise DirectoryRefused(
            f"bind.gssapi needs the Python package gssapi and the system's Kerberos libraries, found: {error}; "
            "install them: pip install 'pgvillage[kerberos]'"
        ) from None


def bind_words(settings: Directory) -> str:
    if settings.bind is None:
        return "anonymous bind"
    if settings.bind.external:
        return f"SASL EXTERNAL bind with the certificate {settings.tls.cert if settings.tls else ''}"
    if settings.bind.gssapi:
        return "SASL GSSAPI bind with the Kerberos ticket"
    return f"bind as {settings.bind.dn}"


def _bind(uri: Uri, connection: Any, settings: Directory) -> None:
    who = bind_words(settings)
    with in_words(uri, who, quote=bool(settings.bind and settings.bind.gssapi)):
        connection.bind(read_server_info=False)
        result = connection.result
    if result["result"] == 0:
        return
    # The server's own text is not quoted: nothing keeps a server from echoing the password.
    reason = f"{uri}: {who}: {result_in_words({'result': result['result']})}"
    raise ServerGone(reason) if result["result"] in {51, 52} else DirectoryRefused(reason)
