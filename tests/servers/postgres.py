"""A real PostgreSQL of its own for tests: any major version found on this machine."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers import free_port, stop, wait_until

BINARIES = Path("/usr/lib/postgresql")


@dataclass
class PostgresServer:
    """A running server; superuser `postgres` with `password`, everybody else by scram too."""

    folder: Path
    port: int
    binaries: Path
    data: Path
    process: subprocess.Popen[bytes]
    password: str = "planted-superuser-password"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def connect(self, database: str = "postgres", user: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        password = more.pop("password", self.password)
        return psycopg.connect(
            host="127.0.0.1", port=self.port, dbname=database, user=user, password=password, autocommit=True, **more
        )

    def sql(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as superuser; the rows of the last one."""
        with self.connect(database) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def restart(self, how: int = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one (recovery at the next start)."""
        stop(self.process, how)
        self.process = _start(self.folder, self.data, self.binaries)
        _wait(self)


def as_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: as root it runs as `postgres`."""
    if os.getuid():
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def newest() -> Path:
    """The folder with initdb and postgres of the newest Debian package here."""
    found = sorted(BINARIES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("no PostgreSQL server on this machine: apt-get install postgresql (scripts/test does it)")
    return found[-1].parent


MAJORS = (13, 14, 15, 16, 17, 18)


def of_major(major: int) -> Path:
    """The folder with initdb and postgres of one major version: `scripts/test` installs them into its environment.

    As root the server runs as another user, who may not be able to look below our home: then it is a copy.
    """
    place = Path(os.environ.get("PGVILLAGE_TEST_MAJORS") or Path(sys.prefix) / "majors")
    native = place / "node_modules" / f"pg{major}" / "native"
    if not (native / "bin" / "postgres").exists():
        pytest.skip(f"PostgreSQL {major} is not in {place}: scripts/test installs it")
    if os.getuid() or all(parent.stat().st_mode & stat.S_IXOTH for parent in native.resolve().parents):
        return native / "bin"
    copy = Path(tempfile.mkdtemp(prefix="pgvillage-major-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    shutil.copytree(native, copy / "native", symlinks=True)
    return copy / "native" / "bin"


@contextmanager
def postgres_server(folder: Path, binaries: Path | None = None, **settings: str) -> Iterator[PostgresServer]:
    """A fresh cluster; `settings` go to postgresql.conf. The log and the password's file are in `folder`."""
    binaries = binaries or newest()
    folder.mkdir(parents=True, exist_ok=True)
    with _home(folder) as home, _running(folder, home / "data", binaries, settings) as server:
        yield server


@contextmanager
def standby_of(primary: PostgresServer, folder: Path) -> Iterator[PostgresServer]:
    """A streaming standby on a port of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pw").write_text(primary.password)
    with _home(folder) as home:
        data, port = home / "data", free_port()
        environment = {**os.environ, "PGPASSWORD": primary.password}
        subprocess.run(
            [primary.binaries / "pg_basebackup", "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-D",
             data, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
            check=True, capture_output=True, cwd=home, env=environment, **as_user(),
        )  # fmt: skip
        with (data / "postgresql.conf").open("a") as file:
            file.write(f"port = '{port}'\n")
        server = PostgresServer(folder, port, primary.binaries, data, _start(folder, data, primary.binaries))
        try:
            _wait(server)
            yield server
        finally:
            stop(server.process, signal.SIGINT)


@contextmanager
def _home(folder: Path) -> Iterator[Path]:
    """Where `postgres` can work. As root not below `folder`: every pytest that starts shuts root's folders again."""
    if os.getuid():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="pgvillage-postgres-") as home:
        shutil.chown(home, "postgres", "postgres")
        yield Path(home)


@contextmanager
def _running(folder: Path, data: Path, binaries: Path, settings: dict[str, str]) -> Iterator[PostgresServer]:
    for place in {folder, data.parent}:
        (place / "pw").write_text("planted-superuser-password")
    (data.parent / "pw").chmod(0o644)
    done = subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={data.parent / 'pw'}",
         "--locale=C", "-E", "UTF8", "--no-sync"],
        check=False, capture_output=True, text=True, cwd=data.parent, **as_user(),
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
    port = free_port()
    lines = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": "60",
        "log_line_prefix": "%m [%p] %q%a@%d ",
        **settings,
    }
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in lines.items())
    server = PostgresServer(folder, port, binaries, data, _start(folder, data, binaries))
    try:
        _wait(server)
        yield server
    finally:
        stop(server.process, signal.SIGINT)


def _start(folder: Path, data: Path, binaries: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [binaries / "postgres", "-D", data],
            cwd=data,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            **as_user(),
        )


def _wait(server: PostgresServer) -> None:
    def ready() -> bool:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    wait_until(ready, "PostgreSQL", server.log)
