"""What goes wrong with LDAP servers, in words: what it means and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pgvillage.core.errors import PgVillageError

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


class DirectoryRefused(PgVillageError):
    """Asking another server would be no use or would be wrong: bad credentials, an unsafe setting."""


class ServerGone(PgVillageError):
    """One server can't answer now; another may."""


class SearchFailed(PgVillageError):
    """The server answered that it does not answer this."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Uri:
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def result_in_words(result: dict[str, Any]) -> str:
    code = result["result"]
    what, advice = _RESULTS.get(code, (f"result code {code}", "look it up in RFC 4511 and in the server's log"))
    said = str(result.get("message") or "")[:200]
    return f"{what} ({said}); {advice}" if said else f"{what}; {advice}"


@contextmanager
def in_words(uri: Uri, doing: str, *, quote: bool = True) -> Iterator[None]:
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
    if type(error).__module__.partition(".")[0] == "gssapi":
        return f"Kerberos failed: {text[:200]}; is there a ticket (klist), does the KDC know ldap/HOST of this server?"
    known = next((words for part, words in _CAUSES.items() if part in text), "")
    if known:
        return known
    if not isinstance(error, (OSError, LDAPExceptionError)):
        return f"found no LDAP answer ({type(error).__name__}); is this an LDAP server?"
    return f"failed: {text[:200]}" if quote else f"failed: {type(error).__name__}"
