"""Kind default-privilege: what objects that a creator makes later grant by themselves (ALTER DEFAULT PRIVILEGES)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Change, Resource, Risk, Source
from pgvillage.core.plan import Finding, Unread
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.common import Grant, PrivilegeSet
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.acl import DEFAULT_PUBLIC, WITH_GRANT_OPTION, every_privilege, privileges_of
from pgvillage.resources.postgres.leavers import out_of_bounds
from pgvillage.resources.postgres.rights import can_act_as, lesser
from pgvillage.resources.postgres.sql import PUBLIC, grantee, ident, step

ORDER = 75

_SQL = """
SELECT CASE d.defaclobjtype WHEN 'r' THEN 'table' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'function' WHEN 'T' THEN 'type'
                            WHEN 'n' THEN 'schema' WHEN 'L' THEN 'largeObject' END,
       coalesce(n.nspname, ''), c.rolname, d.defaclacl::text[]
FROM pg_catalog.pg_default_acl d
JOIN pg_catalog.pg_roles c ON c.oid = d.defaclrole
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
WHERE d.defaclobjtype IN ('r', 'S', 'f', 'T', 'n', 'L')
"""
# Who has no entry yet gets what PostgreSQL gives by itself: shown as it is where PUBLIC shall have something else.
_BY_ITSELF = """ UNION ALL
SELECT x.class, '', c.rolname, pg_catalog.acldefault(x.letter, c.oid)::text[]
FROM pg_catalog.pg_roles c, (VALUES ('function', 'f'::"char"), ('type', 'T'::"char")) AS x(class, letter)
WHERE c.rolname = ANY (%s::name[]) AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_default_acl d
  WHERE d.defaclrole = c.oid AND d.defaclnamespace = 0 AND d.defaclobjtype = x.letter)
"""
_CLASSES = ("table", "sequence", "function", "type", "schema", "largeObject")
_WHOLE_DATABASE = ("schema", "largeObject")  # these lie in no schema
_LARGE_OBJECTS_SINCE = 18
_WORDS = {"largeObject": "LARGE OBJECTS"}


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
        creators = sorted({name[3] for name, _, _ in _of_public(view)})
        text, parameters = (_SQL + _BY_ITSELF, (creators,)) if creators else (_SQL, ())
        yield Query("default_acl", text, True, parameters)

    def parse(self, live: Live) -> Parsed:
        states: dict[Address, State] = {}
        # where an entry for every schema stands in place of what PostgreSQL gives by itself
        replaced: set[tuple[str, str, str]] = set()
        for database, rows in live.by_database.items():
            for object_class, schema, creator, acl in rows["default_acl"]:
                if not schema:
                    replaced.add((object_class, database, creator))
                for role, privileges in privileges_of(object_class, creator, acl).items():
                    name = (object_class, database, schema, creator, role)
                    states[Address(live.target, self.name, name)] = DefaultPrivilegeState(privileges)
        return Parsed(states, inventory=frozenset(replaced))

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        for object_class in _CLASSES:
            yield Unread(self.name, (object_class, database), reason)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        major = context.capabilities.major if context.capabilities else 0
        covered = set(context.view.authority.privileges)
        resolved: Desired = {}
        findings: list[Finding] = []
        for address, resource in desired.items():
            if address.name[0] == "largeObject" and major < _LARGE_OBJECTS_SINCE:
                text = f"PostgreSQL {major} has no default privileges on large objects: left out"
                findings.append(Finding("warning", f"{resource.source}: {text}", address))
                continue
            state = _spelt_out(address, resource.state, major)
            if address.name[-1] == PUBLIC:
                by_itself = _by_itself(address, context)
                if by_itself is None:
                    state = state if _of(state) else None  # in a list of its own, what is not there is nothing
                elif _of(state) == by_itself:
                    state = None
            elif state is not None and address.name[0] not in covered:
                # Not complete about this class: what is there besides may stay.
                state = DefaultPrivilegeState(_settled(_of(state) | _of(context.snapshot.live.get(address))))
            resolved[address] = resource.with_state(state)
        return resolved | _undeclared(desired, context), findings

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        _, database, schema, creator, role = address.name
        yield Address(address.target, "role", (creator,))
        if role != PUBLIC:
            yield Address(address.target, "role", (role,))
        yield Address(address.target, "database", (database,))
        if schema:
            yield Address(address.target, "schema", (database, schema))

    def subject(self, address: Address) -> Address:
        if address.name[-1] == PUBLIC:
            return address  # no role: what we shut for PUBLIC before is ours to shut again
        return Address(address.target, "role", (address.name[-1],))

    def weight(self, address: Address, state: State) -> int:
        return len(_of(state))

    def judge(self, change: Change, context: Context) -> Judgement:
        before = _of(change.before)
        lost = len({_bare(p) for p in before} - {_bare(p) for p in _of(change.after)})
        passed_on = any(p.endswith(WITH_GRANT_OPTION) for p in before - _of(change.after))
        risk = Risk.ACCESS if lost or passed_on else Risk.ADDITIVE
        return Judgement(risk, revokes=lost or int(passed_on), refused=_beyond_us(change.address, context))

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        same: dict[tuple[Any, ...], list[Change]] = defaultdict(list)
        for change in changes:
            same[(*change.address.name[:4], *_deeds(_before(change, context), _of(change.after)))].append(change)
        for (object_class, database, schema, creator, *deeds), found in same.items():
            roles = ", ".join(grantee(c.address.name[-1]) for c in found)
            where = f" IN SCHEMA {ident(schema)}" if schema else ""
            head = f"ALTER DEFAULT PRIVILEGES FOR ROLE {ident(creator)}{where}"
            for verb, privileges in deeds:
                objects = _WORDS.get(object_class, f"{object_class.upper()}S")
                text = _statement(verb, ", ".join(privileges), objects, roles)
                yield step([c.address for c in found], f"{head} {text}", database=database)


KIND = DefaultPrivilege()


def _beyond_us(address: Address, context: Context) -> str:
    me, creator = lesser(context), address.name[3]
    if me is None or can_act_as(creator, address.name[1], context):
        return ""
    who, ours = quote_part(creator), quote_part(me.role)
    return f"what {who} grants by default is for {who}, its members and superusers: GRANT {who} TO {ours}"


def _wishes(view: ClusterView) -> Iterator[tuple[tuple[str, ...], set[str], Source]]:
    for document in view.role_documents:
        if document.document.spec.ensure == "absent":
            continue
        for index, grant in enumerate(document.document.spec.privileges):
            if grant.future is None:
                continue
            privileges = grant.grant if grant.grant is not None else view.profiles[grant.profile or ""]
            source = source_of(document, "spec", "privileges", index, "future")
            for object_class, schema, found in _future_of(grant, privileges):
                for creator in grant.future.creators:
                    # What its creator may do with a new object needs no grant.
                    if creator != document.document.role:
                        name = (object_class, grant.database or "", schema, creator, document.document.role)
                        yield name, found, source
    yield from _of_public(view)


def _future_of(grant: Grant, privileges: PrivilegeSet) -> Iterator[tuple[str, str, set[str]]]:
    """Class, schema or nothing for all of them, privileges."""
    option = WITH_GRANT_OPTION if grant.grant_option else ""
    for object_class in _CLASSES:
        found = {p + option for p in privileges.of(object_class)}
        if not found or (object_class == "schema" and grant.schemas):
            continue  # privileges on schemas that a grant names are no wish for those to come
        for schema in ("",) if object_class in _WHOLE_DATABASE else grant.schemas or ("",):
            yield object_class, schema, found


def _of_public(view: ClusterView) -> Iterator[tuple[tuple[str, ...], set[str], Source]]:
    """Always for every schema: an entry of one schema can only add to what PostgreSQL gives by itself."""
    for database in view.databases:
        future = database.spec.public.future if database.spec.public else None
        if future is None or database.spec.ensure == "absent":
            continue
        for object_class, privileges in (("function", future.function), ("type", future.type)):
            for creator in future.creators if privileges is not None else ():
                name = (object_class, database.name, "", creator, PUBLIC)
                yield name, set(privileges or ()), database.source("public", "future")


def _by_itself(address: Address, context: Context) -> frozenset[str] | None:
    """What PUBLIC gets without any entry; None where an entry of its own says what everybody gets."""
    object_class, database, _, creator, _ = address.name
    replaced = context.snapshot.inventory.get("default-privilege")
    assert isinstance(replaced, frozenset)
    if (object_class, database, creator) in replaced:
        return None
    return DEFAULT_PUBLIC.get(object_class, frozenset())


def _before(change: Change, context: Context) -> frozenset[str]:
    if change.before is None and change.address.name[-1] == PUBLIC and not change.address.name[2]:
        return _by_itself(change.address, context) or frozenset()
    return _of(change.before)


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


def _deeds(before: frozenset[str], after: frozenset[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Verbs with their privileges: what goes first, then what comes."""
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
