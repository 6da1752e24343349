"""A connection string of libpq whose password is a secret's name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pgvillage.core.secret import Secret, SecretRef
from pgvillage.core.step import SecretText
from pgvillage.estate.manifest.replication import SubscribedServer
from pgvillage.resources.postgres.sql import literal


@dataclass(frozen=True, slots=True)
class ConnInfo:
    """`text` is all of it but the password, which comes last."""

    text: str
    secret: SecretRef | None

    @classmethod
    def of(cls, server: SubscribedServer, secret: SecretRef | None) -> ConnInfo:
        pairs = {"host": server.host, "port": str(server.port), "dbname": server.database, "user": server.user}
        pairs |= {"sslmode": server.sslmode} if server.sslmode else {}
        pairs |= dict(sorted(server.options.items()))
        text = " ".join(f"{name}={_quoted(value)}" for name, value in pairs.items())
        return cls(text, secret)

    def __str__(self) -> str:
        return f"{self.text} password={self.secret}" if self.secret else self.text

    def hashed(self, secret: Secret | None) -> str:
        """SHA-256 of what the server keeps, in hex."""
        text = f"{self._before}{_quoted(secret.reveal())}" if secret else self.text
        return hashlib.sha256(text.encode()).hexdigest()

    def place(self) -> str | SecretText:
        """For a statement: the literal, or a place for it."""
        return SecretText(self.secret, before=self._before, conninfo=True) if self.secret else literal(self.text)

    @property
    def _before(self) -> str:
        return f"{self.text} password="


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
