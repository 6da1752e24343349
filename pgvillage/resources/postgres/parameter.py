"""Kind parameter: server parameters by ALTER SYSTEM, where no HA engine manages the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pgvillage.core.address import Address
from pgvillage.core.change import Change, Impact, Resource, Risk
from pgvillage.core.guc import Guc
from pgvillage.core.plan import Finding
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.common import text_of
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.guc import canonical_value, problem, value_sql
from pgvillage.resources.postgres.sql import ident, step

ORDER = 80

_SETTINGS = """
SELECT name, vartype, unit, context, enumvals, boot_val, reset_val, source = 'configuration file', pending_restart,
       min_val, max_val
FROM pg_catalog.pg_settings
"""
# The last line that is free of errors wins; it is what the next reload or restart will use.
_FILE = """
SELECT name, (pg_catalog.array_agg(setting ORDER BY seqno DESC))[1],
       (pg_catalog.array_agg(sourcefile ~ 'postgresql\\.auto\\.conf$' ORDER BY seqno DESC))[1]
FROM pg_catalog.pg_file_settings
WHERE name IS NOT NULL AND (error IS NULL OR error = 'setting could not be applied')
GROUP BY name
"""
_ERRORS = "SELECT sourcefile, sourceline, name, error FROM pg_catalog.pg_file_settings WHERE error IS NOT NULL"
_PENDING = "setting could not be applied"  # PostgreSQL's word for "needs a restart"


@dataclass(frozen=True, slots=True)
class ParameterState(State):
    """`value` is canonical (base units); `by_system` whether postgresql.auto.conf sets it."""

    CONTEXT: ClassVar[frozenset[str]] = frozenset({"by_system"})

    value: str | None
    by_system: bool = False


class Parameter(Kind):
    name = "parameter"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        spec = view.cluster.spec
        if spec.ha.engine != "none":
            return
        for name, value in view.parameters.items():
            declared_here = name in spec.postgres.parameters
            source = source_of(
                view.located, *(("spec", "postgres", "parameters", name) if declared_here else ("spec",))
            )
            state = ParameterState(None if value is None else text_of(value))
            yield Resource(Address(view.name, self.name, (name.lower(),)), state, source, wish=state)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        yield Query("pg_settings", _SETTINGS)
        if capabilities.reads_file_settings:
            yield Query("file_settings", _FILE)
            yield Query("file_errors", _ERRORS)

    def parse(self, live: Live) -> Parsed:
        gucs = {row[0].lower(): _guc(row) for row in live.rows["pg_settings"]}
        in_files = {row[0].lower(): (row[1], row[2]) for row in live.rows.get("file_settings", ())}
        states: dict[Address, State] = {}
        for name, guc in gucs.items():
            value, by_system = in_files.get(name, (guc.boot if in_files else guc.reset, False))
            if value is not None:
                state = ParameterState(canonical_value(guc, value), by_system)
                states[Address(live.target, self.name, (name,))] = state
        return Parsed(states, inventory=gucs, findings=tuple(_findings(live, gucs)))

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        gucs = context.snapshot.inventory.get(self.name)
        assert isinstance(gucs, dict)
        resolved: Desired = {}
        for address, resource in desired.items():
            wish, live = resource.state, context.snapshot.live.get(address)
            assert isinstance(wish, ParameterState)
            by_system = isinstance(live, ParameterState) and live.by_system
            guc = gucs.get(address.name[0])
            if wish.value is not None:
                state: State | None = ParameterState(canonical_value(guc, wish.value), by_system)
            else:
                # null takes our own line away; what postgresql.conf says then is not ours to judge
                state = None if by_system else live
            resolved[address] = resource.with_state(state)
        return resolved, []

    def judge(self, change: Change, context: Context) -> Judgement:
        gucs = context.snapshot.inventory.get(self.name)
        name = change.address.name[0]
        guc = gucs.get(name) if isinstance(gucs, dict) else None
        value = change.after.value if isinstance(change.after, ParameterState) else None
        refused = problem(guc, name, value) if value is not None else ""
        if guc and guc.context == "internal":
            refused = f"{name} is fixed when the server is built or the cluster is made"
        if context.capabilities and not context.capabilities.superuser:
            refused = refused or "ALTER SYSTEM needs a superuser here"
        restart = bool(guc and guc.context == "postmaster")
        return Judgement(
            Risk.RESTART if restart else Risk.CHANGE, Impact(reload=not restart, restart=restart), refused=refused
        )

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            name = ".".join(map(ident, change.address.name[0].split(".")))
            after = change.after
            if isinstance(after, ParameterState) and after.value is not None:
                text = f"ALTER SYSTEM SET {name} = {value_sql(change.address.name[0], after.value)}"
            else:
                text = f"ALTER SYSTEM RESET {name}"
            yield step(change.address, text, transactional=False)
        yield step([c.address for c in changes], "SELECT pg_catalog.pg_reload_conf()", transactional=False)


KIND = Parameter()


def _guc(row: Sequence[Any]) -> Guc:
    name, vartype, unit, context, enumvals, boot, reset, configured, pending, low, high = row
    return Guc(name, vartype, unit, context, tuple(enumvals or ()), boot, reset, configured, pending, low, high)


def _findings(live: Live, gucs: dict[str, Guc]) -> Iterable[Finding]:
    for name, guc in gucs.items():
        if guc.pending_restart:
            text = f"{name} takes its new value at the next restart"
            yield Finding("warning", text, Address(live.target, "parameter", (name,)))
    for file, line, name, error in live.rows.get("file_errors", ()):
        if error != _PENDING:
            text = f"{file}:{line}: {error}" + (f" ({name})" if name else "")
            yield Finding("warning", f"a configuration file has an error, so a reload is refused: {text}")
