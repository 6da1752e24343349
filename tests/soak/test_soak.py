"""300 databases as targets for as long as PGVILLAGE_SOAK says: memory and connections stay flat, the living fresh."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.conftest import new_estate
from tests.integration.daemon_process import Daemon, serving
from tests.integration.estate_builder import EstateBuilder, credential, document, free_policy, user
from tests.servers import free_port
from tests.servers.postgres import PostgresServer, postgres_server

SECONDS = float(os.environ.get("PGVILLAGE_SOAK", "300"))
TARGETS = int(os.environ.get("PGVILLAGE_SOAK_TARGETS", "300"))
SERVERS = 3
OBSERVE = 30


@pytest.mark.soak
def test_hundreds_of_targets_for_a_long_time(tmp_path: Path) -> None:
    with ExitStack() as stack:
        most = {"max_connections": str(TARGETS + 100), "listen_addresses": "0.0.0.0"}
        servers = [stack.enter_context(postgres_server(tmp_path / f"pg{n}", **most)) for n in range(SERVERS)]
        hanging = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # takes connections, says nothing
        estate = _estate(tmp_path / "estate", servers, hanging.getsockname()[1])
        daemon = stack.enter_context(serving(estate, observe=OBSERVE, fingerprint=2, poll=5))
        daemon.wait(lambda: _observed(daemon) >= TARGETS, "every living target, read", 600)
        early = _size(daemon)
        end = time.monotonic() + SECONDS
        samples = []
        while time.monotonic() < end:
            _flap(servers)
            time.sleep(min(10, SECONDS / 10))
            samples.append(_size(daemon))
            assert daemon.get("/healthz")[0] == 200
            assert _oldest(daemon) < 3 * OBSERVE
        late = _size(daemon)
        print(
            f"{daemon.looks():.0f} full looks, {daemon.metric('fingerprint_looks_total'):.0f} cheap ones;", early, late
        )
        assert late["memory"] < early["memory"] * 1.3 + 30
        assert max(sample["files"] for sample in samples) < early["files"] + 64
        assert daemon.metric("watch_connections") <= 2 * TARGETS
        assert daemon.stop(60) == 0


def _estate(folder: Path, servers: list[PostgresServer], hanging: int) -> EstateBuilder:
    """Each target is a database with a ledger of its own, on an address of its own; two more are dead and hang."""
    estate = new_estate(folder, servers[0], parallel=8, timeouts={"connect": 5, "read": 10})
    estate.documents["estate"] = [free_policy()]
    places = {f"t{n:03}": (servers[n % SERVERS], f"127.0.{1 + n // 200}.{1 + n % 200}") for n in range(TARGETS)}
    for name, (server, address) in places.items():
        server.sql(f"CREATE DATABASE {name}")
        hosts = [f"{address}:{server.port}"]
        estate.settings["credentials"][name] = {**credential(server), "database": name, "hosts": hosts}
        estate.documents[name] = [document("Cluster", name, connection={"hosts": hosts, "credential": name})]
    for name, port in (("dead", free_port()), ("hangs", hanging)):
        estate.documents[name] = [
            document("Cluster", name, connection={"hosts": [f"127.0.0.1:{port}"], "credential": "admin"})
        ]
    estate.documents["users"] = [user("app", connectionLimit=5)]
    estate.commit()
    return estate


def _flap(servers: list[PostgresServer]) -> None:
    """Drift on every server, and one database after the other loses its sessions."""
    for server in servers:
        server.sql("ALTER ROLE app CONNECTION LIMIT 9", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                   "WHERE application_name = 'pgvillage watch' ORDER BY random() LIMIT 5")  # fmt: skip


def _observed(daemon: Daemon) -> float:
    return daemon.metric("target_reachable") if daemon.looks() else 0


def _oldest(daemon: Daemon) -> float:
    """Seconds since the full look that is longest ago, of those that are ever read."""
    lines = daemon.get("/metrics")[1].splitlines()
    times = [float(line.split()[-1]) for line in lines if line.startswith("pgvillage_last_observed_timestamp_seconds{")]
    return time.time() - min(times)


def _size(daemon: Daemon) -> dict[str, float]:
    """MiB of memory, seconds of CPU, open files."""
    place = Path(f"/proc/{daemon.process.pid}")
    fields = (place / "stat").read_text().rpartition(")")[2].split()
    pages, ticks = int((place / "statm").read_text().split()[1]), int(fields[11]) + int(fields[12])
    return {"memory": pages * 4096 / (1 << 20), "cpu": ticks / 100, "files": len(list((place / "fd").iterdir()))}
