"""Kind database: databases with owner, limits and comment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, Resource, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.database import DatabaseFields
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.sql import ident, literal, step

ORDER = 30

_SQL = """
SELECT d.datname, o.rolname, d.datconnlimit, d.datallowconn, s.description,
       pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datistemplate
FROM pg_catalog.pg_database d
LEFT JOIN pg_catalog.pg_roles o ON o.oid = d.datdba
LEFT JOIN pg_catalog.pg_shdescription s
       ON s.objoid = d.oid AND s.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
"""
_FIXED = {"encoding": "ENCODING", "locale": "LOCALE", "template": "TEMPLATE"}


@dataclass(frozen=True, slots=True)
class DatabaseState(State):
    CONTEXT: ClassVar[frozenset[str]] = frozenset({"template", "is_template"})

    owner: str | Unmanaged | None = None
    connection_limit: int | Unmanaged = -1
    allow_connections: bool | Unmanaged = True
    comment: str | Unmanaged | None = None
    encoding: str | Unmanaged | None = None
    locale: str | Unmanaged | None = None
    template: str | None = None
    is_template: bool = False


_DEFAULTS = DatabaseState()
_FIELDS = ("owner", "connection_limit", "allow_connections", "comment", "encoding", "locale")


class Database(Kind):
    name = "database"

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for database in view.databases:
            state = _wish(database.spec) if database.spec.ensure == "present" else None
            address = Address(view.name, self.name, (database.name,))
            yield Resource(address, state, database.source(), wish=state)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        yield Query("database", _SQL)

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        for name, owner, limit, allow, comment, encoding, locale, is_template in live.rows["database"]:
            states[Address(live.target, self.name, (name,))] = DatabaseState(
                owner, limit, allow, comment, encoding, locale, None, is_template
            )
        return Parsed(states)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        return {a: r.with_state(_settle(r.state, context.snapshot.live.get(a))) for a, r in desired.items()}, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, DatabaseState) and isinstance(state.owner, str):
            yield Address(address.target, "role", (state.owner,))

    def weight(self, address: Address, state: State) -> int:
        return int(isinstance(state, DatabaseState) and state.allow_connections is True)

    def judge(self, change: Change, context: Context) -> Judgement:
        if change.action is Action.CREATE:
            return Judgement(Risk.ADDITIVE)
        name, before = change.address.name[0], change.before
        assert isinstance(before, DatabaseState)
        if change.action is Action.DELETE:
            ours = context.capabilities.maintenance if context.capabilities else "postgres"
            protected = before.is_template or name in ("postgres", ours)
            refused = f"{quote_part(name)} is protected: a template or maintenance database" if protected else ""
            return Judgement(Risk.LOSS, drops=1, refused=refused)
        fixed = [f for f in change.fields if f.name in _FIXED]
        if fixed:
            text = f"{fixed[0].name} can't be changed in place ({fixed[0].before} -> {fixed[0].after})"
            return Judgement(
                Risk.CHANGE, refused=f"{text}: dump, drop and restore the database, or correct the manifest"
            )
        shuts = any(f.name == "allow_connections" and f.before and not f.after for f in change.fields)
        return Judgement(Risk.ACCESS if shuts else Risk.CHANGE, revokes=int(shuts))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            name, after = ident(change.address.name[0]), change.after
            if change.action is Action.DELETE:
                yield step(change.address, f"DROP DATABASE {name}", transactional=False)
                continue
            assert isinstance(after, DatabaseState)
            names = {f.name for f in change.fields}
            if change.action is Action.CREATE:
                yield step(change.address, _create(name, after), transactional=False)
            elif "owner" in names and isinstance(after.owner, str):
                yield step(change.address, f"ALTER DATABASE {name} OWNER TO {ident(after.owner)}")
            if change.before is not None and "connection_limit" in names:
                yield step(change.address, f"ALTER DATABASE {name} CONNECTION LIMIT {after.connection_limit}")
            if "allow_connections" in names and (change.before is not None or not after.allow_connections):
                word = "true" if after.allow_connections else "false"
                yield step(change.address, f"ALTER DATABASE {name} ALLOW_CONNECTIONS {word}")
            if "comment" in names and (after.comment is not None or change.before is not None):
                text = "NULL" if after.comment is None else literal(str(after.comment))
                yield step(change.address, f"COMMENT ON DATABASE {name} IS {text}")


KIND = Database()


def _wish(spec: DatabaseFields) -> DatabaseState:
    return DatabaseState(
        owner=UNMANAGED if spec.owner is None else spec.owner,
        connection_limit=UNMANAGED if spec.connection_limit is None else spec.connection_limit,
        allow_connections=UNMANAGED if spec.allow_connections is None else spec.allow_connections,
        comment=UNMANAGED if spec.comment is None else spec.comment,
        encoding=UNMANAGED if spec.encoding is None else spec.encoding.upper().replace("UTF-8", "UTF8"),
        locale=UNMANAGED if spec.locale is None else spec.locale,
        template=spec.template,
    )


def _settle(wish: State | None, live: State | None) -> State | None:
    if not isinstance(wish, DatabaseState):
        return wish
    known = live if isinstance(live, DatabaseState) else _DEFAULTS
    unsaid = {name: getattr(known, name) for name in _FIELDS if getattr(wish, name) is UNMANAGED}
    return replace(wish, **unsaid, is_template=known.is_template)


def _create(name: str, state: DatabaseState) -> str:
    words = [f"CREATE DATABASE {name}"]
    if isinstance(state.owner, str):
        words.append(f"OWNER {ident(state.owner)}")
    template = state.template or ("template0" if state.encoding or state.locale else None)
    if template:
        words.append(f"TEMPLATE {ident(template)}")
    if isinstance(state.encoding, str):
        words.append(f"ENCODING {literal(state.encoding)}")
    if isinstance(state.locale, str):
        words.append(f"LOCALE {literal(state.locale)}")
    if state.connection_limit != -1:
        words.append(f"CONNECTION LIMIT {state.connection_limit}")
    return " ".join(words)
