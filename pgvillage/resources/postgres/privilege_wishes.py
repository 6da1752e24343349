"""From manifests to privileges: profiles, explicit grants and PUBLIC become one wish for each place and grantee."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pgvillage.core.change import Source
from pgvillage.estate.manifest.common import NAMED, Grant, PrivilegeSet
from pgvillage.estate.manifest.database import PublicGrants
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION
from pgvillage.resources.postgres.privilege_inventory import Place
from pgvillage.resources.postgres.signature import column_name
from pgvillage.resources.postgres.sql import PUBLIC

EVERY: frozenset[str] = frozenset({"*\0every"})  # no object's name holds a zero byte


@dataclass(slots=True)
class Wish:
    place: Place
    grantee: str
    entries: dict[str, frozenset[str]]
    source: Source


def wishes(view: ClusterView) -> Iterable[Wish]:
    """All that the estate asks for on this cluster, merged; the first manifest that asks is the source."""
    found: dict[tuple[Place, str], Wish] = {}
    absent = {d.name for d in view.databases if d.spec.ensure == "absent"}
    for place, grantee, privilege, objects, source in (*_of_roles(view), *_of_public(view)):
        if place[1] in absent:
            continue
        wish = found.setdefault((place, grantee), Wish(place, grantee, {}, source))
        if privilege:
            known = wish.entries.get(privilege, frozenset())
            wish.entries[privilege] = EVERY if EVERY in (known, objects) else known | objects
    return found.values()


_Piece = tuple[Place, str, str, frozenset[str], Source]


def _of_roles(view: ClusterView) -> Iterator[_Piece]:
    for document in view.role_documents:
        spec = document.document.spec
        if spec.ensure == "absent":
            continue
        for index, grant in enumerate(spec.privileges):
            source = source_of(document, "spec", "privileges", index)
            yield from _of_grant(grant, _privileges(grant, view), document.document.role, source)


def _privileges(grant: Grant, view: ClusterView) -> PrivilegeSet:
    return grant.grant if grant.grant is not None else view.profiles[grant.profile or ""]


def _of_grant(grant: Grant, privileges: PrivilegeSet, role: str, source: Source) -> Iterator[_Piece]:
    option = WITH_GRANT_OPTION if grant.grant_option else ""
    database = grant.database or ""
    for privilege in sorted(privileges.of("database")):
        yield ("database", database, ""), role, privilege + option, frozenset({database}), source
    for object_class in NAMED:
        for privilege in sorted(privileges.of(object_class)):
            if names := frozenset(_canonical(object_class, each) for each in grant.named(object_class)):
                yield (object_class, database, ""), role, privilege + option, names, source
    objects_of = dict(_in_schemas(grant))
    for schema in grant.schemas:
        for privilege in sorted(privileges.of("schema")):
            yield ("schema", database, schema), role, privilege + option, frozenset({schema}), source
        for object_class, objects in objects_of.items():
            for privilege in sorted(privileges.of("table" if object_class == "column" else object_class)):
                if objects:
                    yield (object_class, database, schema), role, privilege + option, objects, source


def _canonical(object_class: str, name: str) -> str:
    return name.lower() if object_class == "parameter" else name  # as the server keeps it


def _in_schemas(grant: Grant) -> Iterator[tuple[str, frozenset[str]]]:
    """Which objects of each class: naming tables means these tables and nothing else, unless that is named too."""
    named = {"table": grant.tables, "sequence": grant.sequences, "function": grant.functions, "type": grant.types}
    some = any(names is not None for names in named.values())
    if grant.columns is not None:
        yield "column", frozenset(column_name(t, c) for t in grant.tables or () for c in grant.columns)
        return
    for object_class, names in named.items():
        yield object_class, EVERY if names is None and not some else frozenset(names or ())


def _of_public(view: ClusterView) -> Iterator[_Piece]:
    for database in view.databases:
        public = database.spec.public
        if public is None or database.spec.ensure == "absent":
            continue
        source = database.source("public")
        for place, privileges, objects in _places_of_public(database.name, public):
            # An empty list is a wish too: PUBLIC has nothing here.
            for privilege in privileges or ("",):
                yield place, PUBLIC, privilege, objects, source


def _places_of_public(database: str, public: PublicGrants) -> Iterator[tuple[Place, Sequence[str], frozenset[str]]]:
    if public.database is not None:
        yield ("database", database, ""), public.database, frozenset({database})
    for schema, privileges in public.schemas.items():
        yield ("schema", database, schema), privileges, frozenset({schema})
    in_schemas: Mapping[str, Mapping[str, Sequence[str]]] = {
        "table": public.tables,
        "sequence": public.sequences,
        "function": public.functions,
        "type": public.types,
    }
    for object_class, by_schema in in_schemas.items():
        for schema, given in by_schema.items():
            yield (object_class, database, schema), given, EVERY
    for language, usage in public.languages.items():
        yield ("language", database, ""), usage, frozenset({language})
