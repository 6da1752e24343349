"""Records to rows and back, by their fields' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Record = TypeVar("Record")


def as_row(record: Any, *without: str) -> dict[str, Any]:
    """What JSON has no tuple or mapping for becomes list and dict; `id` 0 is one the database gives."""
    row = {f.name: _plain(getattr(record, f.name)) for f in fields(record) if f.name not in without}
    if row.get("id") == 0:
        del row["id"]
    return row


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each row as it is given, whether there was one with its key or not."""
    if not rows:
        return
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = make(table)
    keys = [column.name for column in table.primary_key]
    given = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=given), list(rows))


def insert_new(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """False, and nothing is changed, where there is one with its key: an error would count as the database's fault."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # psycopg's cursor is closed after an INSERT, and its count gone with it, unless told otherwise.
    counted = make(table).values(row).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return connection.execute(counted).rowcount == 1


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        # PostgreSQL's text has neither; whoever sent them gets no history with a hole for it
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def as_record(kind: type[Record], row: Mapping[Any, Any]) -> Record:
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in row.items() if name in names})
