"""A real PostgreSQL of its own for tests: any major version found on this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.servers import free_port, stop, wait_until

BINARIES = Path("/usr/lib/postgresql")


@dataclass
class PostgresServer:
    """A running server; superuser `postgres` with `password`, everybody else by scram too."""

    folder: Path
    port: int
    binaries: Path
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

    def restart(self) -> None:
        stop(self.process, signal.SIGINT)
        self.process = _start(self.folder, self.binaries)
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


@contextmanager
def postgres_server(folder: Path, binaries: Path | None = None, **settings: str) -> Iterator[PostgresServer]:
    """A fresh cluster in `folder`; `settings` go to postgresql.conf."""
    binaries = binaries or newest()
    data = folder / "data"
    data.mkdir(parents=True)
    if not os.getuid():
        shutil.chown(data, "postgres", "postgres")
        shutil.chown(folder, "postgres", "postgres")
        for parent in [folder, *folder.parents]:
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    secret = folder / "pw"
    secret.write_text("planted-superuser-password")
    secret.chmod(0o644)
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}", "--locale=C",
         "-E", "UTF8", "--no-sync"],
        check=True, capture_output=True, **as_user(),
    )  # fmt: skip
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
    server = PostgresServer(folder, port, binaries, _start(folder, binaries))
    try:
        _wait(server)
        yield server
    finally:
        stop(server.process, signal.SIGINT)


def _start(folder: Path, binaries: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [binaries / "postgres", "-D", folder / "data"],
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
