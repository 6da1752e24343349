"""One object on a live server: what is asked about it and its surroundings, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pgvillage.access.named_object import Named, found_named, named_query
from pgvillage.access.question import Question, nearest, words_of
from pgvillage.access.roles import RoleFacts, Roles, roles_of
from pgvillage.access.ways import Listed
from pgvillage.core.address import quote_part
from pgvillage.core.errors import UsageError
from pgvillage.core.live import Capabilities, Live, Query
from pgvillage.resources.postgres.acl import ALL, WITH_GRANT_OPTION
from pgvillage.resources.postgres.signature import Signatures, parse_signature

# to_char() would show infinity as a date of its own
ROLES = """
SELECT r.rolname::text, r.rolcanlogin, r.rolsuper, r.rolinherit, r.rolbypassrls,
       CASE WHEN pg_catalog.isfinite(r.rolvaliduntil)
            THEN pg_catalog.to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END
FROM pg_catalog.pg_roles r
"""
_MEMBERSHIPS = """
SELECT g.rolname::text, m.rolname::text, bool_or(a.admin_option), {0}
FROM pg_catalog.pg_auth_members a
JOIN pg_catalog.pg_roles g ON g.oid = a.roleid
JOIN pg_catalog.pg_roles m ON m.oid = a.member
GROUP BY 1, 2
"""
_DATABASES = """
SELECT d.datname::text, o.rolname::text,
       coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))::text[], d.datallowconn
FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles o ON o.oid = d.datdba
"""
_SCHEMAS = """
SELECT n.nspname::text, o.rolname::text, coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))::text[]
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner
"""
_RELATION = """
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, c.relname::text, o.rolname::text,
       coalesce(c.relacl, pg_catalog.acldefault(
         CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))::text[],
       c.relrowsecurity, c.relforcerowsecurity,
       (SELECT count(*) FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
       n.nspname = 'pg_catalog' AND c.relkind <> 'v'
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S')
UNION ALL
SELECT 'type', t.typname::text, o.rolname::text,
       coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))::text[], false, false, 0, false
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
JOIN pg_catalog.pg_roles o ON o.oid = t.typowner
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE n.nspname = %s AND t.typname = %s AND t.typcategory <> 'A' AND (t.typrelid = 0 OR c.relkind = 'c')
"""
_COLUMNS = """
SELECT a.attname::text, a.attacl::text[]
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_FUNCTIONS = """
SELECT pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.array_to_string(ARRAY(
         SELECT pg_catalog.format_type(t.id, NULL) FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY t(id, n)
         ORDER BY t.n), ', ') || ')', o.rolname::text,
       coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))::text[]
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_roles o ON o.oid = p.proowner
WHERE n.nspname = %s AND p.proname = %s
"""
# Asked only when a name is not there, for what it may have meant.
_NEIGHBOURS = """
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname = %s OR c.relname = %s) AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S')
ORDER BY 1, 2 LIMIT 20000
"""
_FUNCTION_NEIGHBOURS = """
SELECT n.nspname::text, pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.array_to_string(ARRAY(
         SELECT pg_catalog.format_type(t.id, NULL) FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY t(id, n)
         ORDER BY t.n), ', ') || ')'
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = %s OR p.proname = %s
ORDER BY 1, 2 LIMIT 20000
"""
_OPTIONS_SINCE = 16
_NOBODYS = Listed("database", "", ())


@dataclass(frozen=True, slots=True)
class LiveObject:
    """The object that a question is about, with its schema and database around it.

    `columns` are the lists of a table's columns that have one; `connectable` is False for a database that takes no
    sessions. What belongs to the whole cluster has no database. `notes` say what the list alone does not.
    """

    name: str
    listed: Listed
    roles: Roles
    database: Listed | None
    connectable: bool = True
    schema: Listed | None = None
    columns: Mapping[str, Listed] = field(default_factory=dict)
    row_security: bool = False
    forced: bool = False
    policies: int = 0
    notes: tuple[str, ...] = ()


def object_queries(question: Question, capabilities: Capabilities) -> Iterator[Query]:
    """Three questions of the cluster, and up to three of the database."""
    yield Query("access_role", ROLES)
    options = "bool_or(a.inherit_option), bool_or(a.set_option)"
    modern = capabilities.major >= _OPTIONS_SINCE
    yield Query("access_membership", _MEMBERSHIPS.format(options if modern else "NULL::boolean, NULL::boolean"))
    yield Query("access_database", _DATABASES)
    if question.outside_schemas:
        yield from named_query(question, capabilities)
        return
    if question.schema:
        yield Query("access_schema", _SCHEMAS, each_database=True)
    name = (question.schema, question.name)
    if question.signature:
        wanted = (question.schema, parse_signature(question.signature)[0])
        yield Query("access_function", _FUNCTIONS, each_database=True, parameters=wanted)
    elif question.name:
        yield Query("access_object", _RELATION, each_database=True, parameters=(*name, *name))
        yield Query("access_column", _COLUMNS, each_database=True, parameters=name)


def neighbour_queries(question: Question) -> Iterator[Query]:
    """What lies near a name that is not there."""
    if question.signature:
        bare = parse_signature(question.signature)[0]
        yield Query("access_neighbour", _FUNCTION_NEIGHBOURS, True, (question.schema, bare))
    else:
        yield Query("access_neighbour", _NEIGHBOURS, True, (question.schema, question.name))


class NotThere(UsageError):
    """A database, a schema, an object or a column of that name does not exist; `what` says which of these."""

    def __init__(self, what: str, message: str) -> None:
        self.what = what
        super().__init__(message)


def found_object(question: Question, live: Live, major: int) -> LiveObject:
    """Raises NotThere with the nearest that exist, ReadError's words for a database that could not be read."""
    roles = roles_of(
        (RoleFacts(*row) for row in live.rows["access_role"]), map(_membership, live.rows["access_membership"]), major
    )
    if question.outside_schemas and not question.inside:
        return _named(
            question, LiveObject(question.label, _NOBODYS, roles, None), live.rows["access_named"], live.target
        )
    databases = {row[0]: row for row in live.rows["access_database"]}
    if question.database not in databases:
        hint = nearest(question.database, databases)
        raise NotThere("database", f"{live.target}: no database {quote_part(question.database)}; {hint}")
    _, owner, acl, connectable = databases[question.database]
    database = Listed("database", owner, tuple(acl))
    roles = roles.in_database_of(owner)
    whole = LiveObject(question.label, database, roles, database, connectable)
    if not question.inside:
        return whole
    rows = live.by_database.get(question.database)
    if rows is None:
        why = live.failures.get(question.database, "it accepts no connections")
        raise UsageError(f"{live.target}: database {quote_part(question.database)} could not be read: {why}")
    if question.outside_schemas:
        return _named(question, whole, rows["access_named"], live.target)
    return _inside(question, whole, rows, live.target)


def _named(question: Question, whole: LiveObject, rows: Sequence[Any], target: str) -> LiveObject:
    """What no schema holds."""
    found = found_named(question, rows)
    if isinstance(found, Named):
        return replace(whole, listed=found.listed, notes=found.notes)
    where = f" in database {quote_part(question.database)}" if question.database else ""
    hint = "" if question.object_class == "largeObject" else f"; {nearest(question.name, found)}"
    what = f"no {words_of(question.object_class)} {quote_part(question.name)}{where}"
    raise NotThere("named", f"{target}: {what}{hint}")


def _membership(row: Sequence[Any]) -> tuple[str, str, bool, bool | None, bool | None]:
    return row[0], row[1], row[2], row[3], row[4]


def _inside(question: Question, whole: LiveObject, rows: Mapping[str, Any], target: str) -> LiveObject:
    schemas = {row[0]: row for row in rows["access_schema"]}
    if question.schema not in schemas:
        hint = nearest(question.schema, (n for n in schemas if not n.startswith(("pg_toast", "pg_temp"))))
        place = f"{target}: no schema {quote_part(question.schema)} in database {quote_part(question.database)}"
        raise NotThere("schema", f"{place}; {hint}")
    _, owner, acl = schemas[question.schema]
    schema = Listed("schema", owner, tuple(acl))
    whole = replace(whole, schema=schema, listed=schema)
    if question.signature:
        return replace(whole, **_function(question, rows["access_function"], target))
    if not question.name:
        return replace(whole, schema=None)
    object_class, _, owner, acl, secured, forced, policies, catalog = _chosen(question, rows["access_object"], target)
    columns = {
        # what protects system tables as a whole does not look at their columns' lists
        name: Listed("column", owner, tuple(own or ()))
        for name, own in (rows["access_column"] if object_class == "table" else ())
    }
    if question.column and question.column not in columns:
        there = nearest(question.column, columns) if object_class == "table" else f"it is a {object_class}"
        raise NotThere("column", f"{target}: no column {quote_part(question.column)} of {_table(question)}; {there}")
    return replace(
        whole,
        listed=Listed(object_class, owner, tuple(acl), catalog),
        columns=columns,
        row_security=secured,
        forced=forced,
        policies=policies,
    )


def _table(question: Question) -> str:
    return ".".join(map(quote_part, (question.database, question.schema, question.name)))


def _function(question: Question, rows: Sequence[Any], target: str) -> dict[str, Any]:
    by_text = {row[0]: row for row in rows}
    text = Signatures(by_text).find(question.signature)
    if text is None:
        near = f"; there is {', '.join(sorted(by_text))}" if by_text else ""
        what = "signature" if by_text else "function"
        raise NotThere(what, f"{target}: no function {question.label}{near}")
    _, owner, acl = by_text[text]
    name = ".".join([quote_part(question.database), quote_part(question.schema), text])
    return {"name": name, "listed": Listed("function", owner, tuple(acl))}


def _chosen(question: Question, rows: Sequence[Any], target: str) -> Sequence[Any]:
    """A type may have a table's name: the one that has such a privilege is meant."""
    said = question.object_class if not question.column else "table"
    if rows and said and said not in {row[0] for row in rows}:
        raise NotThere("column", f"{target}: {_table(question)} is a {rows[0][0]}, not a {said}")
    if said:
        rows = [row for row in rows if row[0] == said]
    if not rows:
        raise NotThere("object", f"{target}: no table, view, sequence or type {_table(question)}")
    bare = question.privilege.removesuffix(WITH_GRANT_OPTION)
    fitting = [row for row in rows if bare in ALL[row[0]]]
    first: Sequence[Any] = (fitting or sorted(rows, key=lambda row: row[0] == "type"))[0]
    return first


def hint_of(question: Question, live: Live) -> str:
    """What the neighbours suggest: the same name in another schema, or the nearest in this one."""
    rows = live.by_database.get(question.database, {}).get("access_neighbour", ())
    wanted = question.name or parse_signature(question.signature)[0]
    here = [name for schema, name in rows if schema == question.schema]
    elsewhere = [(schema, name) for schema, name in rows if schema != question.schema]
    if elsewhere:
        places = ", ".join(
            f"{quote_part(schema)}.{name if question.signature else quote_part(name)}" for schema, name in elsewhere[:3]
        )
        return f"schema {quote_part(question.schema)} has none, but there is {places}"
    return nearest(question.signature or wanted, here)
