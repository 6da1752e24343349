"""A read-only LDAP connection: where it may go, TLS, bind, paged searches; every failure in words."""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pgvillage.core.errors import PgVillageError
from pgvillage.core.secret import Secret
from pgvillage.settings import Directory

Scope = Literal["BASE", "SUBTREE"]
_PAGED_RESULTS = "1.2.840.113556.1.4.319"
_START_TLS = "1.3.6.1.4.1.1466.20037"
_RAISE_LIMIT = "raise the server's limits for this account or narrow the base"
# What a result code means, and what to do.
_RESULTS = {
    1: ("an operations error", "look at the server's log; Active Directory says this to who did not bind"),
    2: ("a protocol error", "the server does not know this operation"),
    3: ("the time limit was exceeded, the answer is cut", "index the attributes searched for, or raise the limit"),
    4: ("the size limit was exceeded, the answer is cut", _RAISE_LIMIT),
    7: ("the authentication method is not supported", "allow simple binds for this account"),
    8: ("stronger authentication is required", "use ldaps:// or StartTLS"),
    10: ("a referral to another directory, which is not followed", "name a DN that this server holds"),
    11: ("an administrative limit was exceeded, the answer is cut", _RAISE_LIMIT),
    12: ("a critical extension is unavailable", "the server must support StartTLS and paged results"),
    13: ("confidentiality is required", "use ldaps:// or StartTLS"),
    32: ("no such object", "correct the DN, or the account's rights"),
    34: ("an invalid DN", "correct the DN"),
    48: ("inappropriate authentication", "the account has no password, or anonymous binds are not allowed"),
    49: ("invalid credentials", "correct bind.dn or the bind password"),
    50: ("insufficient access rights", "let the bind account read groups and people"),
    51: ("the server is busy", "try again later"),
    52: ("the server is unavailable", "try again later"),
    53: ("the server is unwilling to perform", "look at its password policy and its limits"),
}
# What the texts of ldap3 and of the system mean, and what to do.
_CAUSES = {
    "refused": "connection refused; is the server running, is the port right?",
    "timed out": "no answer in time; is the server well, is `timeout` long enough?",
    "terminated by server": "the server closed the connection; look at its log",
    "invalid server address": "the host name has no address; correct it or the DNS",
}
_TLS_ADVICE = {
    "has expired": "renew the server's certificate",
    "mismatch": "use the name that the certificate is for, or renew it with this one",
    "local issuer": "set `ca` to the file of the authority that issued it",
    "self-signed": "set `ca` to the file of the authority that issued it",
}


class DirectoryRefused(PgVillageError):
    """Asking another server would be no use or would be wrong: bad credentials, an unsafe setting."""


class ServerGone(PgVillageError):
    """One server can't answer now; another may."""


class SearchFailed(PgVillageError):
    """The server answered that it does not answer this."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


NO_SUCH_OBJECT = 32
INVALID_DN = 34


@dataclass(frozen=True, slots=True)
class Uri:
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


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
    if settings.bind and uri.scheme == "ldap" and not settings.start_tls and not _is_loopback(uri.host):
        raise DirectoryRefused(
            f"{uri}: the bind password would be sent in clear text; use ldaps:// or set startTls: true"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


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
        self._connection = connection
        self._settings = settings

    def search(self, base: str, search_filter: str, scope: Scope, attributes: Sequence[str]) -> SearchResult:
        """All pages of one search. Raises ServerGone, or SearchFailed for any result but success: never a part."""
        entries: list[tuple[bytes, dict[str, list[bytes]]]] = []
        continued = False
        for page in self._pages(base, search_filter, scope, attributes):
            for response in page:
                if response["type"] == "searchResEntry":
                    entries.append((bytes(response["raw_dn"]), response["raw_attributes"]))
                continued = continued or response["type"] == "searchResRef"
        return SearchResult(entries, continued)

    def _pages(
        self, base: str, search_filter: str, scope: Scope, attributes: Sequence[str]
    ) -> Iterator[list[dict[str, Any]]]:
        # A read of one entry needs no pages, and some servers refuse the control there.
        size = self._settings.page_size if scope == "SUBTREE" else None
        cookie: bytes | None = None
        while True:
            with _in_words(self.uri, f"searching {base}"):
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
        with suppress(ServerGone), _in_words(self.uri, "closing"):
            self._connection.unbind()


def connect(uri: Uri, settings: Directory, password: Secret | None, line: Line) -> Session:
    """Connect, start TLS, bind. Raises ServerGone, or DirectoryRefused when the server refuses the bind."""
    import ldap3

    refuse_clear_text(uri, settings)
    context = _tls_context(settings) if uri.scheme == "ldaps" or settings.start_tls else None
    with _in_words(uri, "preparing the connection", quote=False):
        server = ldap3.Server(uri.host, uri.port, get_info=ldap3.NONE, connect_timeout=settings.timeout)
        connection = ldap3.Connection(
            server,
            user=settings.bind.dn if settings.bind else None,
            password=password.reveal() if password else None,
            auto_referrals=False, auto_range=False, read_only=True, check_names=False,
            return_empty_attributes=False, raise_exceptions=False,
        )  # fmt: skip
    line.use(connection)
    with _in_words(uri, "connecting"):
        connection.open(read_server_info=False)
        connection.socket.settimeout(settings.timeout)
    line.use(connection)
    if context:
        _secure(uri, connection, context, settings)
    _bind(uri, connection, settings)
    return Session(uri, connection, settings)


def _tls_context(settings: Directory) -> ssl.SSLContext:
    # Python's own context checks chain, dates and host name; ldap3's Tls checks no name by itself for every version.
    try:
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    except (OSError, ssl.SSLError) as error:
        raise DirectoryRefused(f"cannot read the CA file {settings.ca}: {error.strerror or error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _secure(uri: Uri, connection: Any, context: ssl.SSLContext, settings: Directory) -> None:
    if uri.scheme == "ldap":
        with _in_words(uri, "StartTLS"):
            connection.extended(_START_TLS)
        if connection.result["result"] != 0:
            raise ServerGone(
                f"{uri}: StartTLS: expected TLS to start, found {result_in_words(connection.result)}; "
                "set up a certificate on the server or use ldaps://"
            )
    try:
        # Two steps, so that the call can be cut while a server drags out the handshake.
        connection.socket = context.wrap_socket(
            connection.socket, server_hostname=uri.host, do_handshake_on_connect=False
        )
        connection.socket.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise ServerGone(_certificate_refused(uri, error, settings)) from None
    except OSError as error:
        raise ServerGone(f"{uri}: TLS failed: {error}; expected TLS 1.2 or later on this port") from None
    connection.tls_started = True


def _certificate_refused(uri: Uri, error: ssl.SSLCertVerificationError, settings: Directory) -> str:
    authority = f"the authority in {settings.ca}" if settings.ca else "an authority that this system trusts"
    advice = next((advice for part, advice in _TLS_ADVICE.items() if part in error.verify_message), "look at it")
    return (
        f"{uri}: the server's certificate was refused: expected a valid one for {uri.host} from {authority}, "
        f"found: {error.verify_message}; {advice}"
    )


def _bind(uri: Uri, connection: Any, settings: Directory) -> None:
    who = f"bind as {settings.bind.dn}" if settings.bind else "anonymous bind"
    with _in_words(uri, who, quote=False):
        connection.bind(read_server_info=False)
        result = connection.result
    if result["result"] == 0:
        return
    # The server's own text is not quoted: nothing keeps a server from echoing the password.
    reason = f"{uri}: {who}: {result_in_words({'result': result['result']})}"
    raise ServerGone(reason) if result["result"] in {51, 52} else DirectoryRefused(reason)


def result_in_words(result: dict[str, Any]) -> str:
    code = result["result"]
    what, advice = _RESULTS.get(code, (f"result code {code}", "look it up in RFC 4511 and in the server's log"))
    said = str(result.get("message") or "")[:200]
    return f"{what} ({said}); {advice}" if said else f"{what}; {advice}"


@contextmanager
def _in_words(uri: Uri, doing: str, *, quote: bool = True) -> Iterator[None]:
    """Turn what ldap3 raises into ServerGone. `quote=False` where its text might hold a secret."""
    try:
        yield
    except PgVillageError:
        raise
    except Exception as error:  # noqa: BLE001 - a server that sends nonsense makes ldap3 raise IndexError, struct.error, ...
        raise ServerGone(f"{uri}: {doing}: {_cause(error, quote=quote)}") from None


def _cause(error: Exception, *, quote: bool) -> str:
    from ldap3.core.exceptions import LDAPExceptionError

    text = str(error)
    known = next((words for part, words in _CAUSES.items() if part in text), "")
    if known:
        return known
    if not isinstance(error, (OSError, LDAPExceptionError)):
        return f"found no LDAP answer ({type(error).__name__}); is this an LDAP server?"
    return f"failed: {text[:200]}" if quote else f"failed: {type(error).__name__}"
