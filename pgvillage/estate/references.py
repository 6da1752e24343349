"""What manifests name must be there: clusters, roles, databases, profiles, names of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.engine_faults import engine_faults
from pgvillage.estate.explain_errors import suggestion
from pgvillage.estate.job_reach import allowed_faults, reach_faults, secrets_of_job
from pgvillage.estate.job_references import check_job
from pgvillage.estate.located import Located, Manifests
from pgvillage.estate.manifest import Group, User
from pgvillage.estate.manifest.common import Selector
from pgvillage.estate.object_references import secrets_of_database, slot_faults
from pgvillage.estate.ownership import check_ownership
from pgvillage.estate.role_references import check_roles
from pgvillage.estate.rotation import check_rotations
from pgvillage.estate.scopes import Claim, Scopes
from pgvillage.estate.source_text import DocPath
from pgvillage.estate.window_references import window_faults
from pgvillage.settings import Jobs, Settings

BUILT_IN = ("reader", "writer", "owner")  # profiles that every estate has


@dataclass(frozen=True)
class SettingsNames:
    """What manifests may name of the settings; `secrets` is None when the settings have a source for any name."""

    credentials: frozenset[str] = frozenset()
    directories: frozenset[str] = frozenset()
    secrets: frozenset[str] | None = frozenset()
    etcd: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    patroni: frozenset[str] = frozenset()
    jobs: Jobs = field(default_factory=Jobs)

    @classmethod
    def of(cls, settings: Settings) -> SettingsNames:
        return cls(
            credentials=frozenset(settings.credentials),
            directories=frozenset(settings.directories),
            secrets=None if "*" in settings.secrets else frozenset(settings.secrets),
            etcd=frozenset(settings.etcd),
            channels=frozenset(settings.channels),
            patroni=frozenset(settings.patroni),
            jobs=settings.jobs,
        )


def check_references(manifests: Manifests, names: SettingsNames | None) -> list[Diagnostic]:
    """Every name that leads nowhere and every object with two owners; some are only warnings.

    A reference to what a failed document would have declared is not reported.
    """
    scopes = Scopes(manifests)
    faults = check_ownership(manifests, scopes)
    faults.extend(_selectors(manifests, scopes))
    faults.extend(_privileges(manifests, scopes))
    faults.extend(check_roles(manifests, scopes))
    faults.extend(slot_faults(manifests, scopes))
    faults.extend(engine_faults(manifests))
    faults.extend(check_rotations(manifests))
    faults.extend(window_faults(manifests))
    for job in manifests.jobs.values():
        faults.extend(check_job(job, manifests.root))
        if job.document.spec.ensure == "present":
            written = enumerate(job.document.spec.databases)
            databases = [(name, ("spec", "databases", i)) for i, name in written if isinstance(name, str)]
            faults.extend(_unknown_databases(manifests, scopes, job, databases))
            faults.extend(reach_faults(job, manifests, scopes))
            if names is not None:
                faults.extend(allowed_faults(job, scopes, names.jobs))
    if names is not None:
        faults.extend(_settings(manifests, scopes, names))
        faults.extend(_subscriptions(scopes, names))
    return list(dict.fromkeys(faults))  # the logins of a rotation share what is written once


def _selectors(manifests: Manifests, scopes: Scopes) -> Iterator[Diagnostic]:
    for kind in (manifests.databases, manifests.users, manifests.groups):
        for located in kind.values():
            yield from _selector(manifests, scopes, located, located.document.spec.clusters)
    for job in manifests.jobs.values():
        if job.document.spec.ensure == "absent" or job.document.spec.clusters.names is not None:
            yield from _selector(manifests, scopes, job, job.document.spec.clusters)
    for index, notification in enumerate(manifests.estate.document.spec.notifications if manifests.estate else ()):
        if manifests.estate and notification.labels:
            selector = Selector(labels=notification.labels)
            yield from _labels(
                manifests, scopes, manifests.estate, selector, ("spec", "notifications", index, "labels")
            )

    for index, window in enumerate(manifests.estate.document.spec.policy.windows if manifests.estate else ()):
        if manifests.estate and window.labels:
            path: DocPath = ("spec", "policy", "windows", index, "labels")
            yield from _labels(manifests, scopes, manifests.estate, Selector(labels=window.labels), path)


def _selector(manifests: Manifests, scopes: Scopes, located: Located[Any], selector: Selector) -> Iterator[Diagnostic]:
    for index, name in enumerate(selector.names or ()):
        if name not in manifests.clusters and not manifests.lost.cluster(name):
            hint = suggestion(name, manifests.clusters, what="known clusters")
            yield located.fault(f"unknown cluster {name}", "spec", "clusters", "names", index, hint=hint)
    if selector.labels is not None:
        yield from _labels(manifests, scopes, located, selector, ("spec", "clusters", "labels"))


def _labels(
    manifests: Manifests, scopes: Scopes, located: Located[Any], selector: Selector, path: DocPath
) -> Iterator[Diagnostic]:
    lost = manifests.lost
    if not scopes.selected(selector) and not (lost.everything or lost.any_cluster):
        words = ", ".join(f"{key}={value}" for key, value in (selector.labels or {}).items())
        yield located.fault(f"no cluster has the labels {words}", *path, severity="warning")


def _privileges(manifests: Manifests, scopes: Scopes) -> Iterator[Diagnostic]:
    own = manifests.estate.document.spec.profiles if manifests.estate else {}
    profiles = {*BUILT_IN, *own}
    for located in scopes.roles:
        if located.document.spec.ensure == "absent":
            continue
        databases: list[tuple[str, DocPath]] = []
        for index, grant in enumerate(located.document.spec.privileges):
            path: DocPath = ("spec", "privileges", index)
            if grant.database is not None:
                databases.append((grant.database, (*path, "database")))
            if grant.profile and grant.profile not in profiles and not manifests.lost.profile():
                hint = suggestion(grant.profile, profiles, what="known profiles")
                yield located.fault(f"unknown profile {grant.profile}", *path, "profile", hint=hint)
        settings = located.document.spec.database_settings
        databases.extend((name, ("spec", "databaseSettings", name)) for name in settings)
        yield from _unknown_databases(manifests, scopes, located, databases)


def _unknown_databases(
    manifests: Manifests, scopes: Scopes, located: Located[Any], databases: Iterable[tuple[str, DocPath]]
) -> Iterator[Diagnostic]:
    clusters = scopes.selected(located.document.spec.clusters)
    for name, path in databases:
        if manifests.lost.database(name):
            continue
        lacking = [cluster for cluster in clusters if name not in scopes.of[cluster].databases]
        gone = [scopes.of[c].databases[name] for c in clusters if _is_absent(scopes.of[c].databases.get(name))]
        if lacking:
            known = scopes.of[lacking[0]].databases
            hint = " ".join([suggestion(name, known, what="declared"), f"or declare it, even as `{{name: {name}}}`"])
            yield located.fault(
                f"database {name} is not declared on cluster {shortened(lacking)}", *path, hint=hint.strip()
            )
        elif gone:
            yield located.fault(f"database {name} is declared absent at {gone[0].position}", *path)


def _is_absent(claim: Claim | None) -> bool:
    return claim is not None and claim.absent


def shortened(clusters: list[str]) -> str:
    """The first name, and how many more there are."""
    return clusters[0] if len(clusters) == 1 else f"{clusters[0]} (and {len(clusters) - 1} more)"


def _settings(manifests: Manifests, scopes: Scopes, names: SettingsNames) -> Iterator[Diagnostic]:
    for located, what, name, known, path in (*_named(manifests, names), *_named_by_databases(scopes, names)):
        if name is None or known is None or name in known:
            continue
        # a password written in the place of a secret's name must not end up in a log
        shown = "no secret of the settings has this name" if what == "secret" else f"unknown {what} {name}"
        hint = suggestion(name, known, what=f"in the settings ({what})")
        yield located.fault(shown, *path, hint=hint or f"the settings name no {what}")


def _subscriptions(scopes: Scopes, names: SettingsNames) -> Iterator[Diagnostic]:
    """A subscription's secret; a password written in the place of its name must not end up in a log."""
    for database in scopes.databases:
        for index, spec in enumerate(database.spec.subscriptions):
            if spec.password and names.secrets is not None and spec.password.secret not in names.secrets:
                path = (*database.path, "subscriptions", index, "password", "secret")
                hint = suggestion(spec.password.secret, names.secrets, what="in the settings (secret)")
                text = "no secret of the settings has this name"
                yield database.claim.located.fault(text, *path, hint=hint or "the settings name no secret")


def _named(
    manifests: Manifests, names: SettingsNames
) -> Iterator[tuple[Located[Any], str, str | None, frozenset[str] | None, DocPath]]:
    """Document, what it names, the name, the known ones, and where."""
    for cluster in manifests.clusters.values():
        spec = cluster.document.spec
        if spec.connection:
            path: DocPath = ("spec", "connection", "credential")
            yield cluster, "credential", spec.connection.credential, names.credentials, path
        yield cluster, "etcd", spec.ha.etcd, names.etcd, ("spec", "ha", "etcd")
        yield cluster, "entry of `patroni`", spec.ha.api, names.patroni, ("spec", "ha", "api")
    yield from _named_by_roles(manifests, names)
    for job in manifests.jobs.values():
        for secret, place in secrets_of_job(job):
            yield job, "secret", secret, names.secrets, place
        for index, alert in enumerate(job.document.spec.alerts):
            yield job, "channel", alert.channel, names.channels, ("spec", "alerts", index, "channel")
    if manifests.estate:
        for index, notification in enumerate(manifests.estate.document.spec.notifications):
            path = ("spec", "notifications", index, "channel")
            yield manifests.estate, "channel", notification.channel, names.channels, path


def _named_by_databases(
    scopes: Scopes, names: SettingsNames
) -> Iterator[tuple[Located[Any], str, str | None, frozenset[str] | None, DocPath]]:
    for database in scopes.databases:
        for secret, path in secrets_of_database(database.spec, database.path):
            yield database.claim.located, "secret", secret, names.secrets, path


def _named_by_roles(
    manifests: Manifests, names: SettingsNames
) -> Iterator[tuple[Located[User | Group], str, str | None, frozenset[str] | None, DocPath]]:
    for user in manifests.users.values():
        auth = user.document.spec.auth
        if auth and auth.password:
            yield user, "secret", auth.password.secret, names.secrets, ("spec", "auth", "password", "secret")
    for group in manifests.groups.values():
        members = group.document.spec.members
        if members:
            yield group, "directory", members.directory, names.directories, ("spec", "members", "directory")
