"""Tablespaces, slots and foreign objects: each declared once, naming roles, databases and secrets that are there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.explain_errors import suggestion
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.manifest import Cluster
from pgvillage.estate.manifest.database import DatabaseFields
from pgvillage.estate.scopes import DatabaseClaim, Scopes
from pgvillage.estate.source_text import DocPath

Named = tuple[str | None, DocPath]
_OF_A_STANDBY = re.compile(r"stolon_([0-9a-f]{8})?\Z")
PUBLIC = "public"  # no role's name can be this: it stands for PUBLIC


def listed_twice(database: DatabaseClaim) -> Iterator[tuple[DocPath, str, list[str]]]:
    """Lists in which a name may stand once: the path in the database, what they list, the names."""
    spec = database.spec
    yield ("foreignDataWrappers",), "foreign-data wrapper", [each.name for each in spec.foreign_data_wrappers]
    yield ("foreignServers",), "foreign server", [each.name for each in spec.foreign_servers]
    for index, server in enumerate(spec.foreign_servers):
        roles = [mapping.role for mapping in server.user_mappings]
        yield ("foreignServers", index, "userMappings"), f"the user mapping on {server.name} for", roles


def cluster_lists(cluster: Located[Cluster]) -> Iterator[tuple[DocPath, str, list[str]]]:
    """The same of a cluster."""
    spec = cluster.document.spec
    yield ("tablespaces",), "tablespace", [each.name for each in spec.tablespaces]
    yield ("replicationSlots",), "replication slot", [each.name for each in spec.replication_slots]


def option_faults(database: DatabaseClaim) -> Iterator[Diagnostic]:
    """An option of a user mapping has its value in one place."""
    for index, server in enumerate(database.spec.foreign_servers):
        for number, mapping in enumerate(server.user_mappings):
            for option in sorted({*(mapping.options or ())} & {*mapping.secrets}):
                path = (*database.path, "foreignServers", index, "userMappings", number, "secretOptions", option)
                message = f"option {option} stands under `options` as well"
                yield database.claim.located.fault(message, *path, hint="remove one of the two")


def roles_of_database(database: DatabaseClaim) -> Iterator[Named]:
    """Owners of foreign objects, and whom user mappings are for."""
    spec, path = database.spec, database.path
    for index, wrapper in enumerate(spec.foreign_data_wrappers):
        if wrapper.ensure == "present":
            yield wrapper.owner, (*path, "foreignDataWrappers", index, "owner")
    for index, server in enumerate(spec.foreign_servers):
        if server.ensure == "absent":
            continue
        place: DocPath = (*path, "foreignServers", index)
        yield server.owner, (*place, "owner")
        for number, mapping in enumerate(server.user_mappings):
            if mapping.ensure == "present" and mapping.role != PUBLIC:
                yield mapping.role, (*place, "userMappings", number, "role")


def roles_of_cluster(cluster: Located[Cluster]) -> Iterator[Named]:
    for index, tablespace in enumerate(cluster.document.spec.tablespaces):
        if tablespace.ensure == "present":
            yield tablespace.owner, ("spec", "tablespaces", index, "owner")


def secrets_of_database(spec: DatabaseFields, path: DocPath) -> Iterator[tuple[str, DocPath]]:
    """The names of secrets that user mappings ask for, and where."""
    for index, server in enumerate(spec.foreign_servers):
        for number, mapping in enumerate(server.user_mappings):
            for option, secret in mapping.secrets.items():
                place = (*path, "foreignServers", index, "userMappings", number, "secretOptions", option, "secret")
                yield secret, place


def slot_faults(manifests: Manifests, scopes: Scopes) -> Iterator[Diagnostic]:
    """A logical slot is made inside a database that stays; stolon drops foreign ones with its own prefix."""
    for name, cluster in manifests.clusters.items():
        known = scopes.of[name].databases
        stolon = cluster.document.spec.ha.engine == "stolon"
        for index, slot in enumerate(cluster.document.spec.replication_slots):
            if stolon and slot.name.startswith("stolon_") and (slot.plugin or _OF_A_STANDBY.match(slot.name)):
                message = "slots that begin with stolon_ belong to stolon, which would drop this one"
                yield cluster.fault(message, "spec", "replicationSlots", index, "name", hint="take another name")
            if slot.database is None or slot.ensure == "absent" or manifests.lost.database(slot.database):
                continue
            path: DocPath = ("spec", "replicationSlots", index, "database")
            claim = known.get(slot.database)
            if claim is None:
                close = suggestion(slot.database, known, what="declared")
                hint = f"{close} or declare it, even as `{{name: {slot.database}}}`".strip()
                yield cluster.fault(f"database {slot.database} is not declared on cluster {name}", *path, hint=hint)
            elif claim.absent:
                yield cluster.fault(f"database {slot.database} is declared absent at {claim.position}", *path)


def twice(located: Located[object], path: DocPath, what: str, names: Iterable[str]) -> Iterator[Diagnostic]:
    """A fault for each name that stands in a list before."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            message = f"{what} {name} is declared twice; the other one is at {located.at(*path, first[name])}"
            yield located.fault(message, *path, index, hint="remove one of the two")
