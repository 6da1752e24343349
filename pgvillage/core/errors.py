"""Every error a user can meet, and the exit code each stands for.

PgVillageError                 1   something went wrong; the message says what to do
 ├── UsageError               64   a flag or argument that makes no sense
 ├── SettingsError             1   pgvillage.yaml is wrong
 ├── ManifestError             3   the estate is invalid; carries every diagnostic
 ├── SourceError               1   the estate repository could not be read
 ├── SecretError               1   a secret could not be resolved (never says its value)
 │    └── SecretMissing        1   its place was looked at and is empty
 ├── CredentialRefused         1   a credential would have gone to a host it is not meant for
 ├── StateError                1   the state database failed: history is lost for a while, correctness never
 ├── ReadError                 1   a live system could not be read; *unread is not absent*
 ├── StalePlan                 5   the target is no longer what was planned on
 ├── LockNotAcquired           7   somebody else is writing
 └── StepFailed                6   a step failed; what was done before it stays done
      └── PrimaryMoved         6   the primary was lost or another node leads: nothing half done, plan again
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class PgVillageError(Exception):
    """A failure whose message is written for a person: what, where, what to do next."""

    exit_code = 1


class UsageError(PgVillageError):
    exit_code = 64


class SettingsError(PgVillageError):
    pass


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault of one document: where, what was expected and found, what to do."""

    message: str
    position: Position | None = None
    path: str = ""
    excerpt: str = ""
    hint: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position else ""
        path = f"{self.path}: " if self.path else ""
        lines = [f"{where}{path}{self.message}"]
        if self.excerpt:
            lines.append(self.excerpt)
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class ManifestError(PgVillageError):
    """All faults of all files of one run, in file order."""

    exit_code = 3

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: Sequence[Diagnostic] = tuple(diagnostics)
        super().__init__("\n".join(str(d) for d in self.diagnostics))


class SourceError(PgVillageError):
    pass


class UnsignedError(SourceError):
    """A commit that nobody signed who counts."""


class SecretError(PgVillageError):
    pass


class SecretMissing(SecretError):
    pass


class CredentialRefused(PgVillageError):
    pass


class StateError(PgVillageError):
    """All that the state database raises. Whoever only writes history goes on after it, and says so."""


class ReadError(PgVillageError):
    def __init__(self, target: str, message: str) -> None:
        self.target = target
        super().__init__(f"{target}: {message}")


class PolicyRefusal(PgVillageError):
    exit_code = 4


class StalePlan(PgVillageError):
    exit_code = 5


class LockNotAcquired(PgVillageError):
    exit_code = 7


class StepFailed(PgVillageError):
    exit_code = 6


class PrimaryMoved(StepFailed):
    """A clean stop. `uncertain`: what was under way may have been done, as the answer to it was lost: look again."""

    def __init__(self, message: str, *, uncertain: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain
