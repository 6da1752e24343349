"""Kind foreign-data-wrapper: wrappers with their functions, owner, options and comment."""

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
from pgvillage.estate.manifest.foreign import ForeignDataWrapperSpec, FunctionName
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import comment_steps, filled_in
from pgvillage.resources.postgres.database_object import DatabaseObject
from pgvillage.resources.postgres.options import (
    changes_option,
    new_options,
    option_fields,
    parse_options,
    plain_option_changes,
)
from pgvillage.resources.postgres.role import RoleState
from pgvillage.resources.postgres.sql import ident, qualified, step

ORDER = 52

_SQL = """
SELECT w.fdwname, o.rolname, w.fdwoptions, d.description, hn.nspname, h.proname, vn.nspname, v.proname, e.extname
FROM pg_catalog.pg_foreign_data_wrapper w
LEFT JOIN pg_catalog.pg_roles o ON o.oid = w.fdwowner
LEFT JOIN pg_catalog.pg_proc h ON h.oid = w.fdwhandler
LEFT JOIN pg_catalog.pg_namespace hn ON hn.oid = h.pronamespace
LEFT JOIN pg_catalog.pg_proc v ON v.oid = w.fdwvalidator
LEFT JOIN pg_catalog.pg_namespace vn ON vn.oid = v.pronamespace
LEFT JOIN pg_catalog.pg_description d ON d.objoid = w.oid AND d.objsubid = 0
       AND d.classoid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_depend p ON p.objid = w.oid AND p.deptype = 'e'
       AND p.classid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass
       AND p.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_extension e ON e.oid = p.refobjid
"""
Function = tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class WrapperState(State):
    """Functions are (schema, name); `extension` is the one it belongs to."""

    CONTEXT: ClassVar[frozenset[str]] = frozenset({"extension", "options"})

    handler: Function | Unmanaged = None
    validator: Function | Unmanaged = None
    owner: str | Unmanaged | None = None
    comment: str | Unmanaged | None = None
    options: Mapping[str, str] | Unmanaged | None = None
    extension: str | None = None

    def as_fields(self) -> Mapping[str, Any]:
        # Named, since super() does not work in a class with slots.
        return {**State.as_fields(self), **option_fields(self.options)}


class ForeignDataWrapper(DatabaseObject):
    name = "foreign-data-wrapper"
    listed = "foreign_data_wrappers"

    def wish(self, spec: ForeignDataWrapperSpec) -> WrapperState:
        return _wish(spec)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if view.survey or any(d.spec.foreign_data_wrappers or d.spec.foreign_servers for d in view.databases):
            yield Query("foreign_data_wrapper", _SQL, each_database=True)

    def parse(self, live: Live) -> Parsed:
        return Parsed(
            {
                Address(live.target, self.name, (database, row[0])): _live(row)
                for database, rows in live.by_database.items()
                for row in rows.get("foreign_data_wrapper", ())
            }
        )

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        resolved: Desired = {}
        for address, resource in desired.items():
            live = context.snapshot.live.get(address)
            bringer = live.extension if isinstance(live, WrapperState) else None
            if resource.state is None and bringer is not None and _goes(address, bringer, context):
                continue  # with its extension
            state = _settle(resource.state, live)
            if live is None and isinstance(state, WrapperState) and state.extension is None:
                state = replace(state, extension=_namesake(address, state, context))
            resolved[address] = resource.with_state(state)
        return resolved, []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        yield Address(address.target, "database", address.name[:1])
        if isinstance(state, WrapperState):
            if state.extension is not None:
                yield Address(address.target, "extension", (address.name[0], state.extension))
            if isinstance(state.owner, str):
                yield Address(address.target, "role", (state.owner,))

    def waits_for(self, change: Change, others: Mapping[Address, Change]) -> Iterable[Address]:
        """A function that does not come with PostgreSQL may come with an extension of the same plan."""
        after = change.after
        if isinstance(after, WrapperState) and any(map(_not_built_in, (after.handler, after.validator))):
            for address, other in others.items():
                in_database = address.kind == "extension" and address.name[0] == change.address.name[0]
                if in_database and other.action is Action.CREATE:
                    yield address

    def judge(self, change: Change, context: Context) -> Judgement:
        before, after = change.before, change.after
        if change.action is Action.DELETE:
            assert isinstance(before, WrapperState)
            owner = f"it belongs to extension {quote_part(before.extension)}: drop that" if before.extension else ""
            return Judgement(Risk.DROP, drops=1, refused=owner)
        assert isinstance(after, WrapperState)
        refused = _impossible(change, after, context) or _owner_is_no_superuser(change, after, context)
        return Judgement(Risk.ADDITIVE if change.action is Action.CREATE else Risk.CHANGE, refused=refused)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            yield from _steps(change)


KIND = ForeignDataWrapper()


def _not_built_in(function: object) -> bool:
    return isinstance(function, tuple) and function[0] != "pg_catalog"


def _function(spec: FunctionName | None) -> Function | Unmanaged:
    return UNMANAGED if spec is None else (spec.schema_, spec.name)


def _wish(spec: ForeignDataWrapperSpec) -> WrapperState:
    return WrapperState(
        handler=_function(spec.handler),
        validator=_function(spec.validator),
        owner=UNMANAGED if spec.owner is None else spec.owner,
        comment=UNMANAGED if spec.comment is None else spec.comment,
        options=UNMANAGED if spec.options is None else dict(spec.options),
        extension=spec.extension,
    )


def _live(row: Sequence[Any]) -> WrapperState:
    _, owner, options, comment, handler_schema, handler, validator_schema, validator, extension = row
    return WrapperState(
        handler=(handler_schema, handler) if handler else None,
        validator=(validator_schema, validator) if validator else None,
        owner=owner,
        comment=comment,
        options=parse_options(options),
        extension=extension,
    )


def _settle(wish: State | None, live: State | None) -> State | None:
    if not isinstance(wish, WrapperState):
        return wish
    extension = live.extension if isinstance(live, WrapperState) else wish.extension
    return replace(filled_in(wish, live), extension=extension)


def _declared(address: Address, extension: str, context: Context) -> str | None:
    """What the manifest wants of an extension in this database: present, absent, or nothing."""
    for database in context.view.databases:
        if database.name == address.name[0]:
            for each in database.spec.extensions:
                name, ensure = (each, "present") if isinstance(each, str) else (each.name, each.ensure)
                if name == extension:
                    return ensure
    return None


def _goes(address: Address, extension: str, context: Context) -> bool:
    return _declared(address, extension, context) == "absent"


def _namesake(address: Address, state: WrapperState, context: Context) -> str | None:
    """A wrapper of an extension's name, without functions of its own, comes along with it."""
    own = any(isinstance(function, tuple) for function in (state.handler, state.validator))
    name = address.name[1]
    return name if not own and _declared(address, name, context) == "present" else None


def _impossible(change: Change, after: WrapperState, context: Context) -> str:
    extension = after.extension
    if change.action is Action.CREATE and extension is not None:
        there = Address(change.address.target, "extension", (change.address.name[0], extension))
        if there in context.snapshot.live:
            return f"extension {quote_part(extension)} is there and did not bring it along: correct its name"
        if _declared(change.address, extension, context) != "present":
            return f"extension {quote_part(extension)} would bring it along: declare it under `extensions`"
    elif extension is not None and any(f.name in ("handler", "validator") for f in change.fields):
        return f"its functions are extension {quote_part(extension)}'s: leave them out of the manifest"
    if change.action is Action.CREATE and context.capabilities and not context.capabilities.superuser:
        return "only a superuser may create a foreign-data wrapper: create it by hand, or connect as one"
    return ""


def _owner_is_no_superuser(change: Change, after: WrapperState, context: Context) -> str:
    """PostgreSQL wants a superuser; said before anything is done."""
    if not isinstance(after.owner, str) or not any(f.name == "owner" for f in change.fields):
        return ""
    declared = [d.document.spec.superuser for d in context.view.role_documents if d.document.role == after.owner]
    live = context.snapshot.live.get(Address(change.address.target, "role", (after.owner,)))
    superuser = declared[0] if declared else live.superuser if isinstance(live, RoleState) else True
    return "" if superuser else f"a foreign-data wrapper's owner must be a superuser, {quote_part(after.owner)} is none"


def _steps(change: Change) -> Iterable[Step]:
    database, bare = change.address.name
    name, after = f"FOREIGN DATA WRAPPER {ident(bare)}", change.after
    if change.action is Action.DELETE:
        # No CASCADE: a wrapper with servers stops here with PostgreSQL's own words.
        yield step(change.address, f"DROP {name}", database=database)
        return
    assert isinstance(after, WrapperState)
    functions = _functions(change, after)
    if change.action is Action.CREATE and after.extension is None:
        options = after.options if isinstance(after.options, Mapping) else {}
        yield step(change.address, f"CREATE {name}{functions}", *new_options(options), database=database)
    elif functions or changes_option(change):
        yield step(change.address, f"ALTER {name}{functions}", *plain_option_changes(change), database=database)
    if any(f.name == "owner" for f in change.fields) and isinstance(after.owner, str):
        yield step(change.address, f"ALTER {name} OWNER TO {ident(after.owner)}", database=database)
    yield from comment_steps(change, name, database)


def _functions(change: Change, after: WrapperState) -> str:
    changed = {f.name for f in change.fields}
    words = [
        f" {word} {qualified(*function)}"
        for word, key, function in (
            ("HANDLER", "handler", after.handler),
            ("VALIDATOR", "validator", after.validator),
        )
        if key in changed and isinstance(function, tuple)
    ]
    return "".join(words)
