"""Saved plans: what `apply FILE` reads back. A plan file decides nothing: it only says which digests are meant."""

from __future__ import annotations

from pathlib import Path

from pgvillage.core.errors import PgVillageError
from pgvillage.report.json import SavedPlan, read_saved_plan
from pgvillage.usecases.estate import Scope

_MAX_BYTES = 256 << 20


def read_plan_file(path: Path) -> SavedPlan:
    """Raises PgVillageError for a file that can't be read or is no plan."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise PgVillageError(f"{path} is larger than any plan")
        return read_saved_plan(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise PgVillageError(f"cannot read the plan {path}: {reason}") from None


def scope_of_saved(plan: SavedPlan) -> Scope:
    """The same revision and targets again; a dirty tree has none to go back to, so its content must still be there."""
    targets, exclude, labels = [], [], {}
    for word in plan.scope:
        option, _, value = word.partition(" ")
        if option == "-t":
            targets.append(value)
        elif option == "--exclude":
            exclude.append(value)
        elif option == "--selector":
            key, _, label = value.partition("=")
            labels[key] = label
    return Scope(tuple(targets), tuple(exclude), labels or None, None if plan.dirty else plan.revision)
