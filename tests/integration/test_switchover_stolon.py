"""Switchover and failover of a real stolon cluster by the real command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.estate_builder import EXIT_BLOCKED, EstateBuilder, document
from tests.servers import wait_until
from tests.servers.stolon import FAILOVER_SECONDS, StolonCluster, missing_binaries, stolon_cluster
from tests.servers.writing_client import TABLE, writing

pytestmark = [
    pytest.mark.registry_free,
    pytest.mark.skipif(bool(missing_binaries()), reason=f"no {', '.join(missing_binaries())} on PATH"),
]


@pytest.fixture(scope="module")
def stolon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StolonCluster]:
    with stolon_cluster(tmp_path_factory.mktemp("stolon")) as cluster:
        with cluster.connect(cluster.wait()) as connection:
            connection.execute(TABLE.encode())
        yield cluster


@pytest.fixture
def estate(stolon: StolonCluster, tmp_path: Path) -> EstateBuilder:
    password = tmp_path / "password"
    password.write_text(stolon.password)
    login = {"user": "postgres", "password": {"file": str(password)}, "hosts": ["127.0.0.1:*"], "sslmode": "disable"}
    settings = {"credentials": {"admin": login}, "etcd": {"store": {"endpoints": [stolon.etcd.url]}}}
    found = EstateBuilder(tmp_path / "a", settings)
    ha = {"engine": "stolon", "etcd": "store", "cluster": stolon.name}
    connect = {"proxy": [f"127.0.0.1:{stolon.proxy}"]}
    found.documents = {"a": [document("Cluster", "orders", connection={"credential": "admin"}, ha=ha, connect=connect)]}
    found.commit()
    return found


def synchronous(stolon: StolonCluster) -> set[str]:
    """The keepers that are synchronous in force."""
    data = stolon.clusterdata()
    master = data["dbs"][data["cluster"]["status"]["master"]]
    if not master["spec"].get("synchronousReplication"):
        return set()
    found = master["status"].get("synchronousStandbys") or ()
    return {data["dbs"][uid]["spec"]["keeperUID"] for uid in found if uid in data["dbs"]}


def test_without_synchronous_replication_nothing_is_promised(estate: EstateBuilder, stolon: StolonCluster) -> None:
    leader = stolon.wait()
    ran = estate.run("switchover", "orders", "--yes").done(EXIT_BLOCKED)
    assert "ha.synchronous" in ran.err
    assert stolon.wait() is leader


def test_a_switchover_to_the_synchronous_standby(estate: EstateBuilder, stolon: StolonCluster, tmp_path: Path) -> None:
    leader = stolon.wait()
    stolon.update(synchronousReplication=True, minSynchronousStandbys=1, maxSynchronousStandbys=1)
    log = stolon.home / "sentinel1.log"
    wait_until(lambda: len(synchronous(stolon)) == 1, "a synchronous standby", log, FAILOVER_SECONDS)
    (to,) = synchronous(stolon)
    other = next(node.name for node in stolon.nodes if node.name not in (to, leader.name))
    assert "not synchronous" in estate.run("switchover", "orders", "--yes", "--to", other).done(EXIT_BLOCKED).err
    through = f"host=127.0.0.1 port={stolon.proxy} user=postgres password={stolon.password} dbname=postgres"
    with writing("app", tmp_path / "written", f"{through} connect_timeout=2") as client:
        wait_until(lambda: len(client.acknowledged) > 0, "a first write", log)
        done = estate.run("switchover", "orders", "--yes", "--to", to, "-o", "json").done().document
        before = len(client.acknowledged)
        wait_until(lambda: len(client.acknowledged) > before, "a last write", log)
    assert (done["from"], done["to"], done["missing"]) == (leader.name, to, [])
    assert stolon.wait() is stolon.node(to)
    with stolon.connect(stolon.node(to)) as connection:
        assert not client.lost(connection)
    outages = {outage["way"]: outage for outage in done["outages"]}
    assert set(outages) == {"to all nodes", f"through the proxy at 127.0.0.1:{stolon.proxy}"}
    for outage in outages.values():
        assert outage["problem"] is None
        assert 0 < outage["seconds"] < FAILOVER_SECONDS
