"""Steps: what an apply does, in pieces that are safe to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.secret import SecretRef


@dataclass(frozen=True, slots=True)
class Verifier:
    """A place in a statement for the SCRAM verifier of a secret; the client alone fills it in."""

    secret: SecretRef
    role: str

    def __str__(self) -> str:
        return f"'<verifier of {self.secret}>'"


@dataclass(frozen=True, slots=True)
class SecretText:
    """A place for a literal that holds a secret in clear, where PostgreSQL takes nothing else (the password of a user
    mapping, the connection of a subscription); the client alone fills it in.

    `before` and `after` are what else the literal holds; with `conninfo` the secret is quoted as libpq's connection
    strings want it.
    """

    secret: SecretRef
    before: str = ""
    after: str = ""
    conninfo: bool = False

    def __str__(self) -> str:
        return f"'<text with {self.secret}>'"


SecretPlace = Verifier | SecretText


@dataclass(frozen=True, slots=True)
class SqlStep:
    """One statement. `database` None is the maintenance database; `text` may hold places for secrets.

    One that is for `everywhere` is run on every standby too; it must change nothing that is replicated. One that runs
    `alone` waits for all open transactions: the writer holds none meanwhile, not even the one that fences it.
    """

    addresses: tuple[Address, ...]
    text: tuple[str | SecretPlace, ...]
    database: str | None = None
    transactional: bool = True
    everywhere: bool = False
    alone: bool = False

    def __str__(self) -> str:
        return "".join(map(str, self.text))

    @property
    def secret(self) -> bool:
        return any(isinstance(piece, SecretPlace) for piece in self.text)


@dataclass(frozen=True, slots=True)
class PatchStep:
    """A merge patch to an engine's cluster specification, written by compare-and-swap."""

    addresses: tuple[Address, ...]
    patch: Mapping[str, Any] = field(default_factory=dict)
    database: None = None
    transactional: bool = True
    secret: bool = False

    def __str__(self) -> str:
        import json

        return json.dumps(self.patch, sort_keys=True, ensure_ascii=False)


Step = SqlStep | PatchStep
