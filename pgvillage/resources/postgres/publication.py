"""Kind publication: what a database offers to logical replication."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, Resource, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Live, Parsed, Query
from pgvillage.estate.manifest.qualified_name import join_name, split_name
from pgvillage.estate.manifest.replication import PublicationSpec, PublishedTable
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import comment_steps, filled_in, owned_by, owner_to
from pgvillage.resources.postgres.database_object import DatabaseObject
from pgvillage.resources.postgres.existing import missing_relations
from pgvillage.resources.postgres.expression import settled_expression
from pgvillage.resources.postgres.expression_tokens import expression_fault
from pgvillage.resources.postgres.publication_sql import alter_statements, create_statement
from pgvillage.resources.postgres.rights import lesser, not_ours, table_out_of_reach
from pgvillage.resources.postgres.sql import ident, step

ORDER = 80
FILTERS_SINCE = 15

_SQL = """
SELECT p.pubname, o.rolname, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot,
       d.description, r.tables, {schemas}
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_roles o ON o.oid = p.pubowner
LEFT JOIN pg_catalog.pg_description d
       ON d.objoid = p.oid AND d.classoid = 'pg_catalog.pg_publication'::pg_catalog.regclass
LEFT JOIN (SELECT r.prpubid,
                  pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname, {columns}, {filter})) AS tables
           FROM pg_catalog.pg_publication_rel r
           JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           GROUP BY r.prpubid) r ON r.prpubid = p.oid
"""
_BEFORE_15 = {"schemas": "NULL::pg_catalog.json", "columns": "NULL::pg_catalog.json", "filter": "NULL::text"}
_SINCE_15 = {
    "schemas": "(SELECT pg_catalog.json_agg(n.nspname) FROM pg_catalog.pg_publication_namespace s"
    " JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = p.oid)",
    "columns": "(SELECT pg_catalog.json_agg(a.attname) FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs::pg_catalog.int2[]))",
    "filter": "pg_catalog.pg_get_expr(r.prqual, r.prrelid)",
}
PUBLISHED = ("insert", "update", "delete", "truncate")


@dataclass(frozen=True, slots=True)
class PublicationState(State):
    """`tables` by their name of two parts: `columns`, sorted, and `where`, each where there is one."""

    owner: str | Unmanaged | None = None
    all_tables: bool = False
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    schemas: frozenset[str] = frozenset()
    publish: frozenset[str] = frozenset(PUBLISHED)
    via_root: bool = False
    comment: str | Unmanaged | None = None


class Publication(DatabaseObject):
    name = "publication"
    listed = "publications"

    def wish(self, spec: PublicationSpec) -> PublicationState:
        return _state(spec)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if self.is_declared(view):
            sql = _SQL.format(**_SINCE_15 if capabilities.major >= FILTERS_SINCE else _BEFORE_15)
            yield Query(self.name, sql, each_database=True)

    def parse(self, live: Live) -> Parsed:
        return Parsed(
            {
                Address(live.target, self.name, (database, row[0])): _live_state(*row[1:])
                for database, rows in live.by_database.items()
                for row in rows.get(self.name, ())
            }
        )

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        resolved: Desired = {}
        findings: list[Finding] = []
        for address, resource in desired.items():
            state = resource.state
            if isinstance(state, PublicationState):
                live = context.snapshot.live.get(address)
                state, found = _settled_filters(filled_in(state, live), live, resource, context)
                findings += found
            resolved[address] = resource.with_state(state)
        return resolved, findings

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, PublicationState):
            yield from owned_by(address, state.owner)
            for schema in {*state.schemas, *(split_name(table)[0] for table in state.tables)}:
                yield Address(address.target, "schema", (address.name[0], schema))

    def judge(self, change: Change, context: Context) -> Judgement:
        if change.action is Action.DELETE:
            return Judgement(Risk.DROP, drops=1, refused=not_ours(change, context))
        risk = Risk.ADDITIVE if change.action is Action.CREATE else Risk.CHANGE
        return Judgement(risk, refused=_refused(change, context) or _beyond_us(change, context))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            database, bare = change.address.name
            what, after = f"PUBLICATION {ident(bare)}", change.after
            if change.action is Action.DELETE:
                yield step(change.address, f"DROP {what}", database=database)
                continue
            assert isinstance(after, PublicationState)
            before = change.before if isinstance(change.before, PublicationState) else None
            statements = list(alter_statements(what, before, after)) if before else [create_statement(what, after)]
            names = {f.name for f in change.fields}
            if "owner" in names and isinstance(after.owner, str):
                statements.append(owner_to(what, after.owner))
            for text in statements:
                yield step(change.address, text, database=database)
            yield from comment_steps(change, what, database)


KIND = Publication()


def _state(spec: PublicationSpec) -> PublicationState:
    return PublicationState(
        owner=UNMANAGED if spec.owner is None else spec.owner,
        all_tables=spec.all_tables,
        tables=dict(sorted(_table(each) for each in spec.tables)),
        schemas=frozenset(spec.schemas),
        publish=frozenset(spec.publish),
        via_root=spec.via_root,
        comment=UNMANAGED if spec.comment is None else spec.comment,
    )


def _table(item: str | PublishedTable) -> tuple[str, dict[str, Any]]:
    if isinstance(item, str):
        return item, {}
    return item.table, _described(item.columns, item.where)


def _described(columns: Sequence[str] | None, where: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {} if columns is None else {"columns": tuple(sorted(set(columns)))}
    return found if where is None else {**found, "where": where}


def _live_state(owner: str, all_tables: bool, *rest: Any) -> PublicationState:
    *sent, via_root, comment, tables, schemas = rest
    return PublicationState(
        owner=owner,
        all_tables=all_tables,
        tables=dict(
            sorted((join_name(s, name), _described(columns, where)) for s, name, columns, where in tables or ())
        ),
        schemas=frozenset(schemas or ()),
        publish=frozenset(word for word, on in zip(PUBLISHED, sent, strict=True) if on),
        via_root=via_root,
        comment=comment,
    )


def _settled_filters(
    state: PublicationState, live: State | None, resource: Resource, context: Context
) -> tuple[PublicationState, list[Finding]]:
    """Row filters that say what the live ones say become those."""
    known = live.tables if isinstance(live, PublicationState) else {}
    tables, findings = {}, []
    for name, table in state.tables.items():
        what = f"the row filter of {name}"
        where, finding = settled_expression(
            table.get("where"), known.get(name, {}).get("where"), resource, context, what
        )
        tables[name] = _described(table.get("columns"), where)
        findings += [finding] if finding else []
    return replace(state, tables=tables), findings


def _beyond_us(change: Change, context: Context) -> str:
    before, after = change.before, change.after
    assert isinstance(after, PublicationState)
    old = before if isinstance(before, PublicationState) else PublicationState()
    if lesser(context) and (after.schemas - old.schemas or (after.all_tables and not old.all_tables)):
        return "only a superuser may publish all tables, or all of a schema: list the tables, or connect as one"
    lacking = not_ours(change, context)
    for schema, table in map(split_name, after.tables.keys() - old.tables.keys()):
        lacking = lacking or table_out_of_reach(change.address.name[0], schema, table, context)
    return lacking


def _refused(change: Change, context: Context) -> str:
    after, before = change.after, change.before
    assert isinstance(after, PublicationState)
    major = context.capabilities.major if context.capabilities else 0
    if major < FILTERS_SINCE:
        if after.schemas:
            return f"`schemas` in a publication need PostgreSQL {FILTERS_SINCE}, the server is {major}: list the tables"
        if filtered := next((name for name, table in after.tables.items() if table), None):
            return f"`columns` and `where` of {filtered} need PostgreSQL {FILTERS_SINCE}, the server is {major}"
    if isinstance(before, PublicationState) and before.all_tables != after.all_tables:
        now = "publishes all tables" if before.all_tables else "publishes a list of tables"
        return (
            f"publication {quote_part(change.address.name[1])} {now}, and PostgreSQL can't change that: drop it first "
            "(`ensure: absent`), make it anew, then refresh its subscriptions"
        )
    for name, table in after.tables.items():
        if fault := expression_fault(table.get("where", "true")):
            return f"the row filter of {name}: {fault}"
    return missing_relations(change.address, after.tables, after.schemas, context)
