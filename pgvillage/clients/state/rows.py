"""Records to rows and back, by their fields' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import RowMapping

Record = TypeVar("Record")


def as_row(record: Any, *without: str) -> dict[str, Any]:
    """What JSON has no tuple or mapping for becomes list and dict; `id` 0 is one the database gives."""
    row = {f.name: _plain(getattr(record, f.name)) for f in fields(record) if f.name not in without}
    if row.get("id") == 0:
        del row["id"]
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def as_record(kind: type[Record], row: RowMapping) -> Record:
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in row.items() if name in names})
