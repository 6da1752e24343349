"""Kind default-privilege: what objects that a creator makes later grant by themselves (ALTER DEFAULT PRIVILEGES)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Change, Resource, Risk, Source
from pgvillage.core.plan import Finding, Unread
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION, every_privilege, privileges_of
from pgvillage.resources.postgres.leavers import out_of_bounds
from pgvillage.resources.postgres.sql import PUBLIC, grantee, ident, step

ORDER = 75

_SQL = """
SELECT CASE d.defaclobjtype WHEN 'r' THEN 'table' ELSE 'sequence' END, coalesce(n.nspname, ''), c.rolname,
       d.defaclacl::text[]
FROM pg_catalog.pg_default_acl d
JOIN pg_catalog.pg_roles c ON c.oid = d.defaclrole
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
WHERE d.defaclobjtype IN ('r', 'S')
"""
_CLASSES = ("table", "sequence")


@dataclass(frozen=True, slots=True)
class DefaultPrivilegeState(State):
    """Which privileges; one that may be passed on ends in ` WITH GRANT OPTION`."""

    privileges: frozenset[str] = field(default_factory=frozenset)


class DefaultPrivilege(Kind):
    """Addresses are class.database.schema.creator.grantee; an empty schema is every schema."""

    name = "default-privilege"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        wanted: dict[tuple[str, ...], set[str]] = defaultdict(set)
        sources: dict[tuple[str, ...], Source] = {}
        for name, privileges, source in _wishes(view):
            wanted[name] |= privileges
            sources.setdefault(name, source)
        for name, found in wanted.items():
            state = DefaultPrivilegeState(_settled(found))
            yield Resource(Address(view.name, self.name, name), state, sources[name], wish=state)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        yield Query("default_acl", _SQL, each_database=True)

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        for database, rows in live.by_database.items():
            for object_class, schema, creator, acl in rows["default_acl"]:
                for role, privileges in privileges_of(object_class, creator, acl).items():
                    name = (object_class, database, schema, creator, role)
                    states[Address(live.target, self.name, name)] = DefaultPrivilegeState(privileges)
        return Parsed(states)

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        for object_class in _CLASSES:
            yield Unread(self.name, (object_class, database), reason)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        major = context.capabilities.major if context.capabilities else 0
        covered = set(context.view.authority.privileges)
        resolved: Desired = {}
        for address, resource in desired.items():
            state = _spelt_out(address, resource.state, major)
            if state is not None and address.name[0] not in covered:
                # Not complete about this class: what is there besides may stay.
                state = DefaultPrivilegeState(_settled(_of(state) | _of(context.snapshot.live.get(address))))
            resolved[address] = resource.with_state(state)
        return resolved | _undeclared(desired, context), []

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        _, database, schema, creator, role = address.name
        yield Address(address.target, "role", (creator,))
        if role != PUBLIC:
            yield Address(address.target, "role", (role,))
        yield Address(address.target, "database", (database,))
        if schema:
            yield Address(address.target, "schema", (database, schema))

    def subject(self, address: Address) -> Address:
        return Address(address.target, "role", (address.name[-1],))

    def weight(self, address: Address, state: State) -> int:
        return len(_of(state))

    def judge(self, change: Change, context: Context) -> Judgement:
        lost = len({_bare(p) for p in _of(change.before)} - {_bare(p) for p in _of(change.after)})
        passed_on = any(p.endswith(WITH_GRANT_OPTION) for p in _of(change.before) - _of(change.after))
        return Judgement(Risk.ACCESS if lost or passed_on else Risk.ADDITIVE, revokes=lost or int(passed_on))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        same: dict[tuple[Any, ...], list[Change]] = defaultdict(list)
        for change in changes:
            same[(*change.address.name[:4], *_deeds(change))].append(change)
        for (object_class, database, schema, creator, *deeds), found in same.items():
            roles = ", ".join(grantee(c.address.name[-1]) for c in found)
            where = f" IN SCHEMA {ident(schema)}" if schema else ""
            head = f"ALTER DEFAULT PRIVILEGES FOR ROLE {ident(creator)}{where}"
            for verb, privileges in deeds:
                text = _statement(verb, ", ".join(privileges), f"{object_class.upper()}S", roles)
                yield step([c.address for c in found], f"{head} {text}", database=database)


KIND = DefaultPrivilege()


def _wishes(view: ClusterView) -> Iterator[tuple[tuple[str, ...], set[str], Source]]:
    for document in view.role_documents:
        if document.document.spec.ensure == "absent":
            continue
        for index, grant in enumerate(document.document.spec.privileges):
            if grant.future is None:
                continue
            privileges = grant.grant if grant.grant is not None else view.profiles[grant.profile or ""]
            option = WITH_GRANT_OPTION if grant.grant_option else ""
            source = source_of(document, "spec", "privileges", index, "future")
            for object_class in _CLASSES:
                found = {p + option for p in privileges.of(object_class)}
                for schema in (grant.schemas or ("",)) if found else ():
                    for creator in grant.future.creators:
                        # What its creator may do with a new object needs no grant.
                        if creator != document.document.role:
                            name = (object_class, grant.database, schema, creator, document.document.role)
                            yield name, found, source


def _of(state: State | None) -> frozenset[str]:
    return state.privileges if isinstance(state, DefaultPrivilegeState) else frozenset()


def _bare(privilege: str) -> str:
    return privilege.removesuffix(WITH_GRANT_OPTION)


def _settled(privileges: Iterable[str]) -> frozenset[str]:
    found = set(privileges)
    return frozenset(p for p in found if p + WITH_GRANT_OPTION not in found)


def _spelt_out(address: Address, state: State | None, major: int) -> State | None:
    if state is None:
        return None
    found: set[str] = set()
    for privilege in _of(state):
        bare, option, _ = privilege.partition(WITH_GRANT_OPTION)
        found |= {p + option for p in (every_privilege(address.name[0], major) if bare == "ALL" else {bare})}
    return DefaultPrivilegeState(_settled(found))


def _undeclared(desired: Desired, context: Context) -> Desired:
    """What declared roles will get by default beyond what is declared, in the classes that authority covers."""
    view = context.view
    covered, ours = set(view.authority.privileges), view.declared_roles - context.once(out_of_bounds)
    position = view.located.at("spec")
    return {
        address: Resource(
            address, None, Source(position.file, position.line), "no manifest asks for it", declared=False
        )
        for address in context.snapshot.live
        if address.kind == "default-privilege"
        and address not in desired
        and address.name[-1] in ours
        and address.name[0] in covered
    }


def _deeds(change: Change) -> list[tuple[str, tuple[str, ...]]]:
    """Verbs with their privileges: what goes first, then what comes."""
    before, after = _of(change.before), _of(change.after)
    kept = {_bare(p) for p in after}
    groups: Mapping[str, set[str]] = {
        "revoke": {_bare(p) for p in before} - kept,
        "revoke option": {_bare(p) for p in before - after if p.endswith(WITH_GRANT_OPTION)} & kept,
        "grant": {
            p for p in after - before if not p.endswith(WITH_GRANT_OPTION) and p + WITH_GRANT_OPTION not in before
        },
        "grant option": {_bare(p) for p in after - before if p.endswith(WITH_GRANT_OPTION)},
    }
    return [(verb, tuple(sorted(found))) for verb, found in groups.items() if found]


def _statement(verb: str, privileges: str, objects: str, roles: str) -> str:
    match verb:
        case "revoke":
            return f"REVOKE {privileges} ON {objects} FROM {roles}"
        case "revoke option":
            return f"REVOKE GRANT OPTION FOR {privileges} ON {objects} FROM {roles}"
        case "grant":
            return f"GRANT {privileges} ON {objects} TO {roles}"
        case _:
            return f"GRANT {privileges} ON {objects} TO {roles} WITH GRANT OPTION"
