"""Kind policy: who may see and write which rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Resource, Risk, Source
from pgvillage.core.plan import Finding, Unread
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.qualified_name import join_name, split_name
from pgvillage.estate.manifest.row_security import PolicySpec
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.as_it_is import comment_on, filled_in
from pgvillage.resources.postgres.existing import missing_relations
from pgvillage.resources.postgres.expression import settled_expression
from pgvillage.resources.postgres.expression_tokens import expression_fault
from pgvillage.resources.postgres.rights import table_out_of_reach
from pgvillage.resources.postgres.sql import PUBLIC, grantee, ident, qualified, step

ORDER = 75

_SQL = """
SELECT n.nspname, c.relname, p.polname, p.polcmd::text, p.polpermissive,
       CASE WHEN 0 = ANY (p.polroles) THEN ARRAY['public']::pg_catalog.name[]
            ELSE ARRAY(SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.oid = ANY (p.polroles)) END,
       pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), d.description
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_description d
       ON d.objoid = p.oid AND d.classoid = 'pg_catalog.pg_policy'::pg_catalog.regclass
"""
_COMMANDS = {"*": "all", "r": "select", "a": "insert", "w": "update", "d": "delete"}


@dataclass(frozen=True, slots=True)
class PolicyState(State):
    command: str = "all"
    permissive: bool = True
    roles: frozenset[str] = frozenset({PUBLIC})
    using: str | None = None
    with_check: str | None = None
    comment: str | Unmanaged | None = None


class RowPolicy(Kind):
    name = "policy"

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for database in view.databases:
            for index, table in enumerate(database.spec.row_security if database.spec.ensure == "present" else ()):
                for number, spec in enumerate(table.policies):
                    wish = _state(spec) if spec.ensure == "present" else None
                    address = Address(view.name, self.name, (database.name, *split_name(table.table), spec.name))
                    source = database.source("rowSecurity", index, "policies", number)
                    yield Resource(address, wish, source, wish=wish)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if view.survey or any(database.spec.row_security for database in view.databases):
            yield Query(self.name, _SQL, each_database=True)

    def parse(self, live: Live) -> Parsed:
        return Parsed(
            {
                Address(live.target, self.name, (database, schema, table, name)): PolicyState(
                    _COMMANDS[command], permissive, frozenset(roles), using, check, comment
                )
                for database, rows in live.by_database.items()
                for schema, table, name, command, permissive, roles, using, check, comment in rows.get(self.name, ())
            }
        )

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        yield Unread(self.name, (database,), reason)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        resolved: Desired = {}
        findings: list[Finding] = []
        for address, resource in desired.items():
            state = resource.state
            if isinstance(state, PolicyState):
                state, found = _settled(state, context.snapshot.live.get(address), resource, context)
                findings += found
            resolved[address] = resource.with_state(state)
        resolved.update(_undeclared(self.name, desired, context))
        return resolved, findings

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        if isinstance(state, PolicyState):
            yield Address(address.target, "database", address.name[:1])
            yield Address(address.target, "schema", address.name[:2])
            for role in state.roles - {PUBLIC}:
                yield Address(address.target, "role", (role,))

    def judge(self, change: Change, context: Context) -> Judgement:
        """A permissive policy gives rows and a restrictive one takes them, so neither coming nor going is harmless."""
        database, schema, table, _ = change.address.name
        beyond_us = table_out_of_reach(database, schema, table, context)
        if change.action is Action.DELETE:
            return Judgement(Risk.DROP, drops=1, refused=beyond_us)
        return Judgement(Risk.ACCESS, refused=_refused(change, context) or beyond_us)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        for change in changes:
            database, schema, table, name = change.address.name
            for text in _statements(change, f"POLICY {ident(name)} ON {qualified(schema, table)}"):
                yield step(change.address, text, database=database)


KIND = RowPolicy()


def _state(spec: PolicySpec) -> PolicyState:
    comment = UNMANAGED if spec.comment is None else spec.comment
    roles = frozenset({PUBLIC}) if PUBLIC in spec.roles else frozenset(spec.roles)
    return PolicyState(spec.command, spec.permissive, roles, spec.using, spec.with_check, comment)


def _settled(
    state: PolicyState, live: State | None, resource: Resource, context: Context
) -> tuple[PolicyState, list[Finding]]:
    known = live if isinstance(live, PolicyState) else PolicyState()
    name = ".".join(resource.address.name[1:])
    using, one = settled_expression(state.using, known.using, resource, context, f"USING of policy {name}")
    check, other = settled_expression(state.with_check, known.with_check, resource, context, f"CHECK of policy {name}")
    return replace(filled_in(state, live), using=using, with_check=check), [each for each in (one, other) if each]


def _undeclared(kind: str, desired: Desired, context: Context) -> Desired:
    """Policies nobody wrote, of tables whose policies are exact."""
    exact: dict[tuple[str, ...], Source] = {
        (database.name, *split_name(table.table)): database.source("rowSecurity", index)
        for database in context.view.databases
        for index, table in enumerate(database.spec.row_security if database.spec.ensure == "present" else ())
        if table.exact
    }
    reason = "the policies of this table are exact"
    return {
        address: Resource(address, None, exact[address.name[:3]], reason, declared=False)
        for address in (context.snapshot.live if exact else ())
        if address.kind == kind and address.name[:3] in exact and address not in desired
    }


def _statements(change: Change, what: str) -> Iterable[str]:
    before, after, names = change.before, change.after, {f.name for f in change.fields}
    if not isinstance(after, PolicyState):
        yield f"DROP {what}"
        return
    anew = not isinstance(before, PolicyState) or _must_be_anew(before, after)
    if anew:
        if before is not None:
            yield f"DROP {what}"
        kind = "PERMISSIVE" if after.permissive else "RESTRICTIVE"
        yield f"CREATE {what} AS {kind} FOR {after.command.upper()}{_body(after, {'roles', 'using', 'with_check'})}"
    elif body := _body(after, names):
        yield f"ALTER {what}{body}"
    if ("comment" in names and not anew) or (anew and after.comment is not None):
        yield comment_on(what, after.comment)


def _must_be_anew(before: PolicyState, after: PolicyState) -> bool:
    """ALTER POLICY knows no other command, no other kind, and can't take an expression away."""
    if (before.command, before.permissive) != (after.command, after.permissive):
        return True
    lost = [(before.using, after.using), (before.with_check, after.with_check)]
    return any(old is not None and new is None for old, new in lost)


def _body(state: PolicyState, names: set[str]) -> str:
    words = [f" TO {', '.join(map(grantee, sorted(state.roles)))}"] if "roles" in names else []
    if "using" in names and state.using is not None:
        words.append(f" USING ({state.using})")
    if "with_check" in names and state.with_check is not None:
        words.append(f" WITH CHECK ({state.with_check})")
    return "".join(words)


def _refused(change: Change, context: Context) -> str:
    after = change.after
    assert isinstance(after, PolicyState)
    for word, expression in (("using", after.using), ("withCheck", after.with_check)):
        if expression is not None and (fault := expression_fault(expression)):
            return f"{word}: {fault}"
    return missing_relations(change.address, [join_name(*change.address.name[1:3])], (), context)
