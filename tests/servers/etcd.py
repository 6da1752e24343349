"""A real etcd on loopback, with its data in a folder of the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import accepts, free_port, stop, wait_until


@dataclass(frozen=True, slots=True)
class EtcdTls:
    """PEM files of the server; with `client_auth` clients must show a certificate of the same CA."""

    ca: Path
    cert: Path
    key: Path
    client_auth: bool = False

    def arguments(self) -> list[str]:
        pair = [f"--cert-file={self.cert}", f"--key-file={self.key}"]
        return pair + ([f"--trusted-ca-file={self.ca}", "--client-cert-auth"] if self.client_auth else [])


@dataclass(frozen=True, slots=True)
class EtcdServer:
    url: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.split("://")[1].split(":")
        return host, int(port)

    def ctl(self, *arguments: str) -> str:
        """etcdctl against this server; over TLS the caller names the files."""
        command = ["etcdctl", f"--endpoints={self.url}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, env=_environment())
        return done.stdout

    def enable_auth(self, user: str, password: str, *permission: str) -> None:
        """Switches authentication on with user root (same password) and one more, who holds `permission` on keys.

        `permission` is what `etcdctl role grant-permission` takes, for example ("readwrite", "--prefix=true", "a/").
        """
        self.ctl("user", "add", f"root:{password}")
        self.ctl("role", "add", "root")
        self.ctl("user", "grant-role", "root", "root")
        self.ctl("role", "add", "some")
        self.ctl("role", "grant-permission", "some", *permission)
        self.ctl("user", "add", f"{user}:{password}")
        self.ctl("user", "grant-role", user, "some")
        self.ctl("auth", "enable")


@contextmanager
def running_etcd(
    folder: Path, tls: EtcdTls | None = None, arguments: Sequence[str] = (), ports: tuple[int, int] | None = None
) -> Iterator[EtcdServer]:
    """Starts one member and waits until it serves; `ports` for clients and peers, where they must be known before."""
    client, peer = ports or (free_port(), free_port())
    scheme = "https" if tls else "http"
    url, peer_url = f"{scheme}://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "etcd.log"
    command = [
        "etcd", "--name=test", f"--data-dir={folder / 'data'}", "--logger=zap", "--log-outputs=stderr",
        f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=test={peer_url}", *(tls.arguments() if tls else []), *arguments,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=_environment())
    try:
        # the port is open before the member has a leader; requests would hang until then
        serves = b"serving client traffic"
        wait_until(lambda: accepts(client) and serves in log.read_bytes(), "etcd", log)
        yield EtcdServer(url, log, process)
    finally:
        stop(process)


@dataclass(slots=True)
class EtcdCluster:
    """Three members; any may be killed, stopped and started again."""

    folder: Path
    clients: list[int]
    peers: list[int]
    arguments: Sequence[str]
    processes: list[subprocess.Popen[bytes] | None]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.clients]

    def start(self, at: int) -> None:
        initial = ",".join(f"m{n}=http://127.0.0.1:{port}" for n, port in enumerate(self.peers))
        peer = f"http://127.0.0.1:{self.peers[at]}"
        command = [
            "etcd", f"--name=m{at}", f"--data-dir={self.folder / f'm{at}'}", "--logger=zap", "--log-outputs=stderr",
            f"--listen-client-urls={self.urls[at]}", f"--advertise-client-urls={self.urls[at]}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster={initial}",
            "--heartbeat-interval=100", "--election-timeout=1000", *self.arguments,
        ]  # fmt: skip
        with (self.folder / f"m{at}.log").open("ab") as output:
            self.processes[at] = subprocess.Popen(command, stdout=output, stderr=output, env=_environment())

    def signal(self, at: int, how: signal.Signals) -> None:
        process = self.processes[at]
        assert process is not None
        process.send_signal(how)
        if how is signal.SIGKILL:
            process.wait()

    def status(self, at: int) -> tuple[str, str]:
        """The ids of the member and of the leader that it follows."""
        command = ["etcdctl", f"--endpoints={self.urls[at]}", "endpoint", "status", "--write-out=json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=_environment())
        status = json.loads(done.stdout or "[]")
        if not status:
            return "", ""
        return str(status[0]["Status"]["header"]["member_id"]), str(status[0]["Status"].get("leader", ""))

    def leader(self) -> int:
        """Which of the members (0 to 2) leads; waits for one."""
        found: list[int] = []

        def look() -> bool:
            pairs = [self.status(at) for at in range(3)]
            found[:] = [at for at, (member, leader) in enumerate(pairs) if member and member == leader]
            return len(found) == 1

        wait_until(look, "etcd's leader", self.folder / "m0.log")
        return found[0]


@contextmanager
def running_cluster(folder: Path, arguments: Sequence[str] = ()) -> Iterator[EtcdCluster]:
    """Three members on loopback, that have a leader."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = [free_port() for _ in range(6)]
    cluster = EtcdCluster(folder, ports[:3], ports[3:], arguments, [None, None, None])
    try:
        for at in range(3):
            cluster.start(at)
        cluster.leader()
        yield cluster
    finally:
        for process in cluster.processes:
            if process is not None:
                stop(process, signal.SIGKILL)


def _environment() -> dict[str, str]:
    """Without the ETCD_* and ETCDCTL_* of whoever runs the tests: etcd reads its flags from there too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD")} | {"ETCDCTL_API": "3"}
