"""The ledger: what PgVillage remembers in each target about what it applied there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from pgvillage.core.address import Address


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What was last applied at an address.

    `made` tells what we created from what we adopted; only what we made may be dropped without being told to.
    `directory` names the directory that asked for it; `disabled_since` starts a leaver's clock. A wish that policy held
    back is remembered too (HELD before it), so that it stays drift and does not pass as new at the next look.
    """

    HELD: ClassVar[str] = "held:"

    wish: str
    made: bool
    revision: str = ""
    directory: str = ""
    disabled_since: datetime | None = None
    drop_after_days: int | None = None
    heir: str | None = None

    @property
    def applied(self) -> bool:
        return not self.wish.startswith(self.HELD)


@dataclass(frozen=True, slots=True)
class Ledger:
    """`usable` is False when there is none, it may not be read, or it belongs to another system."""

    usable: bool = False
    why_not: str = "no ledger yet"
    revision: str = ""
    entries: Mapping[Address, LedgerEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerUpdate:
    """Rows to write with the steps they record; None removes the row."""

    rows: Mapping[Address, LedgerEntry | None]
    revision: str
