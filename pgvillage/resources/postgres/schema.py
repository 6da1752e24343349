"""Kind schema: schemas with owner and comment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Live, Parsed, Query
from pgvillage.estate.manifest.database import SchemaSpec
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import comment_steps, filled_in
from pgvillage.resources.postgres.database_object import DatabaseObject
from pgvillage.resources.postgres.rights import not_ours
from pgvillage.resources.postgres.sql import ident, step

ORDER = 40

_SQL = """
SELECT n.nspname, o.rolname, d.description
FROM pg_catalog.pg_namespace n
LEFT JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner
LEFT JOIN pg_catalog.pg_description d
       ON d.objoid = n.oid AND d.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.objsubid = 0
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


@dataclass(frozen=True, slots=True)
class SchemaState(State):
    owner: str | Unmanaged | None = None
    comment: str | Unmanaged | None = None


class Schema(DatabaseObject):
    name = "schema"
    listed = "schemas"

    def wish(self, spec: SchemaSpec) -> SchemaState:
        return SchemaState(
            UNMANAGED if spec.owner is None else spec.owner,
            UNMANAGED if spec.comment is None else spec.comment,
        )

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        yield Query("schema", _SQL, each_database=True)

    def parse(self, live: Live) -> Parsed:
        return Parsed(
            {
                Address(live.target, self.name, (database, name)): SchemaState(owner, comment)
                for database, rows in live.by_database.items()
                for name, owner, comment in rows["schema"]
            }
        )

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        resolved = {a: r.with_state(_settle(r.state, context.snapshot.live.get(a))) for a, r in desired.items()}
        for address, resource in resolved.items():
            if resource.state == SchemaState() and _comes_along(address, context):
                resolved[address] = resource.with_state(None)
        return resolved, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        yield Address(address.target, "database", address.name[:1])
        if isinstance(state, SchemaState) and isinstance(state.owner, str):
            yield Address(address.target, "role", (state.owner,))

    def judge(self, change: Change, context: Context) -> Judgement:
        if change.action is Action.CREATE:
            return Judgement(Risk.ADDITIVE, refused=not_ours(change, context))
        if change.action is Action.DELETE:
            refused = f"{quote_part(change.address.name[1])} is protected" if change.address.name[1] == "public" else ""
            return Judgement(Risk.DROP, drops=1, refused=refused or not_ours(change, context))
        return Judgement(Risk.CHANGE, refused=not_ours(change, context))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            database, bare = change.address.name
            name, after = ident(bare), change.after
            if change.action is Action.DELETE:
                # No CASCADE: a schema that still holds something stops here with PostgreSQL's own words.
                yield step(change.address, f"DROP SCHEMA {name}", database=database)
                continue
            assert isinstance(after, SchemaState)
            names = {f.name for f in change.fields}
            if change.action is Action.CREATE and not _comes_along(change.address, context):
                owner = f" AUTHORIZATION {ident(after.owner)}" if isinstance(after.owner, str) else ""
                yield step(change.address, f"CREATE SCHEMA {name}{owner}", database=database)
            elif "owner" in names and isinstance(after.owner, str):
                yield step(change.address, f"ALTER SCHEMA {name} OWNER TO {ident(after.owner)}", database=database)
            yield from comment_steps(change, f"SCHEMA {name}", database)


KIND = Schema()


def _comes_along(address: Address, context: Context) -> bool:
    """A new database brings `public` along from its template."""
    database = Address(address.target, "database", address.name[:1])
    return address.name[1] == "public" and database not in context.snapshot.live


def _settle(wish: State | None, live: State | None) -> State | None:
    if not isinstance(wish, SchemaState):
        return wish
    return filled_in(wish, live)
