"""Kind tablespace: tablespaces with owner, comment and settings; where they lie never changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, Resource, Risk
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.storage import TablespaceSpec
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.as_it_is import comment_steps, filled_in
from pgvillage.resources.postgres.options import parse_options
from pgvillage.resources.postgres.rights import not_ours
from pgvillage.resources.postgres.sql import ident, literal, step

ORDER = 25

_SQL = """
SELECT t.spcname, o.rolname, s.description, pg_catalog.pg_tablespace_location(t.oid), t.spcoptions
FROM pg_catalog.pg_tablespace t
LEFT JOIN pg_catalog.pg_roles o ON o.oid = t.spcowner
LEFT JOIN pg_catalog.pg_shdescription s
       ON s.objoid = t.oid AND s.classoid = 'pg_catalog.pg_tablespace'::pg_catalog.regclass
"""
SETTINGS = ("seq_page_cost", "random_page_cost", "effective_io_concurrency", "maintenance_io_concurrency")
_OWN = ("pg_default", "pg_global")  # PostgreSQL's, without a location of their own


@dataclass(frozen=True, slots=True)
class TablespaceState(State):
    """Settings are numbers as text, in one way of writing."""

    location: str | Unmanaged | None = None
    owner: str | Unmanaged | None = None
    comment: str | Unmanaged | None = None
    seq_page_cost: str | Unmanaged | None = None
    random_page_cost: str | Unmanaged | None = None
    effective_io_concurrency: str | Unmanaged | None = None
    maintenance_io_concurrency: str | Unmanaged | None = None


class Tablespace(Kind):
    name = "tablespace"

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for index, spec in enumerate(view.cluster.spec.tablespaces):
            wish = _wish(spec) if spec.ensure == "present" else None
            source = source_of(view.located, "spec", "tablespaces", index)
            yield Resource(Address(view.name, self.name, (spec.name,)), wish, source, wish=wish)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if view.survey or view.cluster.spec.tablespaces or any(d.spec.tablespace for d in view.databases):
            yield Query("tablespace", _SQL)

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        for name, owner, comment, location, options in live.rows.get("tablespace", ()):
            found = {key: _number(value) for key, value in parse_options(options).items() if key in SETTINGS}
            states[Address(live.target, self.name, (name,))] = TablespaceState(location, owner, comment, **found)
        return Parsed(states)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        return {a: r.with_state(_settle(r.state, context.snapshot.live.get(a))) for a, r in desired.items()}, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, TablespaceState) and isinstance(state.owner, str):
            yield Address(address.target, "role", (state.owner,))

    def judge(self, change: Change, context: Context) -> Judgement:
        name = change.address.name[0]
        if change.action is Action.DELETE:
            refused = f"{quote_part(name)} is protected: it is PostgreSQL's own" if name in _OWN else ""
            refused = refused or not_ours(change, context)
            return Judgement(Risk.DROP, drops=1, refused=refused)
        if change.action is Action.CREATE:
            return Judgement(Risk.ADDITIVE, refused=_uncreatable(change, context))
        moved = [f for f in change.fields if f.name == "location"]
        return Judgement(
            Risk.CHANGE,
            refused=_immovable(name, moved[0].before, moved[0].after) if moved else not_ours(change, context),
        )

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            yield from _steps(change)


KIND = Tablespace()


def _number(value: object) -> str:
    """`1.10` and `1.1` are one number."""
    return f"{float(str(value)):g}"


def _wish(spec: TablespaceSpec) -> TablespaceState:
    given = {name: getattr(spec.settings, name) for name in SETTINGS} if spec.settings is not None else {}
    settings = {name: None if value is None else _number(value) for name, value in given.items()}
    return TablespaceState(
        location=UNMANAGED if spec.location is None else spec.location,
        owner=UNMANAGED if spec.owner is None else spec.owner,
        comment=UNMANAGED if spec.comment is None else spec.comment,
        **(settings if spec.settings is not None else dict.fromkeys(SETTINGS, UNMANAGED)),
    )


def _settle(wish: State | None, live: State | None) -> State | None:
    if not isinstance(wish, TablespaceState):
        return wish
    return filled_in(wish, live)


def _uncreatable(change: Change, context: Context) -> str:
    after = change.after
    assert isinstance(after, TablespaceState)
    if change.address.name[0].startswith("pg_"):
        return "names of tablespaces that begin with pg_ belong to PostgreSQL"
    if after.location is None:
        return "it is not there, and needs `location` to be created: an empty folder that belongs to the server"
    if context.capabilities and not context.capabilities.superuser:
        return "only a superuser may create a tablespace: create it by hand, or connect as one"
    return ""


def _immovable(name: str, before: object, after: object) -> str:
    if name in _OWN:
        return f"{quote_part(name)} lies in the data folder: leave `location` out of the manifest"
    return (
        f"location can't be changed ({before} -> {after}): make a tablespace with another name there and move what "
        "is in this one, or with the server stopped move the folder and correct the link in pg_tblspc; "
        "or correct the manifest"
    )


def _steps(change: Change) -> Iterable[Step]:
    name, after = f"TABLESPACE {ident(change.address.name[0])}", change.after
    if change.action is Action.DELETE:
        # One that still holds something stops here with PostgreSQL's own words.
        yield step(change.address, f"DROP {name}", transactional=False)
        return
    assert isinstance(after, TablespaceState)
    changed = {f.name: f for f in change.fields}
    if change.action is Action.CREATE:
        owner = f" OWNER {ident(after.owner)}" if isinstance(after.owner, str) else ""
        text = f"CREATE {name}{owner} LOCATION {literal(str(after.location))}"
        yield step(change.address, text, transactional=False)
    elif "owner" in changed and isinstance(after.owner, str):
        yield step(change.address, f"ALTER {name} OWNER TO {ident(after.owner)}")
    values = [(key, changed[key].after) for key in SETTINGS if key in changed]
    if given := ", ".join(f"{key} = {value}" for key, value in values if value is not None):
        yield step(change.address, f"ALTER {name} SET ({given})")
    if gone := ", ".join(key for key, value in values if value is None):
        yield step(change.address, f"ALTER {name} RESET ({gone})")
    yield from comment_steps(change, name)
