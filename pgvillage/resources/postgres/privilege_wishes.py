"""From manifests to privileges: profiles, explicit grants and PUBLIC become one wish for each place and grantee."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pgvillage.core.change import Source
from pgvillage.estate.manifest.common import Grant, PrivilegeSet
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION
from pgvillage.resources.postgres.sql import PUBLIC

EVERY: frozenset[str] = frozenset({"*\0every"})  # no object's name holds a zero byte


@dataclass(slots=True)
class Wish:
    place: tuple[str, str, str]
    grantee: str
    entries: dict[str, frozenset[str]]
    source: Source


def wishes(view: ClusterView) -> Iterable[Wish]:
    """All that the estate asks for on this cluster, merged; the first manifest that asks is the source."""
    found: dict[tuple[tuple[str, str, str], str], Wish] = {}
    absent = {d.name for d in view.databases if d.spec.ensure == "absent"}
    for place, grantee, privilege, objects, source in (*_of_roles(view), *_of_public(view)):
        if place[1] in absent:
            continue
        wish = found.setdefault((place, grantee), Wish(place, grantee, {}, source))
        if privilege:
            known = wish.entries.get(privilege, frozenset())
            wish.entries[privilege] = EVERY if EVERY in (known, objects) else known | objects
    return found.values()


_Piece = tuple[tuple[str, str, str], str, str, frozenset[str], Source]


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
    named = {"table": grant.tables, "sequence": grant.sequences}
    # Naming tables means these tables and no sequences, and the other way round, unless both are named.
    some = any(names is not None for names in named.values())
    for privilege in sorted(privileges.of("database")):
        place = ("database", grant.database, "")
        yield place, role, privilege + option, frozenset({grant.database}), source
    for schema in grant.schemas:
        for privilege in sorted(privileges.of("schema")):
            yield ("schema", grant.database, schema), role, privilege + option, frozenset({schema}), source
        for object_class, names in named.items():
            objects = EVERY if names is None and not some else frozenset(names or ())
            for privilege in sorted(privileges.of(object_class)):
                if objects:
                    yield (object_class, grant.database, schema), role, privilege + option, objects, source


def _of_public(view: ClusterView) -> Iterator[_Piece]:
    for database in view.databases:
        public = database.spec.public
        if public is None or database.spec.ensure == "absent":
            continue
        source = database.source("public")
        if public.database is not None:
            place = ("database", database.name, "")
            # An empty list is a wish too: PUBLIC has nothing here.
            for privilege in public.database or ("",):
                yield place, PUBLIC, privilege, frozenset({database.name}), source
        for schema, privileges in public.schemas.items():
            for schema_privilege in privileges or ("",):
                yield ("schema", database.name, schema), PUBLIC, schema_privilege, frozenset({schema}), source
