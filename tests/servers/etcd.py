"""A real etcd on loopback, with its data in a folder of the test."""

from __future__ import annotations

import os
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
def running_etcd(folder: Path, tls: EtcdTls | None = None, arguments: Sequence[str] = ()) -> Iterator[EtcdServer]:
    """Starts one member and waits until it serves."""
    client, peer = free_port(), free_port()
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


def _environment() -> dict[str, str]:
    """Without the ETCD_* and ETCDCTL_* of whoever runs the tests: etcd reads its flags from there too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD")} | {"ETCDCTL_API": "3"}
