"""A partition between the old primary and the rest, clients on both sides: nothing acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.integration.estate_builder import EstateBuilder, document
from tests.integration.routing_process import RoutingProcess, routing
from tests.servers import wait_until
from tests.servers.network import Host, lab_network, missing
from tests.servers.patroni import FAILOVER_SECONDS, PatroniCluster, PatroniNode, patroni_cluster
from tests.servers.writing_client import TABLE, writing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"no network of hosts here: {missing()}")
# A client on the wrong side must notice by itself that nobody answers.
_IMPATIENT = "connect_timeout=2 tcp_user_timeout=3000 keepalives_idle=1 keepalives_interval=1 keepalives_count=2"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatroniCluster]:
    with lab_network(3) as network:
        synchronous = {"synchronous_mode": True, "synchronous_mode_strict": True}
        with patroni_cluster(tmp_path_factory.mktemp("lab"), dynamic=synchronous, network=network) as found:
            yield found


class Primaries:
    """Asks the routing API all the time whom it takes for primaries."""

    def __init__(self, api: RoutingProcess) -> None:
        self._api, self._over = api, threading.Event()
        self.named: list[tuple[str, ...]] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            status, text = self._api.ask("/v1/primaries")
            if status == 200:
                self.named.append(tuple(json.loads(text)))


@pytest.fixture
def api(cluster: PatroniCluster, tmp_path: Path) -> Iterator[RoutingProcess]:
    hosts = [node.host for node in cluster.nodes]
    credential = {"user": "postgres", "password": {"env": "ROUTING_PASSWORD"}, "hosts": hosts, "sslmode": "disable"}
    environment = {"ROUTING_PASSWORD": cluster.password}
    estate = EstateBuilder(tmp_path / "estate", {"credentials": {"admin": credential}}, environment=environment)
    estate.documents["a"] = [document("Cluster", "lab", connection={"hosts": hosts, "credential": "admin"})]
    estate.commit()
    with routing(estate) as found:
        found.wait("/v1/primary", 200)
        yield found


def test_patroni_fences_itself(cluster: PatroniCluster, api: RoutingProcess, tmp_path: Path) -> None:
    primary = cluster.wait()
    api.wait_for_primary(primary.host)
    wire = _host_of(primary)
    # Before Patroni has chosen one, any standby confirms, and none may take over.
    chosen = "sync_standby"
    wait_until(lambda: chosen in {m["role"] for m in cluster.members().values()}, "a synchronous standby", primary.log)
    with cluster.connect(primary) as server:
        server.execute(TABLE)
    with (
        Primaries(api) as primaries,
        writing("beside", tmp_path / "beside", _dsn(cluster, [primary]), wire.inside()) as beside,
        writing("across", tmp_path / "across", _dsn(cluster, cluster.nodes)) as across,
    ):
        wait_until(lambda: min(len(beside.acknowledged), len(across.acknowledged)) > 50, "writes", primary.log)
        wire.cut()
        try:
            cut_at = max(across.acknowledged)
            wait_until(lambda: max(across.acknowledged) > cut_at + 50, "a new primary", primary.log, FAILOVER_SECONDS)
            new = cluster.wait(streaming=1)
            assert new.name != primary.name
            stuck = len(beside.acknowledged)
            wait_until(lambda: not _takes_writes(cluster, primary), "the fence", primary.log, FAILOVER_SECONDS)
            # From the cut on every commit beside it waits for a standby that it does not reach.
            assert len(beside.acknowledged) == stuck
        finally:
            wire.join()
        api.wait_for_primary(cluster.wait().host)
    leader = cluster.wait()
    assert max(map(len, primaries.named)) == 1, "the routing API named two primaries"
    assert {name for names in primaries.named for name in names} == {primary.host, leader.host}
    with cluster.connect(leader) as server:
        assert not beside.lost(server)
        assert not across.lost(server)
    print(f"\n{len(beside.acknowledged)} commits beside, {len(across.acknowledged)} across; ", end="")
    print(f"the longest wait across: {across.longest_wait:.1f} s")


def _host_of(node: PatroniNode) -> Host:
    assert node.on is not None
    return node.on


def _dsn(cluster: PatroniCluster, nodes: list[PatroniNode] | tuple[PatroniNode, ...]) -> str:
    hosts, ports = ",".join(node.address for node in nodes), ",".join(str(node.port) for node in nodes)
    login = f"user=postgres password={cluster.password} dbname=postgres"
    return f"host={hosts} port={ports} {login} target_session_attrs=read-write {_IMPATIENT}"


def _takes_writes(cluster: PatroniCluster, node: PatroniNode) -> bool:
    """Asked on its own host, where nobody else gets to."""
    program = f"import psycopg; psycopg.connect({_dsn(cluster, [node])!r}).close()"
    done = subprocess.run(_host_of(node).inside(sys.executable, "-c", program), check=False, capture_output=True)
    return done.returncode == 0
