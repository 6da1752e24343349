"""Real Patroni for tests: nodes on loopback or on hosts of a network over a real etcd, each with its PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from tests.servers import free_port, stop, wait_until
from tests.servers.etcd import EtcdServer, running_etcd
from tests.servers.network import Host, Network
from tests.servers.postgres import as_user, newest
from tests.servers.postmaster import end_postmaster, kill_postmaster, postmaster_of, quit_postmaster, servers_home

# Patroni takes no shorter ttl than 20 s: so long an etcd lease of a killed leader lasts.
FAILOVER_SECONDS = 60
_AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
# Longer than a replica that is well takes to stream again.
_GONE_ASTRAY_SECONDS = 20
_LIVELY = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "primary_start_timeout": 0}


@dataclass(slots=True)
class PatroniNode:
    """One member: `port` is PostgreSQL's, `api` its REST API's; `process` is Patroni, None before the first start.

    `on` is the host that it runs on, None: this one.
    """

    name: str
    folder: Path
    port: int
    api: int
    process: subprocess.Popen[bytes] | None = None
    on: Host | None = None

    @property
    def address(self) -> str:
        return self.on.address if self.on else "127.0.0.1"

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "patroni.log"

    def postmaster(self) -> int | None:
        """The pid of the node's PostgreSQL, None where none runs."""
        return postmaster_of(self.data)


@dataclass(slots=True)
class PatroniCluster:
    """Superuser `postgres` with `password`; `scope` is the cluster's name in etcd, under /service/."""

    etcd: EtcdServer
    nodes: tuple[PatroniNode, ...]
    scope: str = "lab"
    password: str = "planted-superuser-password"

    def node(self, name: str) -> PatroniNode:
        return next(node for node in self.nodes if node.name == name)

    def connect(self, node: PatroniNode, database: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        given = {"user": "postgres", "password": self.password, **more}
        return psycopg.connect(host=node.address, port=node.port, dbname=database, autocommit=True, **given)

    def request(self, node: PatroniNode, method: str, path: str, body: object = None) -> tuple[int, str]:
        """One call of the node's REST API: status and body. Raises OSError when nobody answers."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{node.address}:{node.api}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def members(self) -> dict[str, dict[str, Any]]:
        """Name -> role, state, timeline, lag, as the first node that answers tells it; {} when none does."""
        for node in self.nodes:
            with suppress(OSError, ValueError):
                members = json.loads(self.request(node, "GET", "/cluster")[1])["members"]
                return {member["name"]: member for member in members}
        return {}

    def leader(self) -> PatroniNode | None:
        """The node that holds the leader's lock and says of itself that it is the primary."""
        for node in self.nodes:
            with suppress(OSError):
                if self.request(node, "GET", "/primary")[0] == 200:
                    return node
        return None

    def wait(self, streaming: int | None = None, seconds: float = 1.5 * FAILOVER_SECONDS) -> PatroniNode:
        """The leader, as soon as there is one and `streaming` replicas stream from it (every other by default).

        A replica that went astray is made anew, as its administrator would. Patroni compares what a replica has
        *replayed* with the fork, and once: one that had received more and replays it after that look asks the new
        leader for WAL that is not in its history, for ever.
        """
        wanted = len(self.nodes) - 1 if streaming is None else streaming
        found: list[PatroniNode] = []
        led_since: list[float] = []

        def settled() -> bool:
            leader = self.leader()
            if leader is None or [leader] != found:
                found[:] = [leader] if leader else []
                led_since[:] = [time.monotonic()]
            if leader is None:
                return False
            well = self.streaming(leader)
            if len(well) < wanted and time.monotonic() - led_since[0] > _GONE_ASTRAY_SECONDS:
                self._make_anew(node for node in self._up() if node is not leader and node not in well)
                led_since[:] = [time.monotonic()]
            return len(well) >= wanted

        wait_until(settled, "Patroni's cluster", self.nodes[0].log, seconds)
        return found[0]

    def _make_anew(self, astray: Iterable[PatroniNode]) -> None:
        for node in astray:
            with suppress(OSError):
                self.request(node, "POST", "/reinitialize", {"force": True})

    def streaming(self, leader: PatroniNode) -> list[PatroniNode]:
        """The standbys that answer queries and stream from this node, as its own PostgreSQL counts them."""
        asked = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
        with suppress(psycopg.Error), self.connect(leader, connect_timeout=5) as connection:
            # pg_basebackup streams too, under a name of its own
            names = {name for (name,) in connection.execute(asked.encode()).fetchall()}
            return [node for node in self.nodes if node.name in names and self._serves(node)]
        return []

    def _serves(self, node: PatroniNode) -> bool:
        with suppress(psycopg.Error), self.connect(node, connect_timeout=5):
            return True
        return False

    def replicas(self) -> list[PatroniNode]:
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def start(self, node: PatroniNode) -> None:
        """Starts Patroni on a node, which starts or joins PostgreSQL as it sees fit."""
        command = [sys.executable, "-m", "patroni", str(node.folder / "patroni.yml")]
        user: dict[str, Any] = {}
        if node.on is not None:  # it takes root to go there
            command = node.on.inside(*(_readable() or _AS_POSTGRES), *command)
        elif _readable():
            command = [*_readable(), *command]
        else:
            user = as_user()
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                command, cwd=node.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), **user
            )

    def kill(self, node: PatroniNode) -> None:
        """A power failure of the node: kill -9 for Patroni, its postmaster and every process of that."""
        assert node.process is not None
        node.process.kill()
        node.process.wait()
        kill_postmaster(node.data, node.name, node.log)

    def switchover(self, to: PatroniNode | None = None) -> PatroniNode:
        """By the REST API, and when Patroni answers it is done: the new leader. Raises RuntimeError in its words."""
        leader = self.wait(streaming=0)
        body = {"leader": leader.name, **({"candidate": to.name} if to else {})}
        status, text = self.request(leader, "POST", "/switchover", body)
        if status != 200:
            raise RuntimeError(f"switchover from {leader.name}: {status} {text}")
        return self.wait(streaming=0)

    def configure(self, **dynamic: Any) -> None:
        """A merge patch to the dynamic configuration in etcd."""
        status, text = self.request(self.wait(streaming=0), "PATCH", "/config", dynamic)
        if status != 200:
            raise RuntimeError(f"PATCH /config: {status} {text}")

    def pause(self, on: bool = True) -> None:
        """Patroni's maintenance mode; returns when every member that answers knows it."""
        self.configure(pause=True if on else None)

        def known() -> bool:
            return all(json.loads(self.request(n, "GET", "/patroni")[1]).get("pause", False) is on for n in self._up())

        wait_until(known, "the pause", self.nodes[0].log)

    def _up(self) -> list[PatroniNode]:
        return [node for node in self.nodes if node.process is not None and node.process.poll() is None]


@contextmanager
def patroni_cluster(
    folder: Path,
    nodes: int = 3,
    dynamic: Mapping[str, Any] | None = None,
    binaries: Path | None = None,
    network: Network | None = None,
) -> Iterator[PatroniCluster]:
    """A cluster whose leader is up and whose other nodes stream; `dynamic` goes over the settings it begins with.

    It has one member of etcd, the newest PostgreSQL of this machine (or `binaries`), loop_wait 1 s and a ttl of 20 s.
    With a `network`, each node is on a host of it, and etcd on this one.
    Everything is stopped and removed at the end, whatever was killed or restarted in between.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        etcd = stack.enter_context(_etcd(folder / "etcd", network))
        home = stack.enter_context(servers_home("pgvillage-patroni-", folder))
        hosts = network.hosts if network else (None,) * nodes
        members = tuple(
            PatroniNode(f"n{at}", home / f"n{at}", free_port(), free_port(), on=host)
            for at, host in enumerate(hosts[:nodes], 1)
        )
        cluster = PatroniCluster(etcd, members)
        for node in members:
            _prepare(cluster, node, {**_LIVELY, **(dynamic or {})}, binaries or newest())
        try:
            for node in members:
                cluster.start(node)
            cluster.wait()
            yield cluster
        finally:
            for node in members:
                _quit(node)
            for node in members:
                end_postmaster(node.data, node.name, node.log)


def _etcd(folder: Path, network: Network | None) -> AbstractContextManager[EtcdServer]:
    if network is None:
        return running_etcd(folder)
    client, peer = free_port(), free_port()
    there = f"http://{network.address}:{client}"
    # Patroni asks the members that the cluster itself names.
    arguments = [f"--listen-client-urls=http://127.0.0.1:{client},{there}", f"--advertise-client-urls={there}"]
    return running_etcd(folder, arguments=arguments, ports=(client, peer))


def _prepare(cluster: PatroniCluster, node: PatroniNode, dynamic: Mapping[str, Any], binaries: Path) -> None:
    node.folder.mkdir()
    (node.folder / "patroni.yml").write_text(yaml.safe_dump(_configuration(cluster, node, dynamic, binaries)))
    if not os.getuid():
        for path in (node.folder, node.folder / "patroni.yml"):
            shutil.chown(path, "postgres", "postgres")


def _configuration(
    cluster: PatroniCluster, node: PatroniNode, dynamic: Mapping[str, Any], binaries: Path
) -> dict[str, Any]:
    api, etcd = f"{node.address}:{node.api}", "{}:{}".format(*cluster.etcd.address)
    anybody = "127.0.0.1/32"
    if node.on is not None:
        etcd, anybody = f"{node.on.bridge}:{cluster.etcd.address[1]}", f"{node.on.bridge}/29"
    parameters = {
        "fsync": "off", "max_connections": 60, "unix_socket_directories": "", "wal_keep_size": "64MB",
        "wal_sender_timeout": "5s",
    }  # fmt: skip
    rules = [f"host {what} all {anybody} scram-sha-256" for what in ("all", "replication")]
    dcs = {"postgresql": {"use_pg_rewind": True, "parameters": {"wal_log_hints": "on"}, "pg_hba": rules}, **dynamic}
    return {
        "scope": cluster.scope,
        "name": node.name,
        "restapi": {"listen": api, "connect_address": api},
        "etcd3": {"host": etcd},
        "bootstrap": {"dcs": dcs, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums", "no-sync"]},
        "postgresql": {
            "listen": node.host,
            "connect_address": node.host,
            "data_dir": str(node.data),
            "bin_dir": str(binaries),
            "pgpass": str(node.folder / "pgpass"),
            "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            "authentication": {
                "superuser": {"username": "postgres", "password": cluster.password},
                "replication": {"username": "replicator", "password": "planted-replication-password"},
                "rewind": {"username": "rewinder", "password": "planted-rewind-password"},
            },
            "parameters": parameters,
        },
    }


def _quit(node: PatroniNode) -> None:
    """Patroni first, so that it starts nothing again; an immediate shutdown frees PostgreSQL's shared memory."""
    if node.process is not None:
        stop(node.process, signal.SIGKILL)
    quit_postmaster(node.data)


def _readable() -> list[str]:
    """What goes before the command where root's Python lies in a folder that is shut for `postgres`."""
    places = {Path(sys.prefix), Path(sys.executable).resolve().parent}
    shut = [p for place in places for p in (place, *place.parents) if not p.stat().st_mode & stat.S_IXOTH]
    if os.getuid() or not shut:
        return []
    see = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*_AS_POSTGRES, *see]


def _environment() -> dict[str, str]:
    """Without the settings of whoever runs the tests: Patroni and libpq read theirs from there too."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PATRONI", "PG", "ETCD"))}
