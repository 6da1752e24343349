"""Manifests from a living cluster: what is there, written as people would write it. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from pgvillage.core.guc import Guc
from pgvillage.core.state import State
from pgvillage.estate.document_names import document_names
from pgvillage.estate.manifest.user import UserSpec
from pgvillage.estate.view import BUILT_IN_PROFILES
from pgvillage.resources.postgres.default_privilege import DefaultPrivilegeState
from pgvillage.resources.postgres.membership import MembershipState
from pgvillage.resources.postgres.parameter import ParameterState
from pgvillage.resources.postgres.privilege_inventory import PrivilegeState
from pgvillage.resources.postgres.role import RoleState
from pgvillage.resources.postgres.setting import SettingState
from pgvillage.resources.postgres.sql import PUBLIC
from pgvillage.usecases.estate_files import dumped
from pgvillage.usecases.live_cluster import Document, LiveCluster
from pgvillage.usecases.live_database import database_entry
from pgvillage.usecases.live_grants import OWN_PROFILES, LiveGrants
from pgvillage.usecases.live_objects import Secrets, slots, tablespaces
from pgvillage.usecases.live_profiles import shared_profiles

_API = "pgvillage/v1"
ATTRIBUTES = (
    ("superuser", "superuser"), ("createdb", "createdb"), ("createrole", "createrole"), ("inherit", "inherit"),
    ("replication", "replication"), ("bypassrls", "bypassrls"), ("connection_limit", "connectionLimit"),
    ("comment", "comment"),
)  # fmt: skip
_MUCH = 25  # lines from which on a database gets a file of its own
_MANY = 300  # documents from which on a file becomes a folder


@dataclass(frozen=True, slots=True)
class Adopted:
    """Documents and a word about each file; secrets of the settings to fill in; what is left out, and why."""

    files: Mapping[str, list[Document]]
    remarks: Mapping[str, str]
    secrets: Mapping[str, str]
    left: Mapping[str, str]


def adopted(live: LiveCluster) -> Adopted:
    """Everything there is to say about the cluster."""
    live.left.clear()
    users, groups = _role_documents(live)
    secrets: Secrets = {}
    cluster, databases = _cluster(live, [*users, *groups], secrets)
    profiles = shared_profiles((d["spec"] for d in (*users, *groups)), {*BUILT_IN_PROFILES, *OWN_PROFILES})
    used = {grant.get("profile") for d in (*users, *groups) for grant in d["spec"].get("privileges", ())}
    profiles = {name: dict(profile) for name, profile in OWN_PROFILES.items() if name in used} | profiles
    estate: Document = {"profiles": profiles} if profiles else {}
    files = {
        "estate.yaml": [document("Estate", live.name, estate | {"policy": {"correct": "off"}})],
        f"clusters/{live.name}.yaml": [cluster],
        **{f"databases/{each['metadata']['name']}.yaml": [each] for each in databases},
        **_split("groups", groups),
        **_split("users", users),
    }
    return Adopted(files, {name: _remark(name, live.name) for name in files}, secrets, dict(live.left))


def _role_documents(live: LiveCluster) -> tuple[list[Document], list[Document]]:
    """Users and groups."""
    privileges = dict(live.of("privilege", PrivilegeState))
    defaults = dict(live.of("default-privilege", DefaultPrivilegeState))
    grants = LiveGrants(privileges, defaults, live.inventory, live.major, live.databases).by_role()
    memberships = _memberships(live)
    users: list[Document] = []
    groups: list[Document] = []
    name_of = document_names()
    for role, state in live.roles.items():
        spec = _role(role, state, live, memberships.get(role, ()))
        if role in grants:
            spec["privileges"] = grants[role]
        kind = kind_of(state)
        (users if kind == "User" else groups).append(role_document(kind, role, spec, live.name, name_of(role)))
    return users, groups


def role_spec(role: str, state: RoleState, live: LiveCluster) -> Document:
    """A role's own document, but for its privileges."""
    return _role(role, state, live, _memberships(live).get(role, ()))


def kind_of(state: RoleState) -> str:
    """User or Group: who logs in, or could until a day, is a user."""
    return "User" if state.login or state.valid_until else "Group"


def _memberships(live: LiveCluster) -> dict[str, list[tuple[str, MembershipState]]]:
    found: dict[str, list[tuple[str, MembershipState]]] = defaultdict(list)
    for (group, member), state in live.of("membership", MembershipState):
        found[member].append((group, state))
    return found


def _split(name: str, found: list[Document]) -> dict[str, list[Document]]:
    """One file, or of many documents one for each first letter."""
    if len(found) <= _MANY:
        return {f"{name}.yaml": found} if found else {}
    files: dict[str, list[Document]] = defaultdict(list)
    for each in found:
        files[f"{name}/{each['metadata']['name'][0]}.yaml"].append(each)
    return files


def _remark(file: str, cluster: str) -> str:
    head, _, rest = file.partition("/")
    words = {
        "estate.yaml": "What holds everywhere: profiles of privileges, and policy; `correct: off` reports drift only.",
        "clusters": f"Cluster {cluster}: where it is, its parameters, and its databases with what is in them.",
        "databases": f"A database of cluster {cluster} that has much of its own.",
        "groups": "Roles that nobody logs in as, with what they may do.",
        "users": "Roles that log in, with their groups. Passwords stay as they are until `auth` names a secret.",
    }
    return f"# {words[head if rest or head == 'estate.yaml' else head.removesuffix('.yaml')]}\n"


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


def role_document(kind: str, role: str, spec: Document, cluster: str, name: str) -> Document:
    first: Document = {} if name == role else {"role": role}
    return document(kind, name, {**first, "clusters": {"names": [cluster]}, **spec})


def _cluster(live: LiveCluster, roles: list[Document], secrets: Secrets) -> tuple[Document, list[Document]]:
    """The cluster, and documents of the databases that have much of their own."""
    spec: Document = {"connection": live.connection}
    if parameters := _parameters(live):
        spec["postgres"] = {"parameters": parameters}
    spec |= {k: v for k, v in (("tablespaces", tablespaces(live)), ("replicationSlots", slots(live))) if v}
    entries = {name: database_entry(live, name, state, secrets) for name, state in live.databases.items()}
    named = _named_roles(roles).union(*map(_named_in_database, entries.values()))
    named |= {t["owner"] for t in spec.get("tablespaces", ()) if "owner" in t}
    known = {*live.roles, "postgres", PUBLIC}
    external = {role for role in {*live.outside.roles, *named} - known if role and not role.startswith("pg_")}
    if external:
        spec["externalRoles"] = sorted(external)
    own = {name for name, entry in entries.items() if dumped([entry]).count("\n") > _MUCH}
    spec["databases"] = [{"name": name, **entry} for name, entry in entries.items() if name not in own]
    name_of = document_names()
    return document("Cluster", live.name, spec), [
        database_document(name, entries[name], live.name, name_of(name)) for name in sorted(own)
    ]


def database_document(database: str, entry: Document, cluster: str, name: str) -> Document:
    first: Document = {} if name == database else {"database": database}
    return document("Database", name, {**first, "clusters": {"names": [cluster]}, **entry})


def _named_in_database(entry: Document) -> set[str]:
    """Every role that a database's entry names."""
    lists = (
        "schemas",
        "publications",
        "subscriptions",
        "eventTriggers",
        "foreignDataWrappers",
        "foreignServers",
        "ownership",
    )
    owners = {each.get("owner") for key in lists for each in entry.get(key, ())} | {entry.get("owner")}
    mapped = {m["role"] for server in entry.get("foreignServers", ()) for m in server.get("userMappings", ())}
    policies = (policy for table in entry.get("rowSecurity", ()) for policy in table.get("policies", ()))
    creators = entry.get("public", {}).get("future", {}).get("creators", ())
    return {o for o in owners if o} | mapped | {r for p in policies for r in p.get("roles", ())} | set(creators)


def _named_roles(found: Iterable[Document]) -> set[str]:
    """Roles that documents name beside their own."""
    named: set[str] = set()
    for spec in (each["spec"] for each in found):
        named |= {m if isinstance(m, str) else m["role"] for m in spec.get("memberOf", ())}
        named |= {c for grant in spec.get("privileges", ()) for c in grant.get("future", {}).get("creators", ())}
    return named


def _role(
    role: str, state: RoleState, live: LiveCluster, memberships: Iterable[tuple[str, MembershipState]]
) -> Document:
    plain = RoleState(login=state.login)
    spec: Document = {"login": False} if state.valid_until and not state.login else {}
    for name, key in ATTRIBUTES:
        if getattr(state, name) != getattr(plain, name):
            spec[key] = getattr(state, name)
    if state.valid_until:
        spec["validUntil"] = state.valid_until.removesuffix("T00:00:00Z")
    if member_of := [member_entry(group, membership, state.inherit) for group, membership in memberships]:
        spec["memberOf"] = member_of
    own = live.of("setting", SettingState, "role", role)
    if everywhere := [dict(s.values) for name, s in own if len(name) == 2]:
        spec["settings"] = everywhere[0]
    in_databases = {name[3]: dict(s.values) for name, s in own if len(name) == 4 and name[3] in live.databases}
    if in_databases:
        spec["databaseSettings"] = in_databases
    return spec


def member_entry(group: str, state: MembershipState, inherits: bool) -> str | Document:
    """Options that are as PostgreSQL fills them in are not written."""
    options: Document = {"admin": True} if state.admin else {}
    if state.inherit is not None and state.inherit is not inherits:
        options["inherit"] = state.inherit
    if state.set is False:
        options["set"] = False
    return {"role": group, **options} if options else group


def _parameters(live: LiveCluster) -> Document:
    found = live.of("parameter", ParameterState)
    return {name[0]: parameter_value(live.gucs.get(name[0]), state) for name, state in found if state.by_system}


def parameter_value(guc: Guc | None, state: ParameterState) -> object:
    if guc and guc.vartype == "bool" and state.value in ("on", "off"):
        return state.value == "on"
    if guc and guc.vartype == "integer" and re.fullmatch(r"-?[0-9]{1,9}", state.value or ""):
        return int(state.value or 0)
    return state.value


def connection_of(hosts: Iterable[str]) -> Document:
    return {"hosts": list(hosts), "credential": "admin"}
