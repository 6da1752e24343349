"""A real sshd for the running user: one allowed key, its own host key, one loopback port."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import accepts, free_port, stop, wait_until


@dataclass(frozen=True)
class Sshd:
    port: int
    user: str
    key: Path
    other_key: Path
    known_hosts: Path


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def pin(file: Path, port: int, host_key: Path) -> Path:
    """A known_hosts `file` that pins `host_key` for the port."""
    file.write_text(f"[127.0.0.1]:{port} {host_key.with_suffix('.pub').read_text()}")
    return file


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    if getpass.getuser() == "root":
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd started by root insists on its empty folder
    port, key, host_key = free_port(), make_key(folder / "key"), make_key(folder / "host")
    allowed = folder / "authorized_keys"
    allowed.write_text(key.with_suffix(".pub").read_text())
    config = folder / "sshd_config"
    config.write_text(
        f'Port {port}\nListenAddress 127.0.0.1\nHostKey "{host_key}"\nPidFile none\nUsePAM no\nStrictModes no\n'
        f'AuthorizedKeysFile "{allowed}"\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n'
        "PermitRootLogin prohibit-password\n"
    )
    log = folder / "sshd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stdout=output, stderr=output)
    try:
        wait_until(lambda: accepts(port), "sshd", log)
        known_hosts = pin(folder / "known_hosts", port, host_key)
        yield Sshd(port, getpass.getuser(), key, make_key(folder / "other"), known_hosts)
    finally:
        stop(process)
