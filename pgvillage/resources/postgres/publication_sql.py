"""The statements that make and change a publication."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pgvillage.estate.manifest.qualified_name import split_name
from pgvillage.resources.postgres.sql import ident, idents, literal, qualified

if TYPE_CHECKING:
    from pgvillage.resources.postgres.publication import PublicationState

_ORDER = ("insert", "update", "delete", "truncate")


def create_statement(what: str, state: PublicationState) -> str:
    target = "ALL TABLES" if state.all_tables else _listed(state.tables, state.schemas)
    return f"CREATE {what}{f' FOR {target}' if target else ''} WITH ({_options(state)})"


def alter_statements(what: str, before: PublicationState, after: PublicationState) -> Iterator[str]:
    """As little as does it: ADD and DROP, and the whole list only where a table's columns or filter change."""
    kept = before.tables.keys() & after.tables.keys()
    if any(before.tables[name] != after.tables[name] for name in kept):
        yield f"ALTER {what} SET {_listed(after.tables, after.schemas)}"
    else:
        gone: dict[str, dict[str, Any]] = {name: {} for name in before.tables if name not in after.tables}
        new = {name: table for name, table in after.tables.items() if name not in before.tables}
        if removed := _listed(gone, before.schemas - after.schemas):
            yield f"ALTER {what} DROP {removed}"
        if added := _listed(new, after.schemas - before.schemas):
            yield f"ALTER {what} ADD {added}"
    if (before.publish, before.via_root) != (after.publish, after.via_root):
        yield f"ALTER {what} SET ({_options(after)})"


def _options(state: PublicationState) -> str:
    words = ", ".join(word for word in _ORDER if word in state.publish)
    return f"publish = {literal(words)}, publish_via_partition_root = {'true' if state.via_root else 'false'}"


def _listed(tables: Mapping[str, Mapping[str, Any]], schemas: frozenset[str]) -> str:
    parts = []
    if tables:
        parts.append("TABLE " + ", ".join(_table(name, table) for name, table in tables.items()))
    if schemas:
        parts.append("TABLES IN SCHEMA " + idents(sorted(schemas)))
    return ", ".join(parts)


def _table(name: str, table: Mapping[str, Any]) -> str:
    columns = f" ({', '.join(map(ident, table['columns']))})" if "columns" in table else ""
    where = f" WHERE ({table['where']})" if "where" in table else ""
    return f"{qualified(*split_name(name))}{columns}{where}"
