"""Everything about one role on one cluster: what it is, who declares it, what it can do, what is not as declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pgvillage.access.directory import Feeds, feeds_of
from pgvillage.access.role_rights import Right, fits, rights_of, set_role_only
from pgvillage.access.roles import Chain, RoleFacts, Roles, Row, roles_of
from pgvillage.core.address import Address
from pgvillage.core.change import Change, Resource
from pgvillage.core.live import Capabilities, Live
from pgvillage.core.plan import Snapshot
from pgvillage.core.state import State
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.default_privilege import DefaultPrivilegeState
from pgvillage.resources.postgres.membership import MembershipState
from pgvillage.resources.postgres.privilege_inventory import Place, groups
from pgvillage.resources.postgres.role import RoleState
from pgvillage.resources.postgres.sql import PUBLIC

_PREDEFINED = ("pg_database_owner", "pg_read_all_data", "pg_write_all_data", "pg_maintain")
_TEMPLATES = ("template0", "template1")
_SINCE = {"pg_database_owner": 14, "pg_read_all_data": 14, "pg_write_all_data": 14, "pg_maintain": 17}


@dataclass(frozen=True, slots=True)
class RoleAccount:
    """One role; `state` is None where it is declared and not there yet. `unread` databases could not be looked into."""

    cluster: str
    role: str
    state: RoleState | None
    resource: Resource | None
    roles: Roles
    feeds: Feeds
    becomes: tuple[tuple[str, Chain], ...]
    rights: tuple[Right, ...]
    profiles: Mapping[tuple[str, str], str]
    owns: Mapping[Place, frozenset[str]]
    settings: Mapping[Address, State]
    future: Mapping[Address, DefaultPrivilegeState]
    changes: tuple[Change, ...]
    unread: Mapping[str, str]
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Accounts:
    """The role on each cluster that knows it; `failed` could not be read, with the reason."""

    role: str
    accounts: tuple[RoleAccount, ...]
    failed: tuple[tuple[str, str], ...]


def graph_of(snapshot: Snapshot, major: int) -> Roles:
    """The graph from states; predefined roles appear in memberships only, for the kind role leaves them out."""
    facts = [
        RoleFacts(a.name[0], s.login, s.superuser, s.inherit, s.bypassrls, s.valid_until)
        for a, s in snapshot.live.items()
        if isinstance(s, RoleState)
    ]
    facts += [RoleFacts(name) for name in _PREDEFINED if major >= _SINCE[name]]
    return roles_of(facts, _memberships(snapshot), major)


def _memberships(snapshot: Snapshot) -> Iterator[Row]:
    for address, state in snapshot.live.items():
        if isinstance(state, MembershipState):
            inherit = state.inherit if isinstance(state.inherit, bool) else None
            may_set = state.set if isinstance(state.set, bool) else None
            yield address.name[0], address.name[1], state.admin, inherit, may_set


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a cluster found, with what its plan would change."""

    view: ClusterView
    snapshot: Snapshot
    live: Live
    capabilities: Capabilities
    desired: Mapping[Address, Resource]
    changes: tuple[Change, ...]


def account_of(role: str, look: Look) -> RoleAccount:
    """Everything about `role`, which live or the estate knows."""
    snapshot, cluster = look.snapshot, look.view.name
    roles = graph_of(snapshot, look.capabilities.major)
    address = Address(cluster, "role", (role,))
    state = snapshot.live.get(address)
    found = [group for group in groups(look.live) if group[0][1] not in _TEMPLATES]
    owners = {place[1]: owner for place, owner, *_ in found if place[0] == "database"}
    rights, totals = rights_of(role, roles, found, owners)
    heard = {PUBLIC, *roles.inherited(role)}
    return RoleAccount(
        cluster=cluster,
        role=role,
        state=state if isinstance(state, RoleState) else None,
        resource=look.desired.get(address),
        roles=roles,
        feeds=feeds_of(look.view),
        becomes=tuple(set_role_only(role, roles)),
        rights=tuple(rights),
        profiles=fits(rights, totals, look.view.profiles),
        owns=_owned(role, found),
        settings={a: s for a, s in snapshot.live.items() if a.kind == "setting" and a.name[:2] == ("role", role)},
        future={a: s for a, s in snapshot.live.items() if isinstance(s, DefaultPrivilegeState) and a.name[-1] in heard},
        changes=tuple(c for c in look.changes if _is_about(c.address, role)),
        unread={**_not_looked_at(look), **look.live.failures},
        read_at=snapshot.read_at,
    )


def _owned(
    role: str, found: Iterable[tuple[Place, str, list[str] | None, frozenset[str], object]]
) -> dict[Place, frozenset[str]]:
    owned: dict[Place, frozenset[str]] = {}
    for place, owner, _, names, _ in found:
        if owner == role and place[0] != "column":
            owned[place] = owned.get(place, frozenset()) | names
    return owned


def _is_about(address: Address, role: str) -> bool:
    name = address.name
    if address.kind == "setting":
        return name[:2] == ("role", role)
    if address.kind in ("privilege", "membership"):
        return name[-1] == role or (address.kind == "membership" and name[0] == role)
    if address.kind == "default-privilege":
        return role in name[-2:]
    return address.kind == "role" and name == (role,)


def _not_looked_at(look: Look) -> dict[str, str]:
    databases = look.capabilities.databases
    read = {*look.live.by_database, *look.live.failures, *_TEMPLATES}
    return {name: "no manifest declares it, so nobody looked into it" for name in databases if name not in read}
