"""Kind extension: extensions with version and schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Live, Parsed, Query
from pgvillage.estate.manifest.database import DatabaseFields, ExtensionSpec
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import filled_in
from pgvillage.resources.postgres.database_object import DatabaseObject
from pgvillage.resources.postgres.rights import belongs_to, can_act_as, cannot_create_in, lesser
from pgvillage.resources.postgres.sql import ident, literal, step

ORDER = 50

_SQL = """
SELECT e.extname, e.extversion, n.nspname, o.rolname{members}
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = e.extowner
"""
# What other kinds would declare if it were not the extension's: for writing manifests of what is there.
_MEMBERS = """,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.type, a.object_names))
        FROM pg_catalog.pg_depend d, LATERAL pg_catalog.pg_identify_object_as_address(d.classid, d.objid, 0) a
        WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND d.deptype = 'e'
          AND d.classid IN ('pg_catalog.pg_namespace'::pg_catalog.regclass,
                            'pg_catalog.pg_foreign_server'::pg_catalog.regclass,
                            'pg_catalog.pg_event_trigger'::pg_catalog.regclass,
                            'pg_catalog.pg_class'::pg_catalog.regclass))
"""
_AVAILABLE = """
SELECT v.name, pg_catalog.array_agg(v.version), pg_catalog.max(v.schema),
       pg_catalog.bool_or(v.superuser AND NOT v.trusted)
FROM pg_catalog.pg_available_extension_versions v WHERE v.name = ANY(%s) GROUP BY v.name
"""
_MAY_USE_FUNCTIONS = ("foreign-data-wrapper", "event-trigger", "policy", "publication")


@dataclass(frozen=True, slots=True)
class ExtensionState(State):
    """`members` are known in a survey only: PostgreSQL's word for each, and its name."""

    CONTEXT: ClassVar[frozenset[str]] = frozenset({"cascade", "members", "owner"})

    version: str | Unmanaged | None = None
    schema: str | Unmanaged | None = None
    cascade: bool = False
    members: frozenset[tuple[str, ...]] = frozenset()
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Available:
    """What the server's files offer; `fixed` is the schema that the extension insists on.

    `mighty` is one that takes a superuser to create: neither for everybody nor trusted.
    """

    versions: frozenset[str]
    fixed: str | None
    mighty: bool = False


class Extension(DatabaseObject):
    name = "extension"
    listed = "extensions"

    def specs(self, database: DatabaseFields) -> list[ExtensionSpec]:
        return [item if isinstance(item, ExtensionSpec) else ExtensionSpec(name=item) for item in database.extensions]

    def wish(self, spec: ExtensionSpec) -> ExtensionState:
        return ExtensionState(spec.version or UNMANAGED, spec.schema_ or UNMANAGED, spec.cascade)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        names = sorted({a.name[1] for a in (r.address for r in self.expand(view))})
        if names:
            yield Query("available", _AVAILABLE, parameters=(names,))
        yield Query("extension", _SQL.format(members=_MEMBERS if view.survey else ""), each_database=True)

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {
            Address(live.target, self.name, (database, name)): ExtensionState(
                version, schema, members=_members(*more[1:]), owner=next(iter(more), None)
            )
            for database, rows in live.by_database.items()
            for name, version, schema, *more in rows["extension"]
        }
        available = {
            name: Available(frozenset(versions), *more) for name, versions, *more in live.rows.get("available", ())
        }
        return Parsed(states, inventory=available)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        live = context.snapshot.live
        resolved = {a: r.with_state(_settle(r.state, live.get(a))) for a, r in desired.items()}
        for address, resource in resolved.items():
            database = Address(address.target, "database", address.name[:1])
            if address.name[1] == "plpgsql" and database not in live:
                resolved[address] = resource.with_state(None)  # a new database brings it along
        return resolved, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        yield Address(address.target, "database", address.name[:1])
        if isinstance(state, ExtensionState) and isinstance(state.schema, str):
            yield Address(address.target, "schema", (address.name[0], state.schema))

    def waits_for(self, change: Change, others: Mapping[Address, Change]) -> Iterable[Address]:
        """One that goes may have brought functions for what goes besides: that goes first."""
        if change.action is not Action.DELETE:
            return
        for address, other in others.items():
            in_database = address.kind in _MAY_USE_FUNCTIONS and address.name[0] == change.address.name[0]
            brought = getattr(other.before, "extension", None) is not None  # it goes with its own extension
            if in_database and other.action is Action.DELETE and not brought:
                yield address

    def judge(self, change: Change, context: Context) -> Judgement:
        if change.action is Action.DELETE:
            return Judgement(Risk.DROP, drops=1, refused=_beyond_us(change, context))
        risk = Risk.ADDITIVE if change.action is Action.CREATE else Risk.CHANGE
        return Judgement(risk, refused=_unavailable(change, context) or _beyond_us(change, context))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            database, bare = change.address.name
            name, after = ident(bare), change.after
            if change.action is Action.DELETE:
                yield step(change.address, f"DROP EXTENSION {name}", database=database)
                continue
            assert isinstance(after, ExtensionState)
            if change.action is Action.CREATE:
                yield step(change.address, _create(name, after, _home(change, context)), database=database)
                continue
            names = {f.name for f in change.fields}
            if "version" in names:
                text = f"ALTER EXTENSION {name} UPDATE TO {literal(str(after.version))}"
                yield step(change.address, text, database=database)
            if "schema" in names:
                text = f"ALTER EXTENSION {name} SET SCHEMA {ident(str(after.schema))}"
                yield step(change.address, text, database=database)


KIND = Extension()


def _members(found: Sequence[tuple[str, Sequence[str]]] | None = None) -> frozenset[tuple[str, ...]]:
    return frozenset((word, *names) for word, names in found or ())


def _settle(wish: State | None, live: State | None) -> State | None:
    if not isinstance(wish, ExtensionState):
        return wish
    return replace(filled_in(wish, live), cascade=wish.cascade and not isinstance(live, ExtensionState))


def _unavailable(change: Change, context: Context) -> str:
    """Files that the server does not have are found out now and not in the middle of an apply."""
    name, after = change.address.name[1], change.after
    if not isinstance(after, ExtensionState) or not (change.before is None or _new_version(change)):
        return ""
    available = _available(change, context)
    if available is None:
        return f"the server has no extension {quote_part(name)}: install its package on every node first"
    versions = available.versions
    if isinstance(after.version, str) and after.version not in versions:
        found = ", ".join(sorted(versions))
        return f"the server has no version {after.version} of extension {quote_part(name)}, only {found}"
    return ""


# Services that let lesser accounts create extensions of their choice have a setting that names these.
_ALLOWING = frozenset({"rds.extensions", "azure.extensions", "extwlist.extensions", "cloudsql.supported_extensions"})


def _beyond_us(change: Change, context: Context) -> str:
    me, before = lesser(context), change.before
    if me is None:
        return ""
    if isinstance(before, ExtensionState):
        return "" if can_act_as(before.owner, change.address.name[0], context) else belongs_to(before.owner, me)
    gucs, available = context.snapshot.inventory.get("parameter"), _available(change, context)
    if available is not None and available.mighty:
        allowed = isinstance(gucs, dict) and not _ALLOWING.isdisjoint(gucs)
        return "" if allowed else "only a superuser may create this extension, it is not a trusted one"
    return cannot_create_in(change.address.name[0], context)


def _new_version(change: Change) -> bool:
    return any(f.name == "version" for f in change.fields)


def _available(change: Change, context: Context) -> Available | None:
    found = context.snapshot.inventory.get("extension")
    return found.get(change.address.name[1]) if isinstance(found, dict) else None


def _home(change: Change, context: Context) -> str | None:
    """Our sessions have no search_path to choose a schema by: `public`, unless the extension insists on its own."""
    available = _available(change, context)
    return None if available and available.fixed else "public"


def _create(name: str, state: ExtensionState, home: str | None) -> str:
    words = [f"CREATE EXTENSION {name}"]
    schema = state.schema if isinstance(state.schema, str) else home
    if schema is not None:
        words.append(f"SCHEMA {ident(schema)}")
    if isinstance(state.version, str):
        words.append(f"VERSION {literal(state.version)}")
    if state.cascade:
        words.append("CASCADE")
    return " ".join(words)
