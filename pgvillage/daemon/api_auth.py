"""Who calls the API: tokens, compared by their SHA-256 in constant time, and how often somebody may be wrong."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import SettingsError
from pgvillage.daemon.actions import Role, Who
from pgvillage.daemon.limits import Limiter, network_of
from pgvillage.daemon.origin import LOCAL, host_of, listens_locally
from pgvillage.settings import SecretSource, Settings
from pgvillage.settings.api import Scope

_SHORTEST = 20
_WRONG = 10  # tokens an address may get wrong in a minute
_WINDOW = 60.0
_ADDRESSES = 4_096
_HERE = frozenset(LOCAL)


@dataclass(frozen=True, slots=True)
class Caller:
    """`labels` are what a target must have for this caller to see it at all."""

    name: str
    scopes: frozenset[Scope]
    labels: Mapping[str, str] = field(default_factory=dict)

    def who(self, address: str) -> Who:
        if Scope.SUSPEND in self.scopes:
            role = Role.ADMIN
        elif self.scopes & {Scope.APPROVE, Scope.RECONCILE}:
            role = Role.APPROVER
        else:
            role = Role.VIEWER
        return Who(self.name, role, address)


ANYBODY = Caller("anybody", frozenset({Scope.READ}))


class Refused(Exception):
    """No caller: HTTP `status`, words, and seconds until the next try is worth it."""

    def __init__(self, status: int, words: str, wait: int = 0) -> None:
        self.status, self.wait = status, wait
        super().__init__(words)


@dataclass(frozen=True)
class Auth:
    """`tokens` are SHA-256 and caller; `hosts` the names that this server is called by where anybody may read."""

    tokens: Sequence[tuple[bytes, Caller]] = field(repr=False, default=())
    anonymous: bool = False
    hosts: frozenset[str] = _HERE
    clock: Callable[[], float] = time.monotonic

    @cached_property
    def _wrong(self) -> Limiter:
        """Addresses with tokens that are none."""
        return Limiter(_WRONG, _WINDOW, self.clock, keys=_ADDRESSES)

    @classmethod
    def of(cls, settings: Settings) -> Auth:
        """Raises SecretError, SettingsError for a token that is too short or there twice."""
        named = []
        for token in settings.api.tokens:
            labels = token.targets.labels if token.targets is not None else {}
            named.append((token.secret, Caller(f"token:{token.name}", frozenset(token.scopes), labels)))
        tokens = token_table("api", named)
        listen, url = host_of(settings.serve.listen), settings.serve.url
        said = settings.api.anonymous_read
        names = _HERE | {listen} | ({urlsplit(url).hostname or listen} if url else set())
        anonymous = listens_locally(settings.serve) if said is None else said
        return cls(tokens, anonymous, frozenset(names))

    def caller(self, authorization: str | None, host: str, address: str) -> Caller:
        """Raises Refused. Nothing is taken from cookies, so no other site's page can act through a browser."""
        if authorization is None:
            if not self.anonymous:
                raise Refused(401, "a token is needed: Authorization: Bearer …")
            # A page elsewhere can point its own name at this address; it can't make the browser call us by ours.
            if host_of(host) not in self.hosts:
                raise Refused(403, "this server is not called so: `serve.url` of the settings says how, or use a token")
            return ANYBODY
        key = network_of(address)
        if left := self._wrong.wait(key):
            raise Refused(429, "too many wrong tokens from this address", int(left) + 1)
        found = self._of(authorization)
        if found is None:
            self._wrong.count(key)
            raise Refused(401, "this token is not known")
        return found

    def _of(self, authorization: str) -> Caller | None:
        scheme, _, value = authorization.partition(" ")
        asked, found = _digest(value.strip()), None
        for digest, caller in self.tokens:  # all of them, whichever it is
            if hmac.compare_digest(digest, asked):
                found = caller
        return found if scheme.lower() == "bearer" else None


def token_table(section: str, named: Iterable[tuple[SecretSource, Caller]]) -> tuple[tuple[bytes, Caller], ...]:
    """SHA-256 and caller of each. Raises SecretError, SettingsError for a token that is too short or there twice."""
    tokens: dict[bytes, Caller] = {}
    for source, caller in named:
        name = caller.name.removeprefix("token:")
        value = read_secret(source, f"API token {name!r}").reveal()
        if len(value) < _SHORTEST:
            raise SettingsError(f"{section}.tokens: {name!r} has fewer than {_SHORTEST} characters")
        if tokens.setdefault(_digest(value), caller) is not caller:
            raise SettingsError(f"{section}.tokens: {name!r} has the same secret as another")
    return tuple(tokens.items())


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
