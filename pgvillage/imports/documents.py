"""From a draft to documents by file name, in an order that never changes, with nothing in them that is invalid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pgvillage.estate.document_names import document_names
from pgvillage.estate.manifest import KINDS
from pgvillage.imports.draft import DatabaseDraft, Document, Draft, RoleDraft
from pgvillage.imports.reading import Node
from pgvillage.report.words import show_name

_ROLE_ORDER = (
    "role", "clusters", "ensure", "login", "superuser", "createdb", "createrole", "inherit", "replication", "bypassrls",
    "connectionLimit", "comment", "validUntil", "auth", "settings", "databaseSettings", "memberOf", "members",
    "privileges",
)  # fmt: skip
_DATABASE_ORDER = ("name", "owner", "encoding", "locale", "template", "connectionLimit", "allowConnections")
_HOST = "localhost:5432"


@dataclass(eq=False)
class Made:
    """Documents, and where in the foreign file each part of them comes from."""

    files: dict[str, list[Document]]
    origins: dict[tuple[str, str], Node] = field(default_factory=dict)

    def origin(self, document: Mapping[str, Any]) -> Node:
        return self.origins[document["kind"], document["metadata"]["name"]]


def documents_of(draft: Draft, cluster: str) -> Made:
    """All documents; what would be invalid in them is left out and named."""
    _declare_what_is_named(draft)
    clusters = draft.clusters or {cluster: draft.server.hosts}
    made = Made(
        {"estate.yaml": [], **{f"clusters/{n}.yaml": [] for n in clusters}, "groups.yaml": [], "users.yaml": []}
    )
    name_of = document_names()
    for _, role in sorted(draft.roles.items()):
        spec = _role_spec(draft, role)
        name = name_of(role.name)
        head: Document = {} if name == role.name else {"role": role.name}
        document = _document(role.kind, name, _ordered({**head, "clusters": {"names": [cluster]}, **spec}))
        made.origins[role.kind, name] = role.node
        if _fitted(document, role.node):
            made.files["users.yaml" if role.kind == "User" else "groups.yaml"].append(document)
    estate: Document = {"policy": {"correct": "off"}}
    if draft.heir:
        estate = {"defaults": {"heir": draft.heir}, **estate}
    made.files["estate.yaml"].append(_document("Estate", cluster, estate))
    made.origins["Estate", cluster] = draft.root
    for name, hosts in clusters.items():
        made.origins["Cluster", name] = draft.root
        whole = _document("Cluster", name, _cluster_spec(draft, hosts))
        if _fitted(whole, draft.root):
            made.files[f"clusters/{name}.yaml"].append(whole)
    return made


def _document(kind: str, name: str, spec: Document) -> Document:
    return {"apiVersion": "pgvillage/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _ordered(spec: Document) -> Document:
    return {key: spec[key] for key in (*_ROLE_ORDER, *spec) if key in spec}


def _role_spec(draft: Draft, role: RoleDraft) -> Document:
    spec = dict(role.spec)
    if role.kind == "User" and not role.login:
        spec["login"] = False
    if role.kind == "Group":
        spec.pop("login", None)
    member_of = [{"role": group, **o} if o else group for group, o in sorted(role.member_of.items())]
    if member_of:
        spec["memberOf"] = member_of
    if privileges := draft.grants.of(role.name):
        spec["privileges"] = privileges
    return spec


def _fitted(document: Document, node: Node) -> bool:
    """Whether the document is valid, after what is not has been taken out of it and named."""
    for _ in range(100):
        try:
            KINDS[document["kind"]].model_validate(document)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            where, why = found["loc"], re.sub(r"^Value error, ", "", found["msg"])
            if not drop_part(document, where):
                name = document["spec"].get("role", document["metadata"]["name"])
                what = f"{document['kind'].lower()} {show_name(name)}"
                node.note(f"{what} was left out: no manifest can say it ({why})", "declare it by hand")
                return False
            part = ".".join(str(step) for step in where if step != "spec")
            node.note(f"{part} was left out: no manifest can say it ({why})", "write it by hand")
        else:
            return True
    return False


def drop_part(document: Document, where: Iterable[str | int]) -> bool:
    """Take the smallest part at this place that a document can do without; False where there is none."""
    path = [step for step in where if step != "spec"]
    if not path or path[0] in ("role", "clusters", "connection"):
        return False
    parent: Any = document["spec"]
    best: tuple[Any, Any] | None = None
    for step in path:
        if not _has(parent, step):
            break
        if isinstance(step, int) or step not in _ESSENTIAL:
            best = (parent, step)
        if isinstance(step, str) and step not in _WITH_PARTS:
            break
        parent = parent[step]
        if isinstance(step, int) and not isinstance(parent, dict):
            break
    if best is None:
        return False
    del best[0][best[1]]
    return True


# Where single entries can be left out, and keys that an entry can't be without.
_WITH_PARTS = frozenset(
    {
        "databases",
        "schemas",
        "extensions",
        "memberOf",
        "privileges",
        "externalRoles",
        "publications",
        "foreignServers",
        "userMappings",
        "replicationSlots",
    }
)
_ESSENTIAL = frozenset({"name", "database", "grant", "profile", "schemas", "role", "tables", "sequences"})


def _has(value: Any, key: Any) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)


def _cluster_spec(draft: Draft, hosts: list[str]) -> Document:
    if not hosts:
        draft.root.note(
            f"the file names no server; the Cluster has {_HOST}", "put the servers' names in, or use --host"
        )
    spec: Document = {"connection": {"hosts": hosts or [_HOST], "credential": "admin"}, **draft.cluster}
    external = _external(draft)
    if external:
        spec["externalRoles"] = external
    spec["databases"] = [_database(found) for _, found in sorted(draft.databases.items())]
    return {key: value for key, value in spec.items() if value != []}


def _database(found: DatabaseDraft) -> Document:
    entry: Document = {"name": found.name, **found.spec}
    entry = {key: entry[key] for key in (*_DATABASE_ORDER, *entry) if key in entry}
    extensions = [{"name": name, **more} if more else name for name, more in sorted(found.extensions.items())]
    if extensions:
        entry["extensions"] = extensions
    schemas = [{"name": name, **more} for name, more in sorted(found.schemas.items())]
    if schemas:
        entry["schemas"] = schemas
    if found.public:
        entry["public"] = found.public
    return entry


def _declare_what_is_named(draft: Draft) -> None:
    """Databases that grants are about must be declared; so must who is granted something."""
    for name in sorted(draft.grants.databases() - set(draft.databases)):
        draft.database(name, draft.root)
    for name in sorted({role for role, _, _ in draft.grants.held} - set(draft.roles)):
        why = f"what role {show_name(name)} is granted is left out: the file does not declare this role"
        draft.grants.node(name, draft.root).note(why, "declare it as a User or a Group with these privileges")


def _external(draft: Draft) -> list[str]:
    """Roles that are named and not declared: they are taken to exist."""
    named: dict[str, Node] = {}
    for role in draft.roles.values():
        members = role.spec.get("members", {})
        for name in (*role.member_of, *members.get("memberOf", ())):
            named.setdefault(name, role.node)
        for entry in draft.grants.of(role.name):
            for name in entry.get("future", {}).get("creators", ()):
                named.setdefault(name, role.node)
    for database in draft.databases.values():
        for owner in (database.spec.get("owner"), *(s.get("owner") for s in database.schemas.values())):
            if owner:
                named.setdefault(owner, database.node)
    if draft.heir:
        named.setdefault(draft.heir, draft.root)
    lacking = sorted(n for n in named if n not in draft.roles and n != "postgres" and not n.startswith("pg_"))
    for name in lacking:
        why = f"role {show_name(name)} is named and not declared; it is listed in the Cluster's externalRoles"
        named[name].note(why, "declare it as a User or a Group if PgVillage is to look after it")
    return lacking
