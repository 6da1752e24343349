"""The ledger: what PgVillage remembers in each target about what it applied there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from pgvillage.core.address import Address
from pgvillage.core.secret import SecretRef
from pgvillage.core.status import Suspension


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What was last applied at an address.

    `made` tells what we created from what we adopted; only what we made may be dropped without being told to.
    `directory` names the directory that asked for it; `disabled_since` starts a leaver's clock. A wish that policy held
    back is remembered too (HELD before it), so that it stays drift and does not pass as new at the next look.
    `secret` is the mark of the password that was set last, "" for none.
    """

    HELD: ClassVar[str] = "held:"

    wish: str
    made: bool
    revision: str = ""
    directory: str = ""
    disabled_since: datetime | None = None
    drop_after_days: int | None = None
    heir: str | None = None
    secret: str = ""

    @property
    def applied(self) -> bool:
        return not self.wish.startswith(self.HELD)


@dataclass(frozen=True, slots=True)
class Ledger:
    """`usable` is False when there is none, it may not be read, or it belongs to another system.

    `renewable` is False for one that an apply will not begin anew: a later PgVillage wrote it. `fence` is the greatest
    of the replicas that wrote here (core/fence.py), 0 for none.
    """

    usable: bool = False
    why_not: str = "no ledger yet"
    revision: str = ""
    entries: Mapping[Address, LedgerEntry] = field(default_factory=dict)
    renewable: bool = True
    fence: int = 0
    suspension: Suspension | None = None


@dataclass(frozen=True, slots=True)
class LedgerUpdate:
    """Rows to write with the steps they record; None removes the row.

    `secrets` are those whose values the writer has to mark in these rows: it alone has them.
    """

    rows: Mapping[Address, LedgerEntry | None]
    revision: str
    secrets: Mapping[Address, SecretRef] = field(default_factory=dict)
