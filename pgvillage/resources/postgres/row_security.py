"""Kind row-security: whether a table's rows are seen through policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Impact, Resource, Risk
from pgvillage.core.plan import Unread
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.qualified_name import join_name, split_name
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.existing import missing_relations
from pgvillage.resources.postgres.rights import table_out_of_reach
from pgvillage.resources.postgres.sql import qualified, step

ORDER = 76  # after the policies: a table without any shows nothing to anybody

_SQL = """
SELECT n.nspname, c.relname, c.relrowsecurity, c.relforcerowsecurity
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND (c.relrowsecurity OR c.relforcerowsecurity
       OR (n.nspname, c.relname) IN (
         SELECT * FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.name[]), pg_catalog.unnest(%s::pg_catalog.name[]))))
"""


@dataclass(frozen=True, slots=True)
class RowSecurityState(State):
    enabled: bool = False
    forced: bool = False


class RowSecurity(Kind):
    name = "row-security"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for database in view.databases:
            for index, spec in enumerate(database.spec.row_security if database.spec.ensure == "present" else ()):
                state = RowSecurityState(spec.enabled, spec.forced)
                address = Address(view.name, self.name, (database.name, *split_name(spec.table)))
                yield Resource(address, state, database.source("rowSecurity", index), wish=state)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        tables = sorted({r.address.name[1:] for r in self.expand(view)})
        if tables or view.survey:
            names = ([t[0] for t in tables], [t[1] for t in tables])
            yield Query(self.name, _SQL, each_database=True, parameters=names)

    def parse(self, live: Live) -> Parsed:
        return Parsed(
            {
                Address(live.target, self.name, (database, schema, table)): RowSecurityState(enabled, forced)
                for database, rows in live.by_database.items()
                for schema, table, enabled, forced in rows.get(self.name, ())
            }
        )

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        yield Unread(self.name, (database,), reason)

    def waits_for(self, change: Change, others: Mapping[Address, Change]) -> Iterable[Address]:
        """Its policies first: if one of them is held, switching on would shut everybody out."""
        for address, other in others.items():
            if address.kind == "policy" and address.name[:3] == change.address.name and _leaves(other):
                yield address

    def judge(self, change: Change, context: Context) -> Judgement:
        """On takes rows from people; off shows them to people. Neither may ever pass as harmless."""
        name = ".".join(change.address.name[1:])
        impact = Impact(lock=f"ACCESS EXCLUSIVE on {name}")
        refused = ""
        if change.action is Action.CREATE:
            refused = missing_relations(change.address, [join_name(*change.address.name[1:])], (), context)
            refused = refused or "row security is for tables, and this is none"
        database, schema, table = change.address.name
        refused = refused or table_out_of_reach(database, schema, table, context)
        return Judgement(Risk.ACCESS, impact, refused=refused)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            database, *table = change.address.name
            after, names = change.after, {f.name for f in change.fields}
            assert isinstance(after, RowSecurityState)
            words = []
            if "forced" in names:
                words.append("FORCE" if after.forced else "NO FORCE")
            if "enabled" in names:
                words.append("ENABLE" if after.enabled else "DISABLE")
            text = ", ".join(f"{word} ROW LEVEL SECURITY" for word in words)
            yield step(change.address, f"ALTER TABLE {qualified(*table)} {text}", database=database)


KIND = RowSecurity()


def _leaves(change: Change) -> bool:
    return change.action is not Action.DELETE
