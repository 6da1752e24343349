"""What a Job reaches, and whether the settings allow it: clusters, databases, roles, hosts, secrets, channels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.manifest import Job
from pgvillage.estate.manifest.job_command import Command
from pgvillage.estate.manifest.user import SecretName
from pgvillage.estate.scopes import Scopes
from pgvillage.estate.source_text import DocPath
from pgvillage.settings import Jobs


def commands_of(job: Located[Job]) -> Iterator[tuple[Command, DocPath]]:
    """Steps, then checks, each with its place."""
    for key, commands in (("steps", job.document.spec.steps), ("checks", job.document.spec.checks)):
        for index, command in enumerate(commands):
            yield command, ("spec", key, index)


def reach_faults(job: Located[Job], manifests: Manifests, scopes: Scopes) -> Iterator[Diagnostic]:
    """Clusters by labels, and databases by pattern; single names are looked up as everywhere."""
    spec, lost = job.document.spec, manifests.lost
    clusters = scopes.selected(spec.clusters)
    if not clusters and spec.clusters.names is None and not (lost.everything or lost.any_cluster):
        words = ", ".join(f"{key}={value}" for key, value in (spec.clusters.labels or {}).items())
        why = f"no cluster has the labels {words}" if words else "the estate has no cluster"
        yield job.fault(f"this Job reaches no cluster: {why}", "spec", "clusters")
    for index, database in enumerate(spec.databases):
        if isinstance(database, str) or lost.everything:
            continue
        for cluster in clusters:
            known = [name for name, claim in scopes.of[cluster].databases.items() if not claim.absent]
            if not any(fnmatchcase(name, _glob(database.pattern)) for name in known) and not lost.databases:
                hint = f"declared there: {', '.join(sorted(known)[:8])}" if known else "none is declared there"
                text = f"no database of cluster {cluster} fits {database.pattern}"
                yield job.fault(text, "spec", "databases", index, "pattern", hint=hint)
                break
    if not spec.databases and any(command.is_sql for command, _ in commands_of(job)):
        yield job.fault("SQL needs `databases`, names or patterns", "spec")


def _glob(pattern: str) -> str:
    return pattern.replace("[", "[[]")  # of fnmatch's signs only * and ? are ours


def named_by_job(job: Located[Job]) -> Iterator[tuple[str | None, DocPath]]:
    """The roles that it names."""
    yield job.document.spec.role, ("spec", "role")
    for command, path in commands_of(job):
        yield command.role, (*path, "role")


def secrets_of_job(job: Located[Job]) -> Iterator[tuple[str, DocPath]]:
    for name, value in job.document.spec.parameters.items():
        if isinstance(value, SecretName):
            yield value.secret, ("spec", "parameters", name, "secret")
    for command, path in commands_of(job):
        places: list[tuple[str, str, Any]] = []
        if command.shell is not None:
            places += [("shell", "env", command.shell.env)]
        if command.http is not None:
            places += [("http", "headers", command.http.headers)]
        for key, part, values in places:
            for name, value in values.items():
                if isinstance(value, SecretName):
                    yield value.secret, (*path, key, part, name, "secret")


def allowed_faults(job: Located[Job], scopes: Scopes, allowed: Jobs) -> Iterator[Diagnostic]:
    """What the settings do not allow this Job; a merge request can't change them."""
    name = job.document.metadata.name
    free = any(fnmatchcase(name, _glob(pattern)) for pattern in allowed.superuser)
    for command, path in commands_of(job):
        if command.shell is not None and command.shell.on == "local" and not allowed.local_shell:
            hint = "`on: host` runs it on the cluster's node; or set `jobs.localShell: true` in the settings"
            yield job.fault("the settings allow no programs where PgVillage runs", *path, "shell", "on", hint=hint)
        if command.http is not None and not may_call(command.http.url, allowed.http):
            hint = f"allowed there (jobs.http): {', '.join(allowed.http)}" if allowed.http else "`jobs.http` is empty"
            text = f"the settings allow no calls to {_host(command.http.url)}"
            yield job.fault(text, *path, "http", "url", hint=hint)
        if command.is_sql and not free:
            yield from _superuser(job, command, path, scopes)


def _superuser(job: Located[Job], command: Command, path: DocPath, scopes: Scopes) -> Iterator[Diagnostic]:
    role = command.role or job.document.spec.role
    hint = f"or add {job.document.metadata.name} to `jobs.superuser` in the settings"
    if role is None:
        text = "SQL without a `role` runs as the credential's own user, which the settings don't allow this Job"
        yield job.fault(text, *path, hint=f"name a declared role; {hint}")
        return
    for cluster in scopes.selected(job.document.spec.clusters):
        claim = scopes.of[cluster].roles.get(role)
        if role == "postgres" if claim is None else claim.located.document.spec.superuser:
            place: DocPath = (*path, "role") if command.role else ("spec", "role")
            text = f"role {role} is a superuser, which the settings don't allow this Job"
            yield job.fault(text, *place, hint=f"name another role; {hint}")
            return


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def may_call(url: str, allowed: Sequence[str]) -> bool:
    """Whether the settings' patterns (jobs.http) have the URL's host and port."""
    return any(_fits(url, each) for each in allowed)


def _fits(url: str, pattern: str) -> bool:
    """`*` stands for anything within one label, or for any port."""
    wild = "[^.:]*".join(re.escape(piece) for piece in pattern.lower().split("*"))
    return re.fullmatch(wild, _host(url)) is not None
