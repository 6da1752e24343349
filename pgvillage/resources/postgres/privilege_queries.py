"""What is asked of a server about access lists: only classes that authority or a grant covers, grouped by list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pgvillage.core.live import Query
from pgvillage.estate.view import ClusterView

_DATABASES = """
SELECT d.datname, o.rolname, d.datacl::text[]
FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles o ON o.oid = d.datdba
"""
_SCHEMAS = """
SELECT n.nspname, o.rolname, n.nspacl::text[]
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner
WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgvillage')
"""
# Objects with the same list come as one row: a thousand rows instead of a quarter of a million entries.
_RELATIONS = """
SELECT n.nspname, CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, o.rolname, c.relacl::text[],
       pg_catalog.array_agg(c.relname), i.initprivs::text[]
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = c.oid AND i.objsubid = 0 AND i.privtype = 'e'
     AND i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S') AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'pgvillage')
GROUP BY 1, 2, 3, c.relacl::text[], i.initprivs::text[]
"""
_OURS = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgvillage')"
_INIT = """LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = {0}.oid AND i.objsubid = 0 AND i.privtype = 'e'
     AND i.classoid = 'pg_catalog.{1}'::pg_catalog.regclass"""
_COLUMNS = """
SELECT 'column', n.nspname::text, o.rolname::text, a.attacl::text[],
       pg_catalog.array_agg(ARRAY[c.relname::text, a.attname::text]), i.initprivs::text[]
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = c.oid AND i.objsubid = a.attnum AND i.privtype = 'e'
     AND i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
WHERE {0} AND a.attnum > 0 AND NOT a.attisdropped AND {1}
GROUP BY 2, 3, 4, 6
"""
_OF_TABLES = """a.attacl IS NULL AND (n.nspname, c.relname) IN (
  SELECT * FROM ROWS FROM (pg_catalog.unnest(%s::name[]), pg_catalog.unnest(%s::name[])) AS named)"""
_FUNCTIONS = """
SELECT 'function', n.nspname::text, o.rolname::text, p.proacl::text[],
       pg_catalog.array_agg(pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.array_to_string(ARRAY(
         SELECT pg_catalog.format_type(t.id, NULL) FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY t(id, n)
         ORDER BY t.n), ', ') || ')'), i.initprivs::text[]
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_roles o ON o.oid = p.proowner
{0}
WHERE {1} AND {2}
GROUP BY 2, 3, 4, 6
"""
# Not the row types of tables, not arrays, not multiranges: these have no list of their own.
_TYPES = """
SELECT 'type', n.nspname::text, o.rolname::text, t.typacl::text[], pg_catalog.array_agg(t.typname::text),
       i.initprivs::text[]
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
JOIN pg_catalog.pg_roles o ON o.oid = t.typowner
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
{0}
WHERE {1} AND {2} AND t.typisdefined AND t.typtype IN ('b', 'c', 'd', 'e', 'r') AND t.typcategory <> 'A'
  AND (t.typrelid = 0 OR c.relkind = 'c')
GROUP BY 2, 3, 4, 6
"""
_PLAIN = """
SELECT '{0}', '', o.rolname::text, x.{1}acl::text[], pg_catalog.array_agg(x.{2}::text), i.initprivs::text[]
FROM pg_catalog.{3} x JOIN pg_catalog.pg_roles o ON o.oid = x.{1}owner
{4}
{5}
GROUP BY 3, 4, 6
"""
_TABLESPACES = """
SELECT 'tablespace', o.rolname::text, s.spcacl::text[], pg_catalog.array_agg(s.spcname::text)
FROM pg_catalog.pg_tablespace s JOIN pg_catalog.pg_roles o ON o.oid = s.spcowner GROUP BY 2, 3
"""
# Parameters have no owner: the superuser that initdb made stands for one.
_PARAMETERS = """
SELECT 'parameter', o.rolname::text, p.paracl::text[], pg_catalog.array_agg(p.parname)
FROM pg_catalog.pg_parameter_acl p JOIN pg_catalog.pg_roles o ON o.oid = 10 GROUP BY 2, 3
"""
PARAMETERS_SINCE = 15


@dataclass(slots=True)
class Demand:
    """What grants name: only of these must objects without a list of their own be looked at too."""

    classes: set[str] = field(default_factory=set)
    function_schemas: set[str] = field(default_factory=set)
    type_schemas: set[str] = field(default_factory=set)
    column_tables: set[tuple[str, str]] = field(default_factory=set)
    large_objects: set[int] = field(default_factory=set)


def demand_of(view: ClusterView) -> Demand:
    """What the manifests of a view ask for or are complete about."""
    found = Demand(set(view.authority.privileges))
    for document in view.role_documents:
        for grant in document.document.spec.privileges if document.document.spec.ensure == "present" else ():
            privileges = grant.grant if grant.grant is not None else view.profiles[grant.profile or ""]
            found.classes |= {c for c in _CLASSES if privileges.of(c)}
            if grant.columns:
                found.classes.add("column")
                found.column_tables |= {(s, t) for s in grant.schemas for t in grant.tables or ()}
            found.function_schemas |= set(grant.schemas) if privileges.of("function") else set()
            found.type_schemas |= set(grant.schemas) if privileges.of("type") else set()
            found.large_objects |= set(grant.large_objects or ())
    for public in (d.spec.public for d in view.databases if d.spec.public is not None):
        found.function_schemas |= set(public.functions)
        found.type_schemas |= set(public.types)
        found.classes |= {"language"} if public.languages else set()
        found.classes |= {"table"} if public.tables else set()
        found.classes |= {"sequence"} if public.sequences else set()
    found.classes |= {"function"} if found.function_schemas else set()
    found.classes |= {"type"} if found.type_schemas else set()
    return found


_CLASSES = (
    "table", "sequence", "function", "type", "language", "foreignDataWrapper", "foreignServer", "largeObject",
    "tablespace", "parameter",
)  # fmt: skip


def privilege_queries(view: ClusterView, major: int) -> Iterator[Query]:
    """Two questions of the whole cluster, three of each database."""
    demand = demand_of(view)
    if view.survey:
        demand.classes |= set(_CLASSES) | {"column"}
    yield Query("database_acl", _DATABASES)
    shared = [_TABLESPACES] if "tablespace" in demand.classes else []
    shared += [_PARAMETERS] if "parameter" in demand.classes and major >= PARAMETERS_SINCE else []
    if shared:
        yield Query("cluster_acl", " UNION ALL ".join(shared))
    yield Query("schema_acl", _SCHEMAS, each_database=True)
    # a column belongs to a table, which has to be known to be there
    if demand.classes & {"table", "sequence", "column"}:
        yield Query("relation_acl", _RELATIONS, each_database=True)
    if small := list(_small(demand, survey=view.survey)):
        text = " UNION ALL ".join(text for text, _ in small)
        yield Query("object_acl", text, True, tuple(p for _, parameters in small for p in parameters))


def _small(demand: Demand, *, survey: bool) -> Iterator[tuple[str, tuple[object, ...]]]:
    """The classes with few lists of their own."""
    if "column" in demand.classes:
        yield _COLUMNS.format("a.attacl IS NOT NULL", _OURS), ()
        if demand.column_tables:
            schemas, tables = zip(*sorted(demand.column_tables), strict=True)
            yield _COLUMNS.format(_OF_TABLES, _OURS), (list(schemas), list(tables))
    for object_class, text, acl, letter, catalog, wanted_in in (
        ("function", _FUNCTIONS, "p.proacl", "p", "pg_proc", demand.function_schemas),
        ("type", _TYPES, "t.typacl", "t", "pg_type", demand.type_schemas),
    ):
        if object_class in demand.classes:
            wanted = "true" if survey else f"({acl} IS NOT NULL OR n.nspname = ANY (%s::name[]))"
            yield text.format(_INIT.format(letter, catalog), _OURS, wanted), () if survey else (sorted(wanted_in),)
    yield from _plain(demand)


def _plain(demand: Demand) -> Iterator[tuple[str, tuple[object, ...]]]:
    for object_class, prefix, name, catalog, where in (
        ("language", "lan", "lanname", "pg_language", "WHERE x.lanpltrusted"),
        ("foreignDataWrapper", "fdw", "fdwname", "pg_foreign_data_wrapper", ""),
        ("foreignServer", "srv", "srvname", "pg_foreign_server", ""),
    ):
        if object_class in demand.classes:
            yield _PLAIN.format(object_class, prefix, name, catalog, _INIT.format("x", catalog), where), ()
    if "largeObject" in demand.classes:
        # there can be millions of them without a list
        where = "WHERE x.lomacl IS NOT NULL OR x.oid = ANY (%s::oid[])"
        text = _PLAIN.format(
            "largeObject", "lom", "oid", "pg_largeobject_metadata", _INIT.format("x", "pg_largeobject"), where
        )
        yield text, (sorted(demand.large_objects),)
