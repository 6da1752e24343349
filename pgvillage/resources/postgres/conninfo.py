"""A connection string of libpq whose password is a secret's name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgvillage.core.secret import Secret, SecretRef
from pgvillage.core.step import SecretText
from pgvillage.estate.manifest.replication import SubscribedServer
from pgvillage.resources.postgres.sql import literal

_USUAL = ("port", "5432")


@dataclass(frozen=True, slots=True)
class ConnInfo:
    """`text` is all of it but the password, which comes last."""

    text: str
    secret: SecretRef | None
    pairs: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, server: SubscribedServer, secret: SecretRef | None) -> ConnInfo:
        pairs = {"host": server.host, "port": str(server.port), "dbname": server.database, "user": server.user}
        pairs |= {"sslmode": server.sslmode} if server.sslmode else {}
        pairs |= dict(sorted(server.options.items()))
        text = " ".join(f"{name}={_quoted(value)}" for name, value in pairs.items())
        return cls(text, secret, pairs)

    def __str__(self) -> str:
        return f"{self.text} password={self.secret}" if self.secret else self.text

    def hashed(self, secret: Secret | None) -> str:
        """SHA-256 in hex of all settings by name, as the server is asked for it; the usual port is not among them."""
        pairs = {**self.pairs, **({"password": secret.reveal()} if secret else {})}
        words = (f"{name}={_quoted(pairs[name])}" for name in sorted(pairs) if (name, pairs[name]) != _USUAL)
        return hashlib.sha256(" ".join(words).encode()).hexdigest()

    def place(self) -> str | SecretText:
        """For a statement: the literal, or a place for it."""
        return SecretText(self.secret, before=self._before, conninfo=True) if self.secret else literal(self.text)

    @property
    def _before(self) -> str:
        return f"{self.text} password="


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
