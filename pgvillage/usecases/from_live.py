"""Manifests from a living cluster: what is there, written as people would write it. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from pgvillage.core.plan import Snapshot
from pgvillage.core.state import State
from pgvillage.estate.document_names import document_names
from pgvillage.estate.manifest.user import UserSpec
from pgvillage.resources.postgres.acl import public_at_creation
from pgvillage.resources.postgres.database import DatabaseState
from pgvillage.resources.postgres.guc import Guc
from pgvillage.resources.postgres.membership import MembershipState
from pgvillage.resources.postgres.parameter import ParameterState
from pgvillage.resources.postgres.privilege_inventory import Inventory, PrivilegeState
from pgvillage.resources.postgres.role import RoleState
from pgvillage.resources.postgres.schema import SchemaState
from pgvillage.resources.postgres.setting import SettingState
from pgvillage.resources.postgres.sql import PUBLIC
from pgvillage.usecases.live_grants import OWN_PROFILES, Document, LiveGrants, States

_API = "pgvillage/v1"
_ATTRIBUTES = (
    ("superuser", "superuser"), ("createdb", "createdb"), ("createrole", "createrole"), ("inherit", "inherit"),
    ("replication", "replication"), ("bypassrls", "bypassrls"), ("connection_limit", "connectionLimit"),
    ("comment", "comment"),
)  # fmt: skip
_OURS = "pgvillage"  # the ledger's schema


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """What there is, by kind; roles `outside` stay unmanaged, and so do databases that nobody could look into."""

    name: str
    connection: Document
    by_kind: Mapping[str, States]
    inventory: Inventory
    gucs: Mapping[str, Guc]
    major: int
    outside: frozenset[str]
    unread: frozenset[str]

    @property
    def roles(self) -> dict[str, RoleState]:
        found = self.by_kind["role"].items()
        return {n[0]: s for n, s in sorted(found) if isinstance(s, RoleState) and n[0] not in self.outside}

    @property
    def databases(self) -> dict[str, DatabaseState]:
        found = self.by_kind["database"].items()
        ordinary = {n[0]: s for n, s in sorted(found) if isinstance(s, DatabaseState) and is_ordinary(s)}
        return {name: state for name, state in ordinary.items() if name not in self.unread}


def live_cluster(
    name: str, connection: Document, snapshot: Snapshot, major: int, outside: Iterable[str], unread: Iterable[str]
) -> LiveCluster:
    by_kind: dict[str, dict[tuple[str, ...], State]] = defaultdict(dict)
    for address, state in snapshot.live.items():
        by_kind[address.kind][address.name] = state
    inventory, gucs = snapshot.inventory["privilege"], snapshot.inventory["parameter"]
    assert isinstance(inventory, Inventory)
    assert isinstance(gucs, dict)
    return LiveCluster(name, connection, by_kind, inventory, gucs, major, frozenset(outside), frozenset(unread))


def is_ordinary(state: object) -> bool:
    """No template, and not the remains of a DROP DATABASE that was interrupted (its limit is -2)."""
    return isinstance(state, DatabaseState) and not state.is_template and state.connection_limit != -2


def documents(live: LiveCluster) -> dict[str, list[Document]]:
    """Documents by file name."""
    grants = LiveGrants(
        live.by_kind["privilege"], live.by_kind["default-privilege"], live.inventory, live.major, live.databases
    ).by_role()
    users: list[Document] = []
    groups: list[Document] = []
    name_of = document_names()
    for role, state in live.roles.items():
        spec = _role(role, state, live)
        if role in grants:
            spec["privileges"] = grants[role]
        kind = "User" if state.login or state.valid_until else "Group"
        (users if kind == "User" else groups).append(_role_document(kind, role, spec, live.name, name_of(role)))
    cluster = _cluster(live, _named_roles([*users, *groups]))
    used = {grant.get("profile") for found in (*users, *groups) for grant in found["spec"].get("privileges", ())}
    profiles = {name: dict(profile) for name, profile in OWN_PROFILES.items() if name in used}
    estate: Document = {"profiles": profiles} if profiles else {}
    return {
        "estate.yaml": [document("Estate", live.name, estate | {"policy": {"correct": "off"}})],
        f"clusters/{live.name}.yaml": [cluster],
        "groups.yaml": groups,
        "users.yaml": users,
    }


def document(kind: str, name: str, spec: Document) -> Document:
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def inexpressible(state: State) -> str:
    """Why no manifest can say this role, or nothing."""
    if not isinstance(state, RoleState) or state.valid_until is None:
        return ""
    try:
        UserSpec.model_validate({"clusters": {"all": True}, "validUntil": state.valid_until})
    except ValidationError:
        return f"its VALID UNTIL ({state.valid_until}) is no date that a manifest can have"
    return ""


def _role_document(kind: str, role: str, spec: Document, cluster: str, name: str) -> Document:
    first: Document = {} if name == role else {"role": role}
    return document(kind, name, {**first, "clusters": {"names": [cluster]}, **spec})


def _cluster(live: LiveCluster, named: set[str]) -> Document:
    spec: Document = {"connection": live.connection}
    if parameters := _parameters(live):
        spec["postgres"] = {"parameters": parameters}
    databases = list(_databases(live))
    owners = {o for d in databases for o in (d.get("owner"), *(s["owner"] for s in d.get("schemas", ())))}
    known = {*live.roles, "postgres"}
    external = {role for role in {*live.outside, *owners, *named} - known if role and not role.startswith("pg_")}
    if external:
        spec["externalRoles"] = sorted(external)
    return document("Cluster", live.name, spec | {"databases": databases})


def _named_roles(found: Iterable[Document]) -> set[str]:
    """Roles that documents name beside their own."""
    named: set[str] = set()
    for spec in (each["spec"] for each in found):
        named |= {m if isinstance(m, str) else m["role"] for m in spec.get("memberOf", ())}
        named |= {c for grant in spec.get("privileges", ()) for c in grant.get("future", {}).get("creators", ())}
    return named


def _role(role: str, state: RoleState, live: LiveCluster) -> Document:
    plain = RoleState(login=state.login)
    spec: Document = {"login": False} if state.valid_until and not state.login else {}
    for name, key in _ATTRIBUTES:
        if getattr(state, name) != getattr(plain, name):
            spec[key] = getattr(state, name)
    if state.valid_until:
        spec["validUntil"] = state.valid_until.removesuffix("T00:00:00Z")
    member_of = [
        _member_of(group, membership, state.inherit)
        for (group, member), membership in sorted(live.by_kind["membership"].items())
        if member == role and isinstance(membership, MembershipState)
    ]
    if member_of:
        spec["memberOf"] = member_of
    settings = live.by_kind["setting"]
    if isinstance(own := settings.get(("role", role)), SettingState):
        spec["settings"] = dict(own.values)
    in_databases = {
        name[3]: dict(s.values)
        for name, s in sorted(settings.items())
        if len(name) == 4 and name[1] == role and name[3] in live.databases and isinstance(s, SettingState)
    }
    if in_databases:
        spec["databaseSettings"] = in_databases
    return spec


def _member_of(group: str, state: MembershipState, inherits: bool) -> str | Document:
    """Options that are as PostgreSQL fills them in are not written."""
    options: Document = {"admin": True} if state.admin else {}
    if state.inherit is not None and state.inherit is not inherits:
        options["inherit"] = state.inherit
    if state.set is False:
        options["set"] = False
    return {"role": group, **options} if options else group


def _parameters(live: LiveCluster) -> Document:
    found = sorted(live.by_kind["parameter"].items())
    return {n[0]: _value(live.gucs.get(n[0]), s) for n, s in found if isinstance(s, ParameterState) and s.by_system}


def _value(guc: Guc | None, state: ParameterState) -> object:
    if guc and guc.vartype == "bool" and state.value in ("on", "off"):
        return state.value == "on"
    if guc and guc.vartype == "integer" and re.fullmatch(r"-?[0-9]{1,9}", state.value or ""):
        return int(state.value or 0)
    return state.value


def _databases(live: LiveCluster) -> Iterable[Document]:
    for name, state in live.databases.items():
        entry: Document = {"name": name, **({"owner": state.owner} if state.owner else {})}
        if state.connection_limit != -1:
            entry["connectionLimit"] = state.connection_limit
        if not state.allow_connections:
            entry["allowConnections"] = False
        if state.comment and name != "postgres":
            entry["comment"] = state.comment
        extensions = sorted(n[1] for n in live.by_kind["extension"] if n[0] == name and n[1] != "plpgsql")
        if extensions:
            entry["extensions"] = extensions
        schemas = [_schema(n[1], s) for n, s in sorted(live.by_kind["schema"].items()) if _is_declared(name, n, s)]
        if schemas:
            entry["schemas"] = schemas
        if isinstance(own := live.by_kind["setting"].get(("database", name)), SettingState):
            entry["settings"] = dict(own.values)
        if public := _public(live, name):
            entry["public"] = public
        yield entry


def _is_declared(database: str, name: tuple[str, ...], state: State) -> bool:
    """Every schema but our own, and but `public` where it is as it comes."""
    if not isinstance(state, SchemaState) or name[0] != database or name[1] == _OURS or state.owner is None:
        return False
    return name[1] != "public" or state.owner not in ("pg_database_owner", "postgres")


def _schema(name: str, state: State) -> Document:
    assert isinstance(state, SchemaState)
    return {"name": name, "owner": state.owner, **({"comment": state.comment} if state.comment else {})}


def _public(live: LiveCluster, database: str) -> Document:
    """What PUBLIC has, where that is not what PostgreSQL gives by itself."""
    found: Document = {}
    has = _held_by_public(live, ("database", database, PUBLIC))
    if has != public_at_creation(("database", database, ""), live.major):
        found["database"] = sorted(has)
    schemas = {
        schema: sorted(has)
        for schema in sorted(live.inventory.schemas.get(database, ()))
        if schema != _OURS
        and (has := _held_by_public(live, ("schema", database, schema, PUBLIC)))
        != public_at_creation(("schema", database, schema), live.major)
    }
    return found | ({"schemas": schemas} if schemas else {}) | _shut(live, database)


def _shut(live: LiveCluster, database: str) -> Document:
    """Where PUBLIC has nothing of what PostgreSQL gives it by itself."""
    found: Document = defaultdict(dict)
    for place, names in sorted(live.inventory.names.items()):
        if place[1] != database or place[2] == _OURS:
            continue
        state = live.by_kind["privilege"].get((*filter(None, place), PUBLIC))
        if place[0] in ("function", "type") and state is None:
            found[f"{place[0]}s"][place[2]] = []
        elif place[0] == "language":
            held = state.entries if isinstance(state, PrivilegeState) else {}
            found["languages"] |= {name: [] for name in sorted(names - held.get("USAGE", frozenset()))}
    return {key: value for key, value in found.items() if value}


def _held_by_public(live: LiveCluster, name: tuple[str, ...]) -> frozenset[str]:
    state = live.by_kind["privilege"].get(name)
    return frozenset(state.entries) if isinstance(state, PrivilegeState) else frozenset()


def connection_of(hosts: Iterable[str]) -> Document:
    return {"hosts": list(hosts), "credential": "admin"}
