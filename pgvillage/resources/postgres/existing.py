"""What manifests name inside a database and PgVillage does not make: found out before an apply stops there."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable

from pgvillage.core.address import Address, quote_part
from pgvillage.engine.kind import Context
from pgvillage.estate.manifest.qualified_name import join_name, split_name
from pgvillage.resources.postgres.privilege_inventory import Inventory


def missing_relations(address: Address, tables: Iterable[str], schemas: Iterable[str], context: Context) -> str:
    """The first table or schema that is not there, in words; empty when all are. A declared schema will be."""
    database = address.name[0]
    there = context.once(_tables).get(database, frozenset())
    for table in tables:
        if table not in there:
            schema, name = (quote_part(part) for part in split_name(table))
            return f"table {schema}.{name} does not exist (yet): it comes with the application{near(table, there, str)}"
    known = _inventory(context).schemas.get(database, frozenset()) | _declared(database, context)
    for schema in schemas:
        if schema not in known:
            return f"schema {quote_part(schema)} does not exist and none is declared{near(schema, known)}"
    return ""


def _inventory(context: Context) -> Inventory:
    inventory = context.snapshot.inventory.get("privilege")
    assert isinstance(inventory, Inventory)
    return inventory


def _tables(context: Context) -> dict[str, frozenset[str]]:
    """Tables and views by database, as schema.name; there may be tens of thousands, and each policy asks."""
    found: dict[str, set[str]] = defaultdict(set)
    for (object_class, database, schema), names in _inventory(context).names.items():
        if object_class == "table":
            found[database].update(join_name(schema, name) for name in names)
    return {database: frozenset(names) for database, names in found.items()}


def near(name: str, known: Iterable[str], shown: Callable[[str], str] = quote_part) -> str:
    """`; did you mean X?`, or nothing. Names of several parts are `shown` as they are."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {shown(found[0])}?" if found else ""


def _declared(database: str, context: Context) -> set[str]:
    return {
        schema.name
        for each in context.view.databases
        if each.name == database
        for schema in each.spec.schemas
        if schema.ensure == "present"
    }
