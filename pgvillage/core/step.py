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
class NoteStep:
    """Nothing to send: the rows of the ledger that are written with it are all there is to do."""

    addresses: tuple[Address, ...]
    text: str
    database: None = None
    transactional: bool = True
    secret: bool = False

    def __str__(self) -> str:
        return self.text


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


@dataclass(frozen=True, slots=True)
class RestartStep:
    """A restart of one node's PostgreSQL by its engine; the writer looks at the others first, and waits until it is
    back, and well, before it goes on. `pending` are the parameters that it is done for.
    """

    addresses: tuple[Address, ...]
    node: str
    pending: tuple[str, ...] = ()
    database: None = None
    transactional: bool = False
    secret: bool = False

    def __str__(self) -> str:
        return f"restart {self.node}" + (f" ({', '.join(self.pending)})" if self.pending else "")


@dataclass(frozen=True, slots=True)
class SwitchoverStep:
    """The primary hands over, so that its restart is one of a standby; `to` None: the engine chooses."""

    addresses: tuple[Address, ...]
    leader: str
    to: str | None = None
    database: None = None
    transactional: bool = False
    secret: bool = False

    def __str__(self) -> str:
        return f"switchover from {self.leader}" + (f" to {self.to}" if self.to else "")


@dataclass(frozen=True, slots=True)
class SettledStep:
    """Wait until every standby's pg_controldata shows these values of the primary (name, value)."""

    addresses: tuple[Address, ...]
    values: tuple[tuple[str, str], ...]
    database: None = None
    transactional: bool = False
    secret: bool = False

    def __str__(self) -> str:
        return f"wait until every standby knows {', '.join(f'{name} = {value}' for name, value in self.values)}"


EngineStep = PatchStep | RestartStep | SwitchoverStep | SettledStep
Step = SqlStep | NoteStep | EngineStep
