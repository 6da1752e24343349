"""Real stolon for tests: sentinels, keepers and a proxy on loopback over a real etcd; its binaries must be there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.servers import free_port, stop, wait_until
from tests.servers.etcd import EtcdServer, running_etcd
from tests.servers.postgres import as_user, newest
from tests.servers.postmaster import end_postmaster, kill_postmaster, postmaster_of, quit_postmaster, servers_home

BINARIES = ("stolon-keeper", "stolon-sentinel", "stolon-proxy", "stolonctl")
FAILOVER_SECONDS = 60
LIVELY: Mapping[str, Any] = {
    "sleepInterval": "1s", "requestTimeout": "3s", "failInterval": "5s", "proxyCheckInterval": "1s",
    "proxyTimeout": "4s",
}  # fmt: skip
NEW: Mapping[str, Any] = {
    **LIVELY,
    "initMode": "new",
    "usePgrewind": True,
    "newConfig": {"locale": "C", "encoding": "UTF8", "dataChecksums": True},
    "pgParameters": {"fsync": "off", "max_connections": "60", "wal_keep_size": "64MB"},
    "pgHBA": ["host all all 127.0.0.1/32 scram-sha-256"],
}


def missing_binaries() -> list[str]:
    """Those that are not on PATH; a test with the marker registry_free skips when there are any."""
    return [name for name in BINARIES if shutil.which(name) is None]


@dataclass(slots=True)
class StolonNode:
    """One keeper and its PostgreSQL; `process` is the keeper, None before the first start."""

    name: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "postgres"

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    def postmaster(self) -> int | None:
        return postmaster_of(self.data)


@dataclass(slots=True)
class StolonCluster:
    """Superuser `postgres` with `password`; `proxy` is the port of stolon-proxy, which leads to the primary."""

    etcd: EtcdServer
    home: Path
    nodes: tuple[StolonNode, ...]
    binaries: Path
    name: str = "lab"
    password: str = "planted-superuser-password"
    proxy: int = field(default_factory=free_port)
    others: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"stolon/cluster/{self.name}/clusterdata"

    def node(self, name: str) -> StolonNode:
        return next(node for node in self.nodes if node.name == name)

    def connect(self, node: StolonNode | int, database: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        """To a node's PostgreSQL, or to a port such as `proxy`."""
        given = {"user": "postgres", "password": self.password, **more}
        port = node if isinstance(node, int) else node.port
        return psycopg.connect(host="127.0.0.1", port=port, dbname=database, autocommit=True, **given)

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """stolonctl on this cluster."""
        command = ["stolonctl", *self._store(), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=_environment())
        if check and done.returncode:
            raise RuntimeError(f"stolonctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def initialise(self, spec: Mapping[str, Any] | None = None) -> None:
        self.ctl("init", "--yes", json.dumps(NEW if spec is None else spec))

    def update(self, **patch: Any) -> None:
        """A merge patch to the cluster's specification, as a person would send it."""
        self.ctl("update", "--patch", json.dumps(patch))

    def clusterdata(self) -> dict[str, Any]:
        """{} when there is none."""
        found = self.etcd.ctl("get", self.key, "--print-value-only").strip()
        return dict(json.loads(found)) if found else {}

    def spec(self) -> dict[str, Any]:
        return dict(self.clusterdata()["cluster"]["spec"])

    def leader(self) -> StolonNode | None:
        """The keeper whose PostgreSQL the sentinel says is the primary, when that says the same of itself."""
        data = self.clusterdata()
        db = data.get("dbs", {}).get(data.get("cluster", {}).get("status", {}).get("master", ""))
        node = next((n for n in self.nodes if db and n.name == db["spec"]["keeperUID"]), None)
        with suppress(psycopg.Error):
            if node is not None and not self._ask(node, "SELECT pg_is_in_recovery()")[0][0]:
                return node
        return None

    def wait(self, streaming: int | None = None, seconds: float = FAILOVER_SECONDS) -> StolonNode:
        """The primary, once stolon's phase is normal and `streaming` standbys follow it (every other by default)."""
        wanted = len(self.nodes) - 1 if streaming is None else streaming
        found: list[StolonNode] = []

        def settled() -> bool:
            if self.clusterdata().get("cluster", {}).get("status", {}).get("phase") != "normal":
                return False
            leader = self.leader()
            found[:] = [leader] if leader else []
            return leader is not None and self.streaming(leader) >= wanted

        wait_until(settled, "stolon's cluster", self.home / "sentinel1.log", seconds)
        return found[0]

    def streaming(self, leader: StolonNode) -> int:
        """How many standbys answer queries and stream from this node, as its own PostgreSQL counts them."""
        asked = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE 'stolon%'"
        with suppress(psycopg.Error):
            streams = int(self._ask(leader, asked)[0][0])
            return min(streams, sum(self._serves(node) for node in self.nodes if node is not leader))
        return 0

    def _serves(self, node: StolonNode) -> bool:
        with suppress(psycopg.Error):
            return bool(self._ask(node, "SELECT pg_is_in_recovery()")[0][0])
        return False

    def _ask(self, node: StolonNode, sql: str) -> list[tuple[Any, ...]]:
        with self.connect(node, connect_timeout=5) as connection:
            return connection.execute(sql.encode()).fetchall()

    def start(self, node: StolonNode) -> None:
        """Starts a keeper, which makes, joins or starts its PostgreSQL as the sentinel tells it."""
        node.process = self._run(
            node.log, "stolon-keeper", f"--uid={node.name}", f"--data-dir={node.folder}",
            "--pg-listen-address=127.0.0.1", f"--pg-port={node.port}", f"--pg-bin-path={self.binaries}",
            "--pg-su-username=postgres", f"--pg-su-passwordfile={self.home / 'superuser'}",
            "--pg-repl-username=replicator", f"--pg-repl-passwordfile={self.home / 'replication'}",
        )  # fmt: skip

    def start_sentinel(self, name: str) -> None:
        self.others[name] = self._run(self.home / f"{name}.log", "stolon-sentinel")

    def start_proxy(self) -> None:
        self.others["proxy"] = self._run(
            self.home / "proxy.log", "stolon-proxy", "--listen-address=127.0.0.1", f"--port={self.proxy}"
        )

    def stop(self, name: str) -> None:
        """A sentinel or the proxy, by its name."""
        stop(self.others.pop(name))

    def kill(self, node: StolonNode) -> None:
        """A power failure of the node: kill -9 for the keeper, its postmaster and every process of that."""
        assert node.process is not None
        node.process.kill()
        node.process.wait()
        kill_postmaster(node.data, node.name, node.log)

    def _run(self, log: Path, *command: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [command[0], *self._store(), *command[1:]],
                cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_environment(), **as_user(),
            )  # fmt: skip

    def _store(self) -> list[str]:
        return [f"--cluster-name={self.name}", "--store-backend=etcdv3", f"--store-endpoints={self.etcd.url}"]


@contextmanager
def stolon_cluster(
    folder: Path, nodes: int = 3, spec: Mapping[str, Any] | None = NEW, binaries: Path | None = None
) -> Iterator[StolonCluster]:
    """Two sentinels, keepers and a proxy; the cluster is up and its standbys stream, unless `spec` is None: then the
    keepers wait for somebody to initialise it.

    It has one member of etcd and the newest PostgreSQL of this machine (or `binaries`). Everything is stopped and
    removed at the end, whatever was killed or restarted in between.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        etcd = stack.enter_context(running_etcd(folder / "etcd"))
        home = stack.enter_context(servers_home("pgvillage-stolon-", folder))
        members = tuple(StolonNode(f"keeper{at}", home / f"keeper{at}", free_port()) for at in range(1, nodes + 1))
        cluster = StolonCluster(etcd, home, members, binaries or newest())
        _prepare(cluster)
        try:
            for name in ("sentinel1", "sentinel2"):
                cluster.start_sentinel(name)
            for node in members:
                cluster.start(node)
            cluster.start_proxy()
            if spec is not None:
                cluster.initialise(spec)
                cluster.wait()
            yield cluster
        finally:
            _stop(cluster)


def _prepare(cluster: StolonCluster) -> None:
    for name, password in (("superuser", cluster.password), ("replication", "planted-replication-password")):
        path = cluster.home / name
        path.write_text(password)
        path.chmod(0o600)
    for node in cluster.nodes:
        node.folder.mkdir(mode=0o700)
    if not os.getuid():
        owned = (cluster.home, *(cluster.home / name for name in ("superuser", "replication")))
        for path in (*owned, *(node.folder for node in cluster.nodes)):
            shutil.chown(path, "postgres", "postgres")


def _stop(cluster: StolonCluster) -> None:
    """Keepers first, so that they start nothing again."""
    for process in (*cluster.others.values(), *(n.process for n in cluster.nodes if n.process)):
        stop(process, signal.SIGKILL)
    for node in cluster.nodes:
        quit_postmaster(node.data)
    for node in cluster.nodes:
        end_postmaster(node.data, node.name, node.log)


def _environment() -> dict[str, str]:
    """Without the settings of whoever runs the tests."""
    foreign = ("ST", "PG", "ETCD")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
