"""Roles that manifests name: members, owners, heirs, creators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.explain_errors import suggestion
from pgvillage.estate.job_reach import named_by_job
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.logical_references import logical_roles
from pgvillage.estate.manifest import Group, User
from pgvillage.estate.manifest.common import MemberOf, MembershipOptions
from pgvillage.estate.object_references import roles_of_cluster, roles_of_database
from pgvillage.estate.scopes import DatabaseClaim, Scope, Scopes
from pgvillage.estate.source_text import DocPath

Named = tuple[str | None, DocPath]


def check_roles(manifests: Manifests, scopes: Scopes) -> Iterator[Diagnostic]:
    """Every role that is named and neither declared, external, PostgreSQL's own, nor possibly a directory's."""
    for located in scopes.roles:
        clusters = scopes.selected(located.document.spec.clusters)
        yield from _check(manifests, scopes, located, list(_named_by_role(located)), clusters)
    for database in scopes.databases:
        if not database.claim.absent:
            named = list(_named_by_database(database))
            yield from _check(manifests, scopes, database.claim.located, named, database.clusters)
    for name, cluster in manifests.clusters.items():
        yield from _check(manifests, scopes, cluster, list(roles_of_cluster(cluster)), (name,))
    for job in manifests.jobs.values():
        if job.document.spec.ensure == "present":
            yield from _check(
                manifests, scopes, job, list(named_by_job(job)), scopes.selected(job.document.spec.clusters)
            )
    yield from _default_heir(manifests, scopes)


def _named_by_role(located: Located[User | Group]) -> Iterator[Named]:
    spec = located.document.spec
    yield spec.heir, ("spec", "heir")
    if spec.ensure == "absent":
        return  # of a tombstone only the heir counts
    yield from _member_of(spec.member_of, ("spec", "memberOf"))
    for index, grant in enumerate(spec.privileges):
        for number, creator in enumerate(grant.future.creators if grant.future else ()):
            yield creator, ("spec", "privileges", index, "future", "creators", number)
    if isinstance(located.document, Group):
        yield from _named_by_members(located.document)


def _named_by_members(group: Group) -> Iterator[Named]:
    members, path = group.spec.members, ("spec", "members")
    if members is None:
        return
    for index, name in enumerate(members.roles or ()):
        yield name, (*path, "roles", index)
    yield from _member_of(members.member_of, (*path, "memberOf"))
    yield members.on_leave.heir, (*path, "onLeave", "heir")


def _member_of(memberships: MemberOf, path: DocPath) -> Iterator[Named]:
    for index, membership in enumerate(memberships):
        if isinstance(membership, MembershipOptions):
            yield membership.role, (*path, index, "role")
        else:
            yield membership, (*path, index)


def _named_by_database(database: DatabaseClaim) -> Iterator[Named]:
    yield database.spec.owner, (*database.path, "owner")
    for index, schema in enumerate(database.spec.schemas):
        if schema.ensure == "present":
            yield schema.owner, (*database.path, "schemas", index, "owner")
    yield from roles_of_database(database)
    yield from logical_roles(database)


def _check(
    manifests: Manifests, scopes: Scopes, located: Located[Any], named: list[Named], clusters: tuple[str, ...]
) -> Iterator[Diagnostic]:
    for name, path in named:
        if name is None:
            continue
        unknown = [cluster for cluster in clusters if not _known(scopes.of[cluster], name)]
        gone = [claim for c in clusters if (claim := scopes.of[c].roles.get(name)) is not None and claim.absent]
        if gone:
            hint = "name a role that stays"
            yield located.fault(f"role {name} is declared absent at {gone[0].position}", *path, hint=hint)
        elif unknown and not manifests.lost.role(name):
            yield _unknown(located, name, path, unknown, scopes)


def _known(scope: Scope, name: str) -> bool:
    return name in scope.roles or name in scope.external or scope.fed or name.startswith("pg_")


def _unknown(located: Located[Any], name: str, path: DocPath, unknown: list[str], scopes: Scopes) -> Diagnostic:
    scope = scopes.of[unknown[0]]
    more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
    close = suggestion(name, {*scope.roles, *scope.external}, what="known roles")
    if name.upper() == "PUBLIC":
        return located.fault(f"unknown role {name} on cluster {unknown[0]}{more}", *path, hint="PUBLIC is `public`")
    advice = "declare it as a User or Group, or list it in the cluster's externalRoles"
    hint = f"{close} Or {advice}" if close.endswith("?") else advice
    return located.fault(f"unknown role {name} on cluster {unknown[0]}{more}", *path, hint=hint)


def _default_heir(manifests: Manifests, scopes: Scopes) -> Iterator[Diagnostic]:
    """The Estate's heir may be missing on some clusters, but not on all."""
    estate = manifests.estate
    heir = estate.document.spec.defaults.heir if estate else None
    if estate is None or heir is None or not scopes.of or manifests.lost.role(heir):
        return
    if not any(_known(scope, heir) for scope in scopes.of.values()):
        yield _unknown(estate, heir, ("spec", "defaults", "heir"), list(scopes.of), scopes)
