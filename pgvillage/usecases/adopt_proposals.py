"""Which edit of which manifest says what lives, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.change import Change
from pgvillage.core.state import State
from pgvillage.estate.document_names import document_names
from pgvillage.estate.loader import Manifests
from pgvillage.estate.located import Located
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION
from pgvillage.resources.postgres.database import DatabaseState
from pgvillage.resources.postgres.default_privilege import DefaultPrivilegeState
from pgvillage.resources.postgres.membership import MembershipState
from pgvillage.resources.postgres.parameter import ParameterState
from pgvillage.resources.postgres.privilege_inventory import PrivilegeState
from pgvillage.resources.postgres.role import RoleState
from pgvillage.resources.postgres.setting import SettingState
from pgvillage.resources.postgres.sql import PUBLIC
from pgvillage.usecases.adopt_case import Case, Proposal, Refused, declared_databases
from pgvillage.usecases.adopt_edits import Edit, item, key, out
from pgvillage.usecases.adopt_gone import gone
from pgvillage.usecases.adopt_objects import MAKERS, public_privilege
from pgvillage.usecases.from_live import (
    ATTRIBUTES,
    database_document,
    inexpressible,
    kind_of,
    member_entry,
    parameter_value,
    role_document,
    role_spec,
)
from pgvillage.usecases.live_cluster import Outside, live_cluster
from pgvillage.usecases.live_database import database_entry
from pgvillage.usecases.live_grants import LiveGrants
from pgvillage.usecases.live_objects import (
    event_trigger_item,
    extension_item,
    publication_item,
    schema_item,
    server_item,
    slot_item,
    tablespace_item,
    wrapper_item,
)
from pgvillage.usecases.observe import Observation

_IN_DATABASE: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "schema": ("schemas", schema_item), "extension": ("extensions", extension_item),
    "publication": ("publications", publication_item), "event-trigger": ("eventTriggers", event_trigger_item),
    "foreign-data-wrapper": ("foreignDataWrappers", wrapper_item), "server": ("foreignServers", server_item),
}  # fmt: skip
_IN_CLUSTER: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "tablespace": ("tablespaces", tablespace_item), "slot": ("replicationSlots", slot_item)
}  # fmt: skip
_KEYS = {
    **dict(ATTRIBUTES), "login": "login", "valid_until": "validUntil", "owner": "owner", "comment": "comment",
    "allow_connections": "allowConnections", "is_template": "isTemplate", "version": "version",
}  # fmt: skip


def propose(address: Address, change: Change | None, seen: Observation, manifests: Manifests) -> Proposal:
    """The edits that make the manifests say what lives. Raises Refused."""
    desired, state = seen.desired.get(address), seen.context.snapshot.live.get(address)
    if address.kind == "database" and address.name[0] not in declared_databases(seen):
        desired = None  # only looked into
    if change is None:
        if desired is not None and desired.declared:
            raise Refused("it is as declared: there is nothing to adopt")
        if desired is not None and desired.state == state:
            raise Refused("it comes with something else (an extension, or its owner), and needs no manifest")
    if change is not None and change.after is None and desired is not None and desired.declared:
        raise Refused(f"the manifest says `ensure: absent` at {desired.source}: change that by hand")
    capabilities, snapshot = seen.context.capabilities, seen.context.snapshot
    assert capabilities is not None
    live = live_cluster(address.target, {}, snapshot, capabilities.major, _elsewhere(seen))
    case = Case(address, change, seen, manifests, live, state)
    if state is None:
        return gone(case)
    make = _MAKERS.get(address.kind)
    if make is None:
        raise Refused(f"a {address.kind.replace('-', ' ')} can't be adopted: write it into the manifest by hand")
    return Proposal(make(case), case.secrets)


def _elsewhere(seen: Observation) -> Outside:
    """Databases that nobody declared were not looked into."""
    declared = {d.name for d in seen.context.view.databases}
    found = {a.name[0] for a in seen.context.snapshot.live if a.kind == "database"} - declared
    return Outside(databases=dict.fromkeys(found, "not declared"))


def _role(case: Case) -> list[Edit]:
    role, state = case.address.name[0], case.state
    assert isinstance(state, RoleState)
    if case.declared:
        return _role_drift(case, case.document(role))
    if role.startswith("pg_") or role == "postgres":
        raise Refused("PostgreSQL's own roles are not declared")
    if why := inexpressible(state):
        raise Refused(why)
    spec = role_spec(role, state, case.live)
    if grants := _grants(case, case.live.by_kind["privilege"], case.live.by_kind["default-privilege"]).get(role):
        spec["privileges"] = grants
    kind, name_of = kind_of(state), document_names()
    for taken in {*case.manifests.users, *case.manifests.groups}:
        name_of(taken)
    return [Edit(role_document(kind, role, spec, case.address.target, name_of(role)))]


def _role_drift(case: Case, located: Located[Any]) -> list[Edit]:
    assert case.change is not None
    edits = []
    for each in case.change.fields:
        if each.sensitive:
            auth = getattr(located.document.spec, "auth", None)
            secret = f"secret {auth.password.secret!r}" if auth and auth.password else "a secret of the settings"
            raise Refused(f"a password is never read: put it into {secret}, or let an apply set it back")
        if each.name == "valid_until" and located.document.kind != "User":
            raise Refused("a Group has no `validUntil`: make it a User with `login: false`")
        value = each.before.removesuffix("T00:00:00Z") if each.name == "valid_until" and each.before else each.before
        edits.append(key(located, ("spec", _KEYS[each.name]), value))
    return edits


def _membership(case: Case) -> list[Edit]:
    group, member = case.address.name
    located, state = case.document(member), case.state
    assert isinstance(state, MembershipState)
    role = case.live.by_kind["role"].get((member,))
    entry = member_entry(group, state, bool(getattr(role, "inherit", True)))
    names = [m if isinstance(m, str) else m.role for m in located.document.spec.member_of]
    if group in names:
        return [key(located, ("spec", "memberOf", names.index(group)), entry)]
    if case.declared:
        raise Refused(f"it is declared at {case.seen.desired[case.address].source}: change its options there by hand")
    return [item(located, ("spec", "memberOf"), entry)]


def _privilege(case: Case) -> list[Edit]:
    role = case.address.name[-1]
    if role == PUBLIC and case.address.kind == "privilege":
        return public_privilege(case)
    if role == PUBLIC:
        raise Refused(
            "what PUBLIC gets in future is said under `public.future` of the database: see docs/privileges.md"
        )
    located = case.document(role)
    after = case.change.after if case.change is not None else None
    if isinstance(case.state, PrivilegeState):
        wanted = after.entries if isinstance(after, PrivilegeState) else {}
        more = {p: held - wanted.get(p, frozenset()) for p, held in case.state.entries.items()}
        lacking = {p for p, o in wanted.items() if o - _covering(case.state.entries, p)}
        states: dict[tuple[str, ...], State] = {case.address.name: PrivilegeState({p: o for p, o in more.items() if o})}
        found = _grants(case, states, {})
    else:
        assert isinstance(case.state, DefaultPrivilegeState)
        asked = after.privileges if isinstance(after, DefaultPrivilegeState) else frozenset()
        lacking = {p for p in asked - case.state.privileges if p + WITH_GRANT_OPTION not in case.state.privileges}
        found = _grants(case, {}, {case.address.name: DefaultPrivilegeState(case.state.privileges - asked)})
    if lacking:
        raise Refused(
            f"the manifest gives more than there is ({', '.join(sorted(lacking))}): take that out of `privileges` of "
            f"{located.document.metadata.name} at {located.at('spec', 'privileges')} by hand"
        )
    return [item(located, ("spec", "privileges"), grant) for grant in found.get(role, [])]


def _covering(held: Mapping[str, frozenset[str]], privilege: str) -> frozenset[str]:
    return held.get(privilege, frozenset()) | held.get(privilege + WITH_GRANT_OPTION, frozenset())


def _grants(
    case: Case, privileges: Mapping[tuple[str, ...], State], defaults: Mapping[tuple[str, ...], State]
) -> dict[str, list[Any]]:
    profiles = tuple(case.seen.context.view.profiles.items())
    inventory, major, databases = case.live.inventory, case.live.major, case.live.databases
    return LiveGrants(privileges, defaults, inventory, major, databases, profiles).by_role()


def _setting(case: Case) -> list[Edit]:
    assert isinstance(case.state, SettingState)
    subjects = dict(zip(case.address.name[::2], case.address.name[1::2], strict=True))
    changed = case.change.fields if case.change is not None else ()
    if "role" in subjects:
        located = case.document(subjects["role"])
        place = ("databaseSettings", subjects["database"]) if "database" in subjects else ("settings",)
        path: tuple[str | int, ...] = ("spec", *place)
    else:
        database = case.database(subjects["database"])
        located, path = database.located, (*database.path, "settings")
    unset = [out(located, (*path, f.name)) for f in changed if f.before is None]
    changes = [key(located, (*path, f.name), f.before) for f in changed if f.before is not None]
    return [*changes, *unset] or [key(located, path, dict(case.state.values))]


def _database(case: Case) -> list[Edit]:
    name, state = case.address.name[0], case.state
    assert isinstance(state, DatabaseState)
    if name in case.databases:
        return _drift(case, case.database(name).located, case.database(name).path)
    if name in case.seen.reading.live.failures:
        raise Refused(f"it could not be looked into: {case.seen.reading.live.failures[name]}")
    name_of = document_names()
    for taken in case.manifests.databases:
        name_of(taken)
    entry = database_entry(case.live, name, state, case.secrets)
    return [Edit(database_document(name, entry, case.address.target, name_of(name)))]


def _drift(case: Case, located: Located[Any], path: tuple[str | int, ...]) -> list[Edit]:
    """Fields that a manifest has a key for."""
    fields = case.change.fields if case.change is not None else ()
    if unsaid := [f.name for f in fields if f.name not in _KEYS or f.before is None]:
        where = located.at(*path)
        raise Refused(f"{', '.join(unsaid)} can't be changed in the manifest without a person: see {where}")
    return [key(located, (*path, _KEYS[f.name]), f.before) for f in fields]


def _in_database(case: Case) -> list[Edit]:
    database, name = case.address.name
    found = case.database(database)
    listed, make = _IN_DATABASE[case.address.kind]
    return _listed(case, found.located, (*found.path, listed), make(name, case.state))


def _in_cluster(case: Case) -> list[Edit]:
    listed, make = _IN_CLUSTER[case.address.kind]
    located = case.seen.context.view.located
    return _listed(case, located, ("spec", listed), make(case.address.name[0], case.state))


def _listed(case: Case, located: Located[Any], path: tuple[str | int, ...], entry: Any) -> list[Edit]:
    if not case.declared:
        return [item(located, path, entry)]
    specs: Any = located.document
    for step in path:
        specs = specs[step] if isinstance(step, int) else getattr(specs, _snake(step))
    names = [each if isinstance(each, str) else each.name for each in specs]
    index = names.index(case.address.name[-1])
    if isinstance(specs[index], str):
        return [key(located, (*path, index), entry)]
    return _drift(case, located, (*path, index))


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _parameter(case: Case) -> list[Edit]:
    name, located = case.address.name[0], case.seen.context.view.located
    assert isinstance(case.state, ParameterState)
    value = parameter_value(case.live.gucs.get(name), case.state) if case.state.by_system else None
    return [key(located, ("spec", "postgres", "parameters", name), value)]


_MAKERS: Mapping[str, Callable[[Case], list[Edit]]] = {
    "role": _role, "membership": _membership, "privilege": _privilege, "default-privilege": _privilege,
    "setting": _setting, "database": _database, "parameter": _parameter,
    **MAKERS, **dict.fromkeys(_IN_DATABASE, _in_database), **dict.fromkeys(_IN_CLUSTER, _in_cluster),
}  # fmt: skip
