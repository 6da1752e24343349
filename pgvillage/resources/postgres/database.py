"""Kind database: databases with owner, limits and comment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, FieldChange, Resource, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.database import DatabaseFields
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import comment_steps, filled_in
from pgvillage.resources.postgres.rights import not_ours
from pgvillage.resources.postgres.sql import ident, literal, step

ORDER = 30

_SQL = """
SELECT d.datname, o.rolname, d.datconnlimit, d.datallowconn, s.description,
       pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datistemplate, t.spcname, {provider}
FROM pg_catalog.pg_database d
LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = d.datdba
LEFT JOIN pg_catalog.pg_shdescription s
       ON s.objoid = d.oid AND s.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
"""
_FIXED = ("encoding", "locale", "locale_provider", "provider_locale", "tablespace")
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_SINCE = {"icu": 15, "builtin": 17}  # the first major versions that have them for a database


@dataclass(frozen=True, slots=True)
class DatabaseState(State):
    """`locale` is the C library's; `provider_locale` that of another `locale_provider`. None is not known yet."""

    CONTEXT: ClassVar[frozenset[str]] = frozenset({"template"})

    owner: str | Unmanaged | None = None
    connection_limit: int | Unmanaged = -1
    allow_connections: bool | Unmanaged = True
    comment: str | Unmanaged | None = None
    encoding: str | Unmanaged | None = None
    locale: str | Unmanaged | None = None
    template: str | None = None
    is_template: bool | Unmanaged | None = None
    tablespace: str | Unmanaged | None = None
    locale_provider: str | Unmanaged | None = None
    provider_locale: str | Unmanaged | None = None


class Database(Kind):
    name = "database"

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for database in view.databases:
            state = _wish(database.spec) if database.spec.ensure == "present" else None
            address = Address(view.name, self.name, (database.name,))
            yield Resource(address, state, database.source(), wish=state)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        # Before 15 there was no provider but the C library; 17 gave the locale of all others one name.
        major = capabilities.major
        locale = "d.datlocale" if major >= 17 else "d.daticulocale"
        yield Query("database", _SQL.format(provider=f"d.datlocprovider, {locale}" if major >= 15 else "'c', NULL"))

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        for name, *row, provider, provider_locale in live.rows["database"]:
            owner, limit, allow, comment, encoding, locale, is_template, tablespace = row
            word = _PROVIDERS.get(provider, provider)
            states[Address(live.target, self.name, (name,))] = DatabaseState(
                owner, limit, allow, comment, encoding, locale, None, is_template, tablespace, word, provider_locale
            )
        return Parsed(states)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        return {a: r.with_state(_settle(r.state, context.snapshot.live.get(a))) for a, r in desired.items()}, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, DatabaseState) and isinstance(state.owner, str):
            yield Address(address.target, "role", (state.owner,))
        if isinstance(state, DatabaseState) and isinstance(state.tablespace, str):
            yield Address(address.target, "tablespace", (state.tablespace,))

    def weight(self, address: Address, state: State) -> int:
        return int(isinstance(state, DatabaseState) and state.allow_connections is True)

    def judge(self, change: Change, context: Context) -> Judgement:
        if change.action is Action.CREATE:
            return Judgement(Risk.ADDITIVE, refused=_uncreatable(change, context) or not_ours(change, context))
        name, before = change.address.name[0], change.before
        assert isinstance(before, DatabaseState)
        if change.action is Action.DELETE:
            ours = context.capabilities.maintenance if context.capabilities else "postgres"
            protected = before.is_template is True or name in ("postgres", ours)
            refused = f"{quote_part(name)} is protected: a template or maintenance database" if protected else ""
            return Judgement(Risk.LOSS, drops=1, refused=refused or not_ours(change, context))
        fixed = [f for f in change.fields if f.name in _FIXED]
        if fixed:
            return Judgement(Risk.CHANGE, refused=_fixed(name, fixed[0]))
        shuts = any(f.name == "allow_connections" and f.before and not f.after for f in change.fields)
        refused = not_ours(change, context)
        return Judgement(Risk.ACCESS if shuts else Risk.CHANGE, revokes=int(shuts), refused=refused)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            name, after = ident(change.address.name[0]), change.after
            if change.action is Action.DELETE:
                yield step(change.address, f"DROP DATABASE {name}", transactional=False)
                continue
            assert isinstance(after, DatabaseState)
            names = {f.name for f in change.fields}
            if change.action is Action.CREATE:
                major = context.capabilities.major if context.capabilities else 0
                yield step(change.address, _create(name, after, major), transactional=False)
            elif "owner" in names and isinstance(after.owner, str):
                yield step(change.address, f"ALTER DATABASE {name} OWNER TO {ident(after.owner)}")
            if change.before is not None and "connection_limit" in names:
                yield step(change.address, f"ALTER DATABASE {name} CONNECTION LIMIT {after.connection_limit}")
            if "allow_connections" in names and (change.before is not None or not after.allow_connections):
                word = "true" if after.allow_connections else "false"
                yield step(change.address, f"ALTER DATABASE {name} ALLOW_CONNECTIONS {word}")
            if change.before is not None and "is_template" in names:
                word = "true" if after.is_template else "false"
                yield step(change.address, f"ALTER DATABASE {name} IS_TEMPLATE {word}")
            yield from comment_steps(change, f"DATABASE {name}")


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
        is_template=UNMANAGED if spec.is_template is None else spec.is_template,
        tablespace=UNMANAGED if spec.tablespace is None else spec.tablespace,
        locale_provider=spec.locale_provider or UNMANAGED,
        provider_locale=spec.icu_locale or spec.builtin_locale or UNMANAGED,
    )


def _settle(wish: State | None, live: State | None) -> State | None:
    if not isinstance(wish, DatabaseState):
        return wish
    state = filled_in(wish, live)
    known = live.provider_locale if isinstance(live, DatabaseState) else None
    return replace(state, provider_locale=known) if _same_locale(state.provider_locale, known) else state


def _same_locale(one: object, other: object) -> bool:
    """PostgreSQL 16 and later write `nl_NL` as `nl-NL`."""
    return isinstance(one, str) and isinstance(other, str) and one.replace("_", "-") == other.replace("_", "-")


def _fixed(name: str, field: FieldChange) -> str:
    """Why a field can't be changed in place, and what to do."""
    text = f"{field.name} can't be changed in place ({field.before} -> {field.after})"
    if field.name != "tablespace":
        return f"{text}: dump, drop and restore the database, or correct the manifest"
    statement = f"ALTER DATABASE {ident(name)} SET TABLESPACE {ident(str(field.after))}"
    return (
        f"{field.name} is not changed by PgVillage ({field.before} -> {field.after}): moving copies all files under an "
        f"exclusive lock and needs all sessions gone. In a window run `{statement}`, connected to another database"
    )


def _uncreatable(change: Change, context: Context) -> str:
    """What the server's version does not have, and a tablespace that nobody made."""
    after, capabilities = change.after, context.capabilities
    assert isinstance(after, DatabaseState)
    since = _SINCE.get(str(after.locale_provider), 0)
    if capabilities and capabilities.major < since:
        return (
            f"`localeProvider: {after.locale_provider}` exists from PostgreSQL {since} on, "
            f"the server is {capabilities.major}: leave it out, or upgrade first"
        )
    place = Address(change.address.target, "tablespace", (str(after.tablespace),))
    declared = {t.name for t in context.view.cluster.spec.tablespaces if t.ensure == "present"}
    if after.tablespace is not None and place not in context.snapshot.live and after.tablespace not in declared:
        return (
            f"there is no tablespace {quote_part(str(after.tablespace))}: declare it under the cluster's `tablespaces`"
        )
    return ""


def _create(name: str, state: DatabaseState, major: int) -> str:
    words = [f"CREATE DATABASE {name}"]
    if isinstance(state.owner, str):
        words.append(f"OWNER {ident(state.owner)}")
    # template1 may have another encoding or locale; template0 takes any.
    template = state.template or ("template0" if state.encoding or state.locale or state.locale_provider else None)
    if template:
        words.append(f"TEMPLATE {ident(template)}")
    if isinstance(state.encoding, str):
        words.append(f"ENCODING {literal(state.encoding)}")
    if isinstance(state.locale, str):
        words.append(f"LOCALE {literal(state.locale)}")
    words += _provider(state) if major >= _SINCE["icu"] else []
    if isinstance(state.tablespace, str):
        words.append(f"TABLESPACE {ident(state.tablespace)}")
    if state.is_template is True:
        words.append("IS_TEMPLATE true")
    if state.connection_limit != -1:
        words.append(f"CONNECTION LIMIT {state.connection_limit}")
    return " ".join(words)


def _provider(state: DatabaseState) -> list[str]:
    provider = state.locale_provider
    if not isinstance(provider, str):
        return []
    words = [f"LOCALE_PROVIDER {provider}"]
    if provider in _SINCE:
        words.append(f"{provider.upper()}_LOCALE {literal(str(state.provider_locale))}")
    return words
