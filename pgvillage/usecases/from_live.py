"""Manifests from a living cluster: what is there, written as people would write it. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pgvillage.core.address import Address
from pgvillage.core.state import State
from pgvillage.estate.view import BUILT_IN_PROFILES
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION, every_privilege
from pgvillage.resources.postgres.database import DatabaseState
from pgvillage.resources.postgres.membership import MembershipState
from pgvillage.resources.postgres.parameter import ParameterState
from pgvillage.resources.postgres.privilege import PrivilegeState, place_of
from pgvillage.resources.postgres.role import RoleState
from pgvillage.resources.postgres.schema import SchemaState
from pgvillage.resources.postgres.setting import SettingState

Document = dict[str, Any]
_API = "pgvillage/v1"
_CLASSES = ("schema", "table", "sequence")


def documents(
    cluster: Document, live: Mapping[Address, State], major: int, leave_out: Iterable[str]
) -> dict[str, list[Document]]:
    """Documents by file name. `cluster` is the Cluster document to complete; roles in `leave_out` stay unmanaged."""
    by_kind: dict[str, dict[tuple[str, ...], State]] = defaultdict(dict)
    for address, state in live.items():
        by_kind[address.kind][address.name] = state
    name_of = _document_names()
    outside = set(leave_out)
    roles = {n[0]: s for n, s in by_kind["role"].items() if isinstance(s, RoleState) and n[0] not in outside}
    cluster["spec"] |= {"postgres": {"parameters": _parameters(by_kind["parameter"])}}
    cluster["spec"]["databases"] = list(_databases(by_kind))
    cluster["spec"]["externalRoles"] = sorted({*outside, *_owners(by_kind)} - set(roles))
    grants = _grants(by_kind["privilege"], major)
    users: list[Document] = []
    groups: list[Document] = []
    for role, state in sorted(roles.items()):
        spec = _role(role, state, by_kind)
        if role in grants:
            spec["privileges"] = grants[role]
        document = _document("User" if state.login else "Group", role, spec, cluster, name_of)
        (users if state.login else groups).append(document)
    return {f"clusters/{cluster['metadata']['name']}.yaml": [cluster], "groups.yaml": groups, "users.yaml": users}


def _document_names() -> Callable[[str], str]:
    """Names for documents from names of roles: lower case, no odd characters, each once."""
    used: set[str] = set()

    def name_of(role: str) -> str:
        base = re.sub(r"[^a-z0-9]+", "-", role.lower()).strip("-")[:55] or "role"
        name, number = base, 2
        while name in used:
            name, number = f"{base}-{number}", number + 1
        used.add(name)
        return name

    return name_of


def _document(kind: str, role: str, spec: Document, cluster: Document, name_of: Callable[[str], str]) -> Document:
    name = name_of(role)
    first: Document = {} if name == role else {"role": role}
    first["clusters"] = {"names": [cluster["metadata"]["name"]]}
    return {"apiVersion": _API, "kind": kind, "metadata": {"name": name}, "spec": first | spec}


def _role(role: str, state: RoleState, by_kind: Mapping[str, Mapping[tuple[str, ...], State]]) -> Document:
    spec: Document = {}
    plain = RoleState(login=state.login)
    for field, key in (
        ("superuser", "superuser"), ("createdb", "createdb"), ("createrole", "createrole"), ("inherit", "inherit"),
        ("replication", "replication"), ("bypassrls", "bypassrls"), ("connection_limit", "connectionLimit"),
        ("comment", "comment"),
    ):  # fmt: skip
        if getattr(state, field) != getattr(plain, field):
            spec[key] = getattr(state, field)
    if state.login and state.valid_until:
        spec["validUntil"] = state.valid_until
    member_of = [
        _member_of(group, membership)
        for (group, member), membership in sorted(by_kind["membership"].items())
        if member == role and isinstance(membership, MembershipState)
    ]
    if member_of:
        spec["memberOf"] = member_of
    settings = by_kind["setting"]
    if isinstance(own := settings.get(("role", role)), SettingState):
        spec["settings"] = dict(own.values)
    in_databases = {
        name[3]: dict(s.values)
        for name, s in sorted(settings.items())
        if len(name) == 4 and name[1] == role and isinstance(s, SettingState)
    }
    if in_databases:
        spec["databaseSettings"] = in_databases
    return spec


def _member_of(group: str, state: MembershipState) -> str | Document:
    options: Document = {"admin": True} if state.admin else {}
    if state.inherit is False:
        options["inherit"] = False
    if state.set is False:
        options["set"] = False
    return {"role": group, **options} if options else group


def _parameters(found: Mapping[tuple[str, ...], State]) -> Document:
    return {n[0]: s.value for n, s in sorted(found.items()) if isinstance(s, ParameterState) and s.by_system}


def _databases(by_kind: Mapping[str, Mapping[tuple[str, ...], State]]) -> Iterable[Document]:
    for (name,), state in sorted(by_kind["database"].items()):
        if not isinstance(state, DatabaseState) or state.is_template or not state.allow_connections:
            continue
        entry: Document = {"name": name, "owner": state.owner}
        if state.connection_limit != -1:
            entry["connectionLimit"] = state.connection_limit
        extensions = sorted(n[1] for n in by_kind["extension"] if n[0] == name and n[1] != "plpgsql")
        if extensions:
            entry["extensions"] = extensions
        schemas = [
            {"name": n[1], "owner": s.owner}
            for n, s in sorted(by_kind["schema"].items())
            if n[0] == name and isinstance(s, SchemaState) and n[1] not in ("public", "pgvillage")
        ]
        if schemas:
            entry["schemas"] = schemas
        if isinstance(own := by_kind["setting"].get(("database", name)), SettingState):
            entry["settings"] = dict(own.values)
        yield entry


def _owners(by_kind: Mapping[str, Mapping[tuple[str, ...], State]]) -> set[str]:
    owners = {s.owner for s in by_kind["database"].values() if isinstance(s, DatabaseState)}
    owners |= {s.owner for s in by_kind["schema"].values() if isinstance(s, SchemaState)}
    return {o for o in owners if isinstance(o, str) and not o.startswith("pg_") and o != "postgres"}


def _grants(found: Mapping[tuple[str, ...], State], major: int) -> dict[str, list[Document]]:
    """For each role its grants: schemas with the same privileges together, profiles by their name."""
    # role -> database -> schema ("" for the database itself) -> class -> privilege -> objects (None: all)
    held: dict[str, dict[str, dict[str, dict[str, dict[str, frozenset[str] | None]]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for name, state in found.items():
        if isinstance(state, PrivilegeState):
            object_class, database, schema = place_of(Address("", "privilege", name))
            whole = object_class in ("database", "schema")
            held[name[-1]][database][schema][object_class] = {
                privilege: None if whole or objects == state.every else objects
                for privilege, objects in state.entries.items()
            }
    return {role: list(_of_role(databases, major)) for role, databases in sorted(held.items())}


_Held = Mapping[str, Mapping[str, Mapping[str, frozenset[str] | None]]]


def _of_role(databases: Mapping[str, _Held | Any], major: int) -> Iterable[Document]:
    for database, schemas in sorted(databases.items()):
        on_database = schemas.get("", {}).get("database", {})
        same: dict[str, list[str]] = defaultdict(list)
        pieces: dict[str, list[Document]] = {}
        for schema, classes in sorted(schemas.items()):
            if schema:
                grants = list(_pieces(classes))
                same[repr(grants)].append(schema)
                pieces[repr(grants)] = grants
        used_profile = False
        for key, names in same.items():
            profile = _profile(pieces[key], on_database, major)
            if profile:
                used_profile = True
                yield {"profile": profile, "database": database, "schemas": names}
            else:
                for piece in pieces[key]:
                    yield {**piece, "database": database, "schemas": names}
        if on_database and not used_profile:
            for option in (False, True):
                plain = sorted(
                    p.removesuffix(WITH_GRANT_OPTION) for p in on_database if p.endswith(WITH_GRANT_OPTION) is option
                )
                if plain:
                    extra = {"grantOption": True} if option else {}
                    yield {"grant": {"database": plain}, "database": database, **extra}


def _pieces(classes: Mapping[str, Mapping[str, frozenset[str] | None]]) -> Iterable[Document]:
    """One document for each set of objects: all of them together, named ones apart, passed-on ones apart."""
    grouped: dict[tuple[bool, tuple[tuple[str, tuple[str, ...]], ...]], dict[str, list[str]]] = defaultdict(dict)
    for object_class in _CLASSES:
        for privilege, objects in sorted(classes.get(object_class, {}).items()):
            option = privilege.endswith(WITH_GRANT_OPTION)
            named = (object_class + "s", tuple(sorted(objects or ())))
            names: tuple[tuple[str, tuple[str, ...]], ...] = () if objects is None else (named,)
            entry = grouped[option, names]
            entry.setdefault(object_class, []).append(privilege.removesuffix(WITH_GRANT_OPTION))
    for (option, names), grant in grouped.items():
        document: Document = {"grant": grant, **{key: list(objects) for key, objects in names}}
        if option:
            document["grantOption"] = True
        yield document


def _profile(pieces: list[Document], on_database: Mapping[str, object], major: int) -> str:
    """The built-in profile that says exactly this, or nothing."""
    if len(pieces) != 1 or set(pieces[0]) != {"grant"}:
        return ""
    for name, profile in BUILT_IN_PROFILES.items():
        wanted = {c: _spelt_out(c, profile.of(c), major) for c in ("database", *_CLASSES)}
        found = {c: set(pieces[0]["grant"].get(c, ())) for c in _CLASSES} | {"database": set(on_database)}
        if wanted == found:
            return name
    return ""


def _spelt_out(object_class: str, privileges: Iterable[str], major: int) -> set[str]:
    found = set(privileges)
    return set(every_privilege(object_class, major)) if "ALL" in found else found
