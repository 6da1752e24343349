"""Kind server: foreign servers with wrapper, version, owner, options and comment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Live, Parsed, Query
from pgvillage.estate.manifest.foreign import ForeignServerSpec
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import comment_steps, filled_in
from pgvillage.resources.postgres.database_object import DatabaseObject
from pgvillage.resources.postgres.foreign_data_wrapper import WrapperState
from pgvillage.resources.postgres.options import (
    changes_option,
    new_options,
    option_fields,
    parse_options,
    plain_option_changes,
)
from pgvillage.resources.postgres.privilege_inventory import entries_of
from pgvillage.resources.postgres.rights import cannot_become, lesser, not_ours
from pgvillage.resources.postgres.sql import PUBLIC, ident, literal, step

ORDER = 54

_SQL = """
SELECT s.srvname, w.fdwname, s.srvtype, s.srvversion, o.rolname, s.srvoptions, d.description, e.extname
FROM pg_catalog.pg_foreign_server s
JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
LEFT JOIN pg_catalog.pg_roles o ON o.oid = s.srvowner
LEFT JOIN pg_catalog.pg_description d ON d.objoid = s.oid AND d.objsubid = 0
       AND d.classoid = 'pg_catalog.pg_foreign_server'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_depend p ON p.objid = w.oid AND p.deptype = 'e'
       AND p.classid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass
       AND p.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_extension e ON e.oid = p.refobjid
"""


@dataclass(frozen=True, slots=True)
class ServerState(State):
    """`extension` is the one that brought its wrapper."""

    CONTEXT: ClassVar[frozenset[str]] = frozenset({"extension", "options"})

    wrapper: str | None = None
    type: str | Unmanaged | None = None
    version: str | Unmanaged | None = None
    owner: str | Unmanaged | None = None
    comment: str | Unmanaged | None = None
    options: Mapping[str, str] | Unmanaged | None = None
    extension: str | None = None

    def as_fields(self) -> Mapping[str, Any]:
        # Named, since super() does not work in a class with slots.
        return {**State.as_fields(self), **option_fields(self.options)}


class Server(DatabaseObject):
    name = "server"
    listed = "foreign_servers"

    def wish(self, spec: ForeignServerSpec) -> ServerState:
        return _wish(spec)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if view.survey or any(d.spec.foreign_data_wrappers or d.spec.foreign_servers for d in view.databases):
            yield Query("server", _SQL, each_database=True)

    def parse(self, live: Live) -> Parsed:
        return Parsed(
            {
                Address(live.target, self.name, (database, row[0])): _live(row)
                for database, rows in live.by_database.items()
                for row in rows.get("server", ())
            }
        )

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        return {a: r.with_state(_settle(r.state, context.snapshot.live.get(a))) for a, r in desired.items()}, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        database = address.name[:1]
        yield Address(address.target, "database", database)
        if not isinstance(state, ServerState):
            return
        if state.wrapper is not None:
            yield Address(address.target, "foreign-data-wrapper", (*database, state.wrapper))
        if state.extension is not None:
            yield Address(address.target, "extension", (*database, state.extension))
        if isinstance(state.owner, str):
            yield Address(address.target, "role", (state.owner,))

    def waits_for(self, change: Change, others: Mapping[Address, Change]) -> Iterable[Address]:
        """A wrapper that nobody declares comes with an extension: of its name, else with any of this database."""
        after, database = change.after, change.address.name[0]
        if change.action is not Action.CREATE or not isinstance(after, ServerState) or after.wrapper is None:
            return
        wrapper = Address(change.address.target, "foreign-data-wrapper", (database, after.wrapper))
        coming = [a for a, c in others.items() if _brings(a, c, database)]
        if wrapper not in others:
            yield from [a for a in coming if a.name[1] == after.wrapper] or coming

    def judge(self, change: Change, context: Context) -> Judgement:
        if change.action is Action.DELETE:
            return Judgement(Risk.DROP, drops=1, refused=not_ours(change, context))
        if change.action is Action.CREATE:
            return Judgement(Risk.ADDITIVE, refused=_no_wrapper(change, context) or _no_usage(change, context))
        fixed = [f for f in change.fields if f.name in ("wrapper", "type")]
        refused = ""
        if fixed:
            refused = (
                f"{fixed[0].name} can't be changed in place ({fixed[0].before} -> {fixed[0].after}): drop the server "
                "with its foreign tables (`ensure: absent`) and declare it again, or correct the manifest"
            )
        return Judgement(Risk.CHANGE, refused=refused or not_ours(change, context))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            yield from _steps(change)


KIND = Server()


def _wish(spec: ForeignServerSpec) -> ServerState:
    return ServerState(
        wrapper=spec.wrapper,
        type=UNMANAGED if spec.type is None else spec.type,
        version=UNMANAGED if spec.version is None else spec.version,
        owner=UNMANAGED if spec.owner is None else spec.owner,
        comment=UNMANAGED if spec.comment is None else spec.comment,
        options=UNMANAGED if spec.options is None else dict(spec.options),
    )


def _live(row: Sequence[Any]) -> ServerState:
    _, wrapper, kind, version, owner, options, comment, extension = row
    return ServerState(wrapper, kind, version, owner, comment, parse_options(options), extension)


def _settle(wish: State | None, live: State | None) -> State | None:
    if not isinstance(wish, ServerState):
        return wish
    return replace(filled_in(wish, live), extension=live.extension if isinstance(live, ServerState) else None)


def _no_usage(change: Change, context: Context) -> str:
    """Making a server takes USAGE on its wrapper, which belongs to a superuser."""
    me, after = lesser(context), change.after
    database = change.address.name[0]
    if me is None or not isinstance(after, ServerState) or after.wrapper is None:
        return ""
    for role in (*sorted(me.acts_as), me.role, PUBLIC):
        held = context.snapshot.live.get(change.address._replace(kind="privilege", name=_usage_of(database, role)))
        if any(after.wrapper in names for names in entries_of(held).values()):
            return cannot_become(str(after.owner), context) if isinstance(after.owner, str) else ""
    wrapper = quote_part(after.wrapper)
    return f"needs USAGE on foreign-data wrapper {wrapper}: GRANT USAGE ON FOREIGN DATA WRAPPER … TO {me.role}"


def _usage_of(database: str, role: str) -> tuple[str, ...]:
    return ("foreignDataWrapper", database, role)


def _brings(address: Address, change: Change, database: str) -> bool:
    return address.kind == "extension" and address.name[0] == database and change.action is Action.CREATE


def _no_wrapper(change: Change, context: Context) -> str:
    """A wrapper that is not there, is not declared, and that no extension could bring."""
    after, database = change.after, change.address.name[0]
    assert isinstance(after, ServerState)
    wrapper = str(after.wrapper)
    live = context.snapshot.live
    specs = [d.spec for d in context.view.databases if d.name == database]
    declared = {w.name for spec in specs for w in spec.foreign_data_wrappers if w.ensure == "present"}
    extensions = [e if isinstance(e, str) else e.name for spec in specs for e in spec.extensions]
    coming = [e for e in extensions if Address(change.address.target, "extension", (database, e)) not in live]
    there = {a.name[1] for a, state in live.items() if isinstance(state, WrapperState) and a.name[0] == database}
    if wrapper in declared | there or coming:
        return ""
    found = f" (there is {', '.join(map(quote_part, sorted(there)))})" if there else ""
    return (
        f"there is no foreign-data wrapper {quote_part(wrapper)} in {quote_part(database)}{found}: declare the "
        "extension that brings it under `extensions`, or the wrapper under `foreignDataWrappers`"
    )


def _steps(change: Change) -> Iterable[Step]:
    database, bare = change.address.name
    name, after = f"SERVER {ident(bare)}", change.after
    if change.action is Action.DELETE:
        # No CASCADE: a server with foreign tables or other mappings stops here with PostgreSQL's own words.
        yield step(change.address, f"DROP {name}", database=database)
        return
    assert isinstance(after, ServerState)
    version = f" VERSION {literal(after.version)}" if isinstance(after.version, str) else ""
    changed = {f.name for f in change.fields}
    if change.action is Action.CREATE:
        kind = f" TYPE {literal(after.type)}" if isinstance(after.type, str) else ""
        text = f"CREATE {name}{kind}{version} FOREIGN DATA WRAPPER {ident(str(after.wrapper))}"
        options = after.options if isinstance(after.options, Mapping) else {}
        yield step(change.address, text, *new_options(options), database=database)
    elif "version" in changed or changes_option(change):
        text = f"ALTER {name}{version if 'version' in changed else ''}"
        yield step(change.address, text, *plain_option_changes(change), database=database)
    if "owner" in changed and isinstance(after.owner, str):
        yield step(change.address, f"ALTER {name} OWNER TO {ident(after.owner)}", database=database)
    yield from comment_steps(change, name, database)
