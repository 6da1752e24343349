"""Composition root: settings become clients, clients become the World of the use cases."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvillage.clients.pg_connect import Endpoint
from pgvillage.clients.secrets import look_up, obtain
from pgvillage.core.errors import ReadError, SettingsError
from pgvillage.core.fence import NO_FENCE, Fence
from pgvillage.core.lookup import DirectoryVisit, GroupAnswer, GroupQuery, Lookups, Unanswered
from pgvillage.core.plan import System, TargetId
from pgvillage.core.rotation import Rotation
from pgvillage.core.secret import Secret, SecretRef, SecretsFound
from pgvillage.estate.loader import Manifests, load_manifests, load_settings
from pgvillage.estate.references import SettingsNames
from pgvillage.estate.view import ClusterView
from pgvillage.settings import Settings
from pgvillage.usecases.world import Checkout, QueriesOf, Reading, Watch, Writer

_PATHS = frozenset(
    [
        "file",
        "state",
        "ldif",
        "cache",
        "ca",
        "cert",
        "key",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sshKey",
        "knownHosts",
        "sops",
        "allowedSigners",
        "keyring",
        "templates",
    ]
)
_SCP = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:")  # git@host:path

if TYPE_CHECKING:
    from pgvillage.clients.git import EstateSource
    from pgvillage.clients.stolon_store import StolonStore


@dataclass
class RealWorld:
    """The World with real clients behind it. Clients are imported when first used: `--help` needs none."""

    settings: Settings
    _source: EstateSource | None = field(default=None, repr=False)
    _descent: dict[tuple[str, str], bool] = field(default_factory=dict, repr=False)
    _loaded: tuple[tuple[Path, str], Manifests] | None = field(default=None, repr=False)

    def names(self) -> SettingsNames:
        return SettingsNames.of(self.settings)

    def source(self) -> EstateSource:
        from pgvillage.clients.git import EstateSource

        if self._source is None:
            repository = self.settings.repository
            self._source = EstateSource(repository, repository.cache or self.state_folder() / "repository")
        return self._source

    def state_folder(self) -> Path:
        """Where the clone and the daemon's memory live: `state`, else the user's cache folder."""
        import os

        if self.settings.state is not None:
            return self.settings.state
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return Path(base) / "pgvillage"

    def checkout(self, revision: str | None = None) -> Checkout:
        return self.source().checkout(revision=revision)

    def merged(self, base: str, head: str | None = None) -> tuple[Checkout, Checkout]:
        return self.source().merged(base, head)

    def manifests(self, checkout: Checkout) -> Manifests:
        """Those of the checkout; a commit that was loaded before is not read again. Raises ManifestError."""
        commit = (checkout.root, checkout.revision)
        if self._loaded is not None and self._loaded[0] == commit and not checkout.dirty:
            return self._loaded[1]
        limit = self.settings.repository.max_file_size
        found = load_manifests(checkout.root, self.names(), max_file_size=limit)
        self._loaded = None if checkout.dirty else (commit, found)
        return found

    def descends(self, old: str, new: str) -> bool:
        """Whether `old` is in the history of `new`: commits never change their history, and every cluster asks."""
        if (old, new) not in self._descent:
            self._descent[old, new] = self.source().descends(old, new)
        return self._descent[old, new]

    async def ask(self, queries: Collection[GroupQuery]) -> Lookups:
        """Every directory at the same time; one that fails answers for itself alone."""
        from pgvillage.clients.ldap import ask_directory

        by_directory: dict[str, list[GroupQuery]] = {}
        for query in queries:
            by_directory.setdefault(query.directory, []).append(query)
        answers = await asyncio.gather(
            *(ask_directory(name, self.settings.directories[name], asked) for name, asked in by_directory.items())
        )
        merged: dict[GroupQuery, GroupAnswer | Unanswered] = {}
        for answer in answers:
            merged |= answer
        return Lookups(merged)

    async def visit(self, directory: str, queries: Collection[GroupQuery]) -> DirectoryVisit:
        """One directory, with how it answered. Raises PgVillageError where it could not be asked."""
        from pgvillage.clients.ldap import visit_directory

        return await visit_directory(directory, self.settings.directories[directory], queries)

    def secrets(self, names: Iterable[str]) -> SecretsFound:
        """Those that can be had here; what is missing is the planner's to report."""
        return look_up(self.settings.secrets, names)

    def logins(self, rotations: Iterable[Rotation]) -> SecretsFound:
        """The passwords of logins that take turns, as far as they can be had here; nothing is written."""
        from pgvillage.clients.rotations import look_up_logins

        return look_up_logins(self.settings.secrets, rotations, self.now())

    def promote(self, rotation: Rotation, confirmed: Secret) -> bool:
        """Raises SecretError; False when the record has moved on."""
        from pgvillage.clients.rotations import promote_login

        return promote_login(self.settings.secrets, rotation, confirmed, self.now())

    async def read(self, target: TargetId, view: ClusterView, queries_of: QueriesOf) -> Reading:
        if target.system is System.STOLON:
            from pgvillage.resources.stolon.desired import cluster_uid

            live, ledger = await self._store(view).read(cluster_uid)
            return Reading(live, ledger)
        from pgvillage.clients.pg_read import read_postgres

        databases = [d.name for d in view.databases if d.spec.ensure == "present"]
        live, capabilities, ledger = await read_postgres(self.endpoint(view), databases, queries_of)
        return Reading(live, ledger, capabilities)

    def writer(
        self, target: TargetId, view: ClusterView, reading: Reading, fence: Fence | None = None
    ) -> AbstractAsyncContextManager[Writer]:
        """Without a fence it is that of a command at a terminal, which the target's own lock decides about."""
        if target.system is System.STOLON:
            from pgvillage.resources.stolon.desired import cluster_uid, patched

            return self._store(view).writer(cluster_uid, patched, fence or NO_FENCE)
        from pgvillage.clients.pg_write import PostgresWriter

        assert reading.capabilities is not None

        def secret_of(reference: SecretRef) -> Secret:
            return self._secret(reference, view.rotations)

        system = reading.capabilities.system_identifier
        return PostgresWriter(self.endpoint(view), system, secret_of, fence or NO_FENCE)

    def watch(self, target: TargetId, view: ClusterView) -> Watch:
        """What sees cheaply whether the target changed; it keeps a connection until it is closed."""
        if target.system is System.STOLON:
            return self._store(view)
        from pgvillage.clients.pg_fingerprint import PgWatch

        return PgWatch(self.endpoint(view), [d.name for d in view.databases if d.spec.ensure == "present"])

    def _secret(self, reference: SecretRef, rotations: Iterable[Rotation]) -> Secret:
        from pgvillage.clients.rotations import obtain_login

        for rotation in rotations:
            login = rotation.login_of(reference.name)
            if login is not None:
                return obtain_login(self.settings.secrets, rotation, login, self.now())
        return obtain(self.settings.secrets, reference.name)

    def endpoint(self, view: ClusterView) -> Endpoint:
        """Raises SettingsError when the settings do not know the credential."""
        connection = view.cluster.spec.connection
        assert connection is not None
        credential = self.settings.credentials.get(connection.credential)
        if credential is None:
            raise SettingsError(f"{view.name}: the settings know no credential {connection.credential!r}")
        return Endpoint(
            cluster=view.name,
            hosts=connection.hosts,
            credential_name=connection.credential,
            credential=credential,
            sslmode=connection.sslmode,
            timeouts=self.settings.timeouts,
        )

    def _store(self, view: ClusterView) -> StolonStore:
        from pgvillage.clients.stolon_store import StolonStore

        ha = view.cluster.spec.ha
        settings = self.settings.etcd.get(ha.etcd or "")
        if settings is None or ha.etcd is None:
            raise ReadError(view.name, f"the settings know no etcd {ha.etcd!r}")
        return StolonStore(view.name, ha.etcd, settings, ha.cluster or view.name)

    def now(self) -> datetime:
        return datetime.now(UTC)


def real_world(settings: Path) -> RealWorld:
    """Raises SettingsError. Relative paths in the settings start at their own folder."""
    return RealWorld(with_paths(load_settings(settings), settings.absolute().parent))


def with_paths(settings: Settings, base: Path) -> Settings:
    """The settings with every relative path made absolute, so that it does not matter where a command is run."""
    found = settings.model_dump(by_alias=True, exclude_none=True)
    _absolute(found, base)
    repository = found["repository"]
    if "://" not in repository["url"] and not _SCP.match(repository["url"]):
        repository["url"] = str(base / Path(repository["url"]).expanduser())
    return Settings.model_validate(found)


def _absolute(node: Any, base: Path) -> None:
    """`file`, `state`, `ldif` and the like, wherever they stand; `system` is no path."""
    if isinstance(node, list):
        for each in node:
            _absolute(each, base)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in _PATHS and isinstance(value, str | Path) and str(value) != "system":
            node[key] = str(base / Path(value).expanduser())
        elif isinstance(value, dict | list):
            _absolute(value, base)
