"""Composition root: settings become clients, clients become the World of the use cases."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvillage.clients.pg_connect import DEFAULT_PORT, Endpoint
from pgvillage.clients.secrets import look_up, obtain
from pgvillage.core.errors import PgVillageError, ReadError, SettingsError
from pgvillage.core.fence import NO_FENCE, Fence
from pgvillage.core.job_work import HttpWork, ShellWork, Sink, WorkResult
from pgvillage.core.lookup import DirectoryVisit, GroupAnswer, GroupQuery, Lookups, Unanswered
from pgvillage.core.plan import System, TargetId
from pgvillage.core.rotation import Rotation
from pgvillage.core.secret import Secret, SecretRef, SecretsFound
from pgvillage.core.topology import Store, Topology
from pgvillage.estate.loader import Manifests, load_manifests, load_settings
from pgvillage.estate.manifest import Cluster, Job
from pgvillage.estate.references import SettingsNames
from pgvillage.estate.view import ClusterView
from pgvillage.settings import Etcd, Settings
from pgvillage.usecases.nodes import shows_nodes
from pgvillage.usecases.world import Checkout, Engine, Probe, QueriesOf, Reading, Watch, Writer

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
        "clientCa",
        "memory",
    ]
)
_SCP = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:")  # git@host:path

if TYPE_CHECKING:
    from pgvillage.clients.git import EstateSource
    from pgvillage.clients.job_sql.place import JobDoor
    from pgvillage.clients.leading import Lead
    from pgvillage.clients.patroni.rest import PatroniRest
    from pgvillage.clients.patroni.store import PatroniStore
    from pgvillage.clients.patroni.writer import PatroniWriter
    from pgvillage.clients.pg_way import Way
    from pgvillage.clients.stolon_store import StolonStore
    from pgvillage.core.ledger import Ledger
    from pgvillage.core.live import Live
    from pgvillage.running.contract import RunListener, RunStore
    from pgvillage.running.listeners import JobHistory
    from pgvillage.running.means import Means


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
        """With the cluster's nodes, where this target is the one that shows them."""
        reading = await self._read(target, view, queries_of)
        to_be_made = not reading.live.rows.get("clusterdata", True)
        if not shows_nodes(target, view) or to_be_made:
            return reading
        return replace(reading, live=replace(reading.live, topology=await self.topology(view, view.parameters)))

    async def _read(self, target: TargetId, view: ClusterView, queries_of: QueriesOf) -> Reading:
        if target.system is System.STOLON:
            from pgvillage.resources.stolon.desired import cluster_uid

            live, ledger = await self._store(view).read(cluster_uid)
            return Reading(replace(live, rows={**live.rows, "login": self._network_login(view)}), ledger)
        if target.system is System.PATRONI:
            return Reading(*await self._read_patroni(view))
        from pgvillage.clients.pg_read import read_postgres

        databases = [d.name for d in view.databases if d.spec.ensure == "present"]
        async with self._way(view) as way:
            endpoint = await way.find()
        live, capabilities, ledger = await read_postgres(endpoint, databases, queries_of)
        return Reading(live, ledger, capabilities, endpoint.notes)

    def writer(
        self, target: TargetId, view: ClusterView, reading: Reading, fence: Fence | None = None
    ) -> AbstractAsyncContextManager[Writer]:
        """Without a fence it is that of a command at a terminal, which the target's own lock decides about."""
        if target.system is System.STOLON:
            from pgvillage.resources.stolon.desired import cluster_uid, patched

            return self._store(view).writer(cluster_uid, patched, fence or NO_FENCE)
        if target.system is System.PATRONI:
            return self._patroni_writer(view, fence or NO_FENCE)
        from pgvillage.clients.pg_write import PostgresWriter

        assert reading.capabilities is not None

        def secret_of(reference: SecretRef) -> Secret:
            return self._secret(reference, view.rotations)

        system = reading.capabilities.system_identifier
        return PostgresWriter(self._way(view), system, secret_of, fence or NO_FENCE)

    def watch(self, target: TargetId, view: ClusterView) -> Watch:
        """What sees cheaply whether the target changed; it keeps a connection until it is closed."""
        if target.system is System.STOLON:
            return self._store(view)
        if target.system is System.PATRONI:
            from pgvillage.clients.patroni.reader import RestWatch

            if view.cluster.spec.ha.etcd is not None:
                return self._patroni_store(view)
            rest, members = self._patroni_rest(view)
            return RestWatch(view.name, rest, members)
        from pgvillage.clients.pg_fingerprint import PgWatch

        return PgWatch(self._way(view), [d.name for d in view.databases if d.spec.ensure == "present"])

    async def topology(self, view: ClusterView, parameters: Collection[str] = ()) -> Topology:
        """The engine's state and etcd's health first, then every node that these or the manifest name, by SQL."""
        from pgvillage.clients.pg_nodes import ask_nodes
        from pgvillage.topology.assemble import with_answers, with_hosts
        from pgvillage.topology.compare import compared

        endpoint = self.endpoint(view)
        told, store = await asyncio.gather(self._engine_state(view), self._store_health(view))
        if told.engine_unread and not endpoint.hosts:
            raise ReadError(view.name, f"no host is known, as {told.engine_unread}")
        whole = replace(with_hosts(told, endpoint.hosts), store=store)
        places = {node.name: node.address for node in whole.nodes if node.address}
        return compared(with_answers(whole, await ask_nodes(endpoint, places, parameters)))

    async def _engine_state(self, view: ClusterView) -> Topology:
        """What the engine keeps, without a word of the nodes themselves; `engine_unread` where it can't be read."""
        ha, now = view.cluster.spec.ha, self.now()
        empty = Topology(view.name, ha.engine, now, ())
        try:
            if ha.engine == "stolon":
                return await self._stolon_state(view, now)
            if ha.engine == "patroni":
                return await self._patroni_state(view, now)
        except (PgVillageError, TimeoutError) as error:
            return replace(empty, engine_unread=str(error) or "reading took too long")
        except ValueError as error:
            return replace(empty, engine_unread=f"what stands in etcd can't be read: {error}")
        return empty

    async def _stolon_state(self, view: ClusterView, now: datetime) -> Topology:
        from pgvillage.resources.stolon.clusterdata import parse_clusterdata
        from pgvillage.resources.stolon.desired import cluster_uid
        from pgvillage.resources.stolon.nodes import parse_presence, topology_of

        live, _ = await self._store(view).read(cluster_uid)
        if not live.rows["clusterdata"]:
            return Topology(view.name, "stolon", now, (), phase="not initialised yet")
        data = parse_clusterdata(live.rows["clusterdata"][0][0])
        return topology_of(view.name, data, parse_presence(live.rows["keys"]), now)

    async def _patroni_state(self, view: ClusterView, now: datetime) -> Topology:
        from pgvillage.resources.patroni.members import topology_of
        from pgvillage.resources.patroni.seen import state_of

        live, _ = await self._read_patroni(view)
        return topology_of(view.name, state_of(live), now)

    async def _read_patroni(self, view: ClusterView) -> tuple[Live, Ledger]:
        from pgvillage.clients.patroni.reader import read_by_rest, read_in_etcd

        login = self.endpoint(view).credential.user
        if view.cluster.spec.ha.etcd is not None:
            return await read_in_etcd(view.name, self._patroni_store(view), login)
        rest, members = self._patroni_rest(view)
        return await read_by_rest(view.name, rest, members, login)

    def _patroni_store(self, view: ClusterView) -> PatroniStore:
        from pgvillage.clients.patroni.store import PatroniStore

        ha = view.cluster.spec.ha
        return PatroniStore(view.name, ha.etcd or "", self._etcd(view), ha.cluster or view.name)

    def _patroni_rest(self, view: ClusterView) -> tuple[PatroniRest, list[str]]:
        """With the members that the settings name. Raises ReadError where they know no such entry."""
        from pgvillage.clients.patroni.rest import PatroniRest

        name = view.cluster.spec.ha.api
        settings = self.settings.patroni.get(name or "")
        if settings is None or name is None:
            raise ReadError(view.name, f"the settings know no entry {name!r} of `patroni`")
        return PatroniRest(view.name, name, settings), settings.members

    def _patroni_writer(self, view: ClusterView, fence: Fence) -> PatroniWriter:
        from pgvillage.clients.patroni.writer import Configuration, PatroniWriter, RestConfiguration, Terms
        from pgvillage.resources.patroni.config import patched
        from pgvillage.resources.patroni.seen import state_of

        ha = view.cluster.spec.ha
        rest, members = self._patroni_rest(view) if ha.api is not None else (None, [])
        if ha.etcd is not None:
            configuration: Configuration = self._patroni_store(view).writer(patched, fence)
        else:
            assert rest is not None
            configuration = RestConfiguration(view.name, rest, members)

        async def terms() -> Terms:
            state = state_of((await self._read_patroni(view))[0])
            return Terms(state.most_lag, state.loop_wait, chosen=state.chosen)

        return PatroniWriter(view.name, configuration, rest, lambda: self.topology(view), terms)

    async def _store_health(self, view: ClusterView) -> Store | None:
        from pgvillage.clients.etcd.as_store import store_of

        ha = view.cluster.spec.ha
        settings = self.settings.etcd.get(ha.etcd or "")
        return await store_of(ha.etcd, settings) if settings is not None and ha.etcd is not None else None

    def _etcd(self, view: ClusterView) -> Etcd:
        name = view.cluster.spec.ha.etcd
        settings = self.settings.etcd.get(name or "")
        if settings is None:
            raise ReadError(view.name, f"the settings know no etcd {name!r}")
        return settings

    def engine(self, view: ClusterView) -> Engine:
        """Raises ReadError where the settings don't say how it is asked."""
        from pgvillage.clients.etcd import EtcdClient
        from pgvillage.clients.patroni.engine import PatroniEngine
        from pgvillage.clients.patroni.store import PatroniStore
        from pgvillage.clients.stolon_engine import StolonEngine
        from pgvillage.resources.stolon.failing import failing_leader

        ha = view.cluster.spec.ha
        if ha.engine == "none":
            raise ReadError(view.name, "no HA engine looks after it")
        if ha.engine == "stolon":
            client = EtcdClient(ha.etcd or "", self._etcd(view))
            return StolonEngine(view.name, self._store(view), client, failing_leader)
        api = self.settings.patroni.get(ha.api or "")
        if api is None or ha.api is None:
            raise ReadError(
                view.name,
                "Patroni is asked through its REST API: name an entry of `patroni` in the settings as `ha.api`",
            )
        store = None
        if ha.etcd is not None:
            store = PatroniStore(view.name, ha.etcd, self._etcd(view), ha.cluster or view.name)
        return PatroniEngine(view.name, (ha.api, api), store, api.members)

    def probes(self, view: ClusterView, topology: Topology) -> Sequence[Probe]:
        """All nodes at once as an application names them; and each proxy of the manifest, which finds the primary."""
        from dataclasses import replace

        from pgvillage.clients.pg_probe import PgProbe

        connect = view.cluster.spec.connect
        ways = {"to all nodes": tuple(node.address for node in topology.nodes)}
        for proxy in (connect.proxy if connect else None) or ():
            ways[f"through the proxy at {proxy}"] = (proxy,)
        if connect and connect.vip:
            address = connect.vip.address.partition("/")[0]
            port = connect.haproxy.port if connect.haproxy else DEFAULT_PORT
            ways[f"through the address {address}"] = (f"[{address}]:{port}" if ":" in address else f"{address}:{port}",)
        return [PgProbe(replace(self.endpoint(view), hosts=hosts), way) for way, hosts in ways.items()]

    def _secret(self, reference: SecretRef, rotations: Iterable[Rotation]) -> Secret:
        from pgvillage.clients.rotations import obtain_login

        for rotation in rotations:
            login = rotation.login_of(reference.name)
            if login is not None:
                return obtain_login(self.settings.secrets, rotation, login, self.now())
        return obtain(self.settings.secrets, reference.name)

    async def engine_hosts(self, name: str, cluster: Cluster) -> Sequence[str]:
        lead = self._lead(name, cluster)
        if lead is None:
            raise ReadError(name, "no HA engine that would name its hosts")
        async with lead:
            return list((await lead.ask()).addresses.values())

    def _way(self, view: ClusterView) -> Way:
        """Raises SettingsError when the settings do not know the credential or the etcd."""
        from pgvillage.clients.pg_way import Way

        return Way(self.endpoint(view), self._lead(view.name, view.cluster))

    def _lead(self, name: str, cluster: Cluster) -> Lead | None:
        """Who leads by etcd; None without an engine that keeps its state there."""
        ha = cluster.spec.ha
        if ha.etcd is None:
            return None
        settings = self.settings.etcd.get(ha.etcd)
        if settings is None:
            raise SettingsError(f"{name}: the settings know no etcd {ha.etcd!r}")
        from pgvillage.clients.leading import Lead
        from pgvillage.resources.patroni.leadership import patroni_keys
        from pgvillage.resources.stolon.leadership import stolon_keys

        scope = ha.cluster or name
        patroni = ha.engine == "patroni"
        keys = patroni_keys(settings.patroni_prefix, scope) if patroni else stolon_keys(settings.prefix, scope)
        return Lead(name, ha.etcd, settings, keys)

    def endpoint(self, view: ClusterView) -> Endpoint:
        """By manifest and settings alone: no hosts where the engine in etcd names them. Raises SettingsError when the
        settings do not know the credential.
        """
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

    @asynccontextmanager
    async def run_means(
        self, job: Job, views: Mapping[str, ClusterView], listener: RunListener | None
    ) -> AsyncIterator[Callable[[str], Means]]:
        """What runs of this Job are made with, by cluster. Raises SettingsError, StateError, ReadError."""
        import os
        import socket

        async with self.run_store() as (store, history):
            owner = f"{socket.gethostname()}:{os.getpid()}"
            found = self.job_means(job, views, store, history, owner, listener)
            yield lambda _: found

    def job_means(
        self,
        job: Job,
        views: Mapping[str, ClusterView],
        store: RunStore,
        history: JobHistory,
        owner: str,
        listener: RunListener | None = None,
    ) -> Means:
        """With the settings of this moment."""
        from pgvillage.clients.job_ways import JobWays
        from pgvillage.running.listeners import Recording, Several
        from pgvillage.running.means import Means

        name = job.metadata.name
        ways = JobWays(lambda cluster: self.job_door(views[cluster], name), self._program, self._call)

        async def host_of(cluster: str, target: str, node: str) -> str:
            return node or await self._job_host(views[cluster], target)

        heard = Several([Recording(history), *([listener] if listener is not None else [])])
        return Means(store, ways, heard, self.secrets, host_of, self.now, owner, self.settings.jobs.output)

    @asynccontextmanager
    async def run_store(self) -> AsyncIterator[tuple[RunStore, JobHistory]]:
        """Where runs are noted and claimed, by all who run jobs of this estate, and where their history is kept.

        Etcd where the daemons share the estate by it, else the state database. Raises SettingsError, SecretError,
        StateError.
        """
        from pgvillage.clients.job_store.in_state import StateRunStore
        from pgvillage.clients.state.opening import open_state

        state = await asyncio.to_thread(open_state, self.settings, self.state_folder())
        try:
            shared = self.settings.serve.replicas
            if shared is None:
                yield StateRunStore(state.engine), state.job_runs
            else:
                from pgvillage.clients.etcd import EtcdClient
                from pgvillage.clients.job_store.in_etcd import EtcdRunStore

                etcd = EtcdClient(shared.etcd, self.settings.etcd[shared.etcd])
                async with etcd, EtcdRunStore(etcd, shared.prefix, shared.lease) as store:
                    yield store, state.job_runs
        finally:
            await asyncio.to_thread(state.close)

    async def _job_host(self, view: ClusterView, target: str) -> str:
        """The address of a node that is what the job asks for. Raises ReadError."""
        topology = await self.topology(view)
        standbys = [node for node in topology.nodes if node.sql is not None and node.sql.recovering]
        primary = [topology.primary] if topology.primary is not None else []
        wanted = {"primary": primary, "standby": standbys, "prefer-standby": [*standbys, *primary]}
        found = [node.address for node in wanted.get(target, [*primary, *standbys]) if node.address]
        if not found:
            raise ReadError(view.name, f"no node for target {target}")
        return found[0]

    async def _program(self, work: ShellWork, sink: Sink) -> WorkResult:
        from pgvillage.clients.job_shell import run_program

        if work.host is not None:
            return WorkResult(
                1, error="this version runs no programs on hosts (`on: host`); `on: local` runs them here"
            )
        if not self.settings.jobs.local_shell:
            return WorkResult(1, error="the settings allow no programs here (jobs.localShell)")
        names = [re.escape(name).replace(r"\{name\}", ".*") for name in _variables(self.settings.model_dump())]
        hidden = re.compile("|".join(names) or r"\Z.")
        return await run_program(work, sink, lambda name: hidden.fullmatch(name) is not None)

    async def _call(self, work: HttpWork, sink: Sink) -> WorkResult:
        from pgvillage.clients.job_http import call
        from pgvillage.estate.job_reach import may_call

        if not may_call(work.url, self.settings.jobs.http):
            return WorkResult(1, error="the settings allow no calls to this host (jobs.http)")
        return await call(work, sink)

    def job_door(self, view: ClusterView, job: str) -> JobDoor:
        """How SQL of this Job gets into the cluster. Raises SettingsError for a credential that isn't there."""
        from fnmatch import fnmatchcase

        from pgvillage.clients.job_sql.place import JobDoor, JobLogin

        jobs = self.settings.jobs
        name = next((name for pattern, name in jobs.credentials.items() if fnmatchcase(view.name, pattern)), None)
        if name is not None and name not in self.settings.credentials:
            raise SettingsError(f"jobs.credentials: the settings know no credential {name!r}")
        login = JobLogin(name, self.settings.credentials[name]) if name is not None else None
        free = any(fnmatchcase(job, pattern.replace("[", "[[]")) for pattern in jobs.superuser)
        return JobDoor(self._way(view), login, superuser=free)

    def _network_login(self, view: ClusterView) -> list[tuple[str]]:
        """The role that rules of pg_hba.conf must let in; none where we come by a socket."""
        connection = view.cluster.spec.connection
        found = self.settings.credentials.get(connection.credential) if connection else None
        by_socket = connection is not None and any(host.startswith("/") for host in connection.hosts)
        return [] if found is None or by_socket else [(found.user,)]

    def _store(self, view: ClusterView) -> StolonStore:
        from pgvillage.clients.stolon_store import StolonStore

        ha = view.cluster.spec.ha
        settings = self.settings.etcd.get(ha.etcd or "")
        if settings is None or ha.etcd is None:
            raise ReadError(view.name, f"the settings know no etcd {ha.etcd!r}")
        from pgvillage.resources.stolon.initial import skeleton

        return StolonStore(view.name, ha.etcd, settings, ha.cluster or view.name, skeleton if ha.init else None)

    def now(self) -> datetime:
        return datetime.now(UTC)


def _variables(found: object) -> Iterator[str]:
    """Names of environment variables that these settings take secrets from; `{name}` stands for anything."""
    if isinstance(found, Mapping):
        name = found.get("env")
        if isinstance(name, str):
            yield name
        for value in found.values():
            yield from _variables(value)
    elif isinstance(found, list | tuple):
        for value in found:
            yield from _variables(value)


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
