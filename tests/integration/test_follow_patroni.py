"""Three Patroni nodes and manifests that name no host: found by etcd, verified, followed through failovers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.daemon_process import serving
from tests.integration.estate_builder import (
    EXIT_CHANGES,
    EXIT_PARTIAL,
    Document,
    EstateBuilder,
    Ran,
    document,
    finish,
    free_policy,
    group,
)
from tests.integration.follow_estate import Listener, unheard
from tests.servers import free_port, wait_until
from tests.servers.patroni import PatroniCluster, PatroniNode, patroni_cluster

DATABASES = 40
_COUNT = "SELECT count(*) FROM pgvillage.ledger WHERE address LIKE 'database/%%' AND address LIKE %s"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatroniCluster]:
    with patroni_cluster(tmp_path_factory.mktemp("follow"), dynamic={"maximum_lag_on_failover": 1 << 30}) as found:
        yield found


class Estate(EstateBuilder):
    """Its only cluster names an engine and no host; the credential may go to the three nodes and nowhere else."""

    lab: PatroniCluster

    def write(self, *documents: Document, scope: str = "lab", hosts: tuple[str, ...] = (), **spec: Any) -> None:
        connection = {"credential": "admin", **({"hosts": list(hosts)} if hosts else {})}
        ha = {"engine": "patroni", "etcd": "store", "cluster": scope}
        found = document("Cluster", "c", {"env": "test"}, connection=connection, ha=ha, **spec)
        self.documents = {"a": [free_policy(), found, *documents]}
        self.commit()

    def databases(self, prefix: str) -> list[Document]:
        """Many batches: no CREATE DATABASE shares a transaction with anything."""
        return [{"name": f"{prefix}{n:02}", "schemas": [{"name": "s"}]} for n in range(DATABASES)]

    def whole(self, prefix: str, leader: PatroniNode) -> None:
        """Live is what the manifests say, nothing is there twice, and the next plan is empty."""
        wanted = {each["name"] for each in self.databases(prefix)}
        with self.lab.connect(leader) as connection:
            found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{prefix}%"])
            assert {name for (name,) in found.fetchall()} == wanted
            assert connection.execute(_COUNT, [f"%/{prefix}%"]).fetchone() == (DATABASES,)
        self.settled()


@pytest.fixture
def estate(lab: PatroniCluster, tmp_path: Path) -> Estate:
    with lab.connect(lab.wait(streaming=1, seconds=120)) as connection:
        connection.execute("DROP SCHEMA IF EXISTS pgvillage CASCADE")  # another estate comes
    password = tmp_path / "pw"
    password.write_text(lab.password)
    hosts = [node.host for node in lab.nodes]
    admin = {"user": "postgres", "password": {"file": str(password)}, "hosts": hosts, "sslmode": "disable"}
    settings = {
        "credentials": {"admin": admin},
        "etcd": {"store": {"endpoints": [lab.etcd.url], "timeout": 5}},
        "timeouts": {"failover": 100},
    }
    found = Estate(tmp_path / "e", settings)
    found.lab = lab
    return found


def struck(estate: Estate, prefix: str, strike: Callable[[PatroniNode], object], *arguments: str) -> Ran:
    """The real command line, and the blow as soon as some databases are in the ledger and others are not."""
    leader = estate.lab.wait(streaming=0)
    process = estate.start("apply", "-o", "json", *arguments)
    try:
        wait_until(
            lambda: process.poll() is not None or _rows(estate.lab, leader, prefix) >= 5, "five databases", seconds=60
        )
        assert process.poll() is None, finish(process).text
        strike(leader)
        return finish(process, 200)
    finally:
        process.kill()


def _rows(lab: PatroniCluster, leader: PatroniNode, prefix: str) -> int:
    with suppress(psycopg.errors.UndefinedTable), lab.connect(leader) as connection:
        row = connection.execute(_COUNT, [f"%/{prefix}%"]).fetchone()
        return int(row[0]) if row else 0
    return 0


def notes(ran: Ran) -> str:
    return "\n".join(of_postgres(ran)["notes"])


def of_postgres(ran: Ran) -> dict[str, Any]:
    return next(target for target in ran.document["targets"] if target["address"] == "c")


def test_a_cluster_without_hosts(estate: Estate, lab: PatroniCluster) -> None:
    estate.write(group("readers"))
    estate.plan("--detailed-exitcode").done(EXIT_CHANGES)
    estate.apply().done()
    estate.settled()
    assert lab.wait().host.split(":")[1] in estate.run("doctor").text or estate.run("doctor").code == 0
    ports = ",".join(str(node.port) for node in lab.nodes)
    assert f"port={ports} " in estate.run("dsn", "c").done().out
    assert "no person" not in estate.run("who-can", "connect", "to", "database", "postgres").text


def test_kill_9_of_the_primary_in_mid_apply(estate: Estate, lab: PatroniCluster) -> None:
    estate.write(databases=estate.databases("k"))
    ran = struck(estate, "k", lab.kill, "--auto").done()
    target = of_postgres(ran)
    assert target["outcome"] == "done"
    done = [each["address"] for each in target["done"]]
    assert len(done) == len(set(done))
    assert "planned again on the primary that is there now (1 of at most 3 times)" in notes(ran)
    estate.whole("k", lab.wait(streaming=1))
    for node in lab.nodes:
        if node.process is not None and node.process.poll() is not None:
            lab.start(node)


def test_a_switchover_in_mid_apply(estate: Estate, lab: PatroniCluster) -> None:
    estate.write(databases=estate.databases("w"))
    ran = struck(estate, "w", lambda _: lab.switchover(), "--auto").done()
    assert "planned again on the primary that is there now" in notes(ran)
    estate.whole("w", lab.wait(streaming=1))


def test_a_saved_plan_is_not_planned_again(estate: Estate, lab: PatroniCluster, tmp_path: Path) -> None:
    estate.write(databases=estate.databases("s"))
    saved = tmp_path / "plan.json"
    estate.run("plan", "--out", str(saved)).done()
    ran = struck(estate, "s", lambda _: lab.switchover(), str(saved))
    assert ran.code in (1, EXIT_PARTIAL), ran.text
    target = of_postgres(ran)
    assert "a saved plan was made for what was there and is not planned again" in target["error"]
    leader = lab.wait(streaming=1)
    told = {each["address"].rsplit("/", 1)[1] for each in target["done"] if "/database/" in each["address"]}
    with lab.connect(leader) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 's%'").fetchall()
    assert told <= {name for (name,) in found}
    estate.apply().done()
    estate.whole("s", leader)


def test_the_daemon_through_a_switchover(estate: Estate, lab: PatroniCluster) -> None:
    estate.write(databases=estate.databases("d"))
    leader = lab.wait(streaming=1)
    with serving(estate) as daemon:
        wait_until(lambda: _rows(lab, leader, "d") >= 5, "five databases in the ledger", seconds=60)
        lab.switchover()
        new = lab.wait(streaming=1)
        daemon.wait(lambda: _rows(lab, new, "d") == DATABASES, "all databases on the new primary")
        daemon.wait(lambda: daemon.said("applied"), "an apply that came to its end")
        assert not daemon.said("apply failed"), daemon.said("apply failed")
        assert daemon.stop() == 0
    estate.whole("d", lab.wait(streaming=1))


def test_a_host_that_the_settings_do_not_know_gets_no_password(estate: Estate, lab: PatroniCluster) -> None:
    with Listener() as stranger:
        tell(lab, "evil", "x", {"x": stranger.host})
        estate.write(group("readers"), scope="evil")
        ran = estate.run("plan")
        assert f"may not be sent to {stranger.host}" in ran.text
        assert f"add '{stranger.host}' to credentials.admin.hosts" in " ".join(ran.text.split())
        assert unheard(stranger)


@pytest.mark.parametrize(
    "members", [{"x": "nowhere at all"}, {f"n{n}": f"127.0.0.1:{n + 1}" for n in range(70)}], ids=["no address", "70"]
)
def test_what_is_no_cluster_is_refused(estate: Estate, lab: PatroniCluster, members: dict[str, str]) -> None:
    tell(lab, "odd", next(iter(members)), members)
    estate.write(group("readers"), scope="odd")
    ran = estate.run("plan")
    assert ran.code in (1, EXIT_PARTIAL)
    assert "names no node in etcd yet" in ran.text or "it names 70" in ran.text, ran.text


def test_a_wrong_leader_is_refused_by_whatever_way(estate: Estate, lab: PatroniCluster) -> None:
    leader = lab.wait()
    other = next(node for node in lab.nodes if node is not leader)
    tell(lab, "lie", other.name, {node.name: node.host for node in lab.nodes}, system(lab, leader))
    for hosts in ((), (leader.host,), (leader.host.replace("127.0.0.1", "localhost"),)):
        admin = estate.settings["credentials"]["admin"]
        admin["hosts"] = [*(node.host for node in lab.nodes), *hosts]
        estate.write(group("written_by_mistake"), scope="lie", hosts=hosts)
        ran = estate.apply()
        assert ran.code in (1, EXIT_PARTIAL)
        words = " ".join(ran.text.split())
        assert f"patroni says in etcd that {other.name} leads, and the server that takes writes is" in words
    tell(lab, "lie", leader.name, {node.name: node.host for node in lab.nodes}, "7000000000000000000")
    assert "this is another cluster" in estate.apply().text
    with lab.connect(leader) as connection:
        found = connection.execute("SELECT FROM pg_roles WHERE rolname = 'written_by_mistake'").fetchall()
    assert found == []


def test_an_etcd_that_does_not_answer(estate: Estate, lab: PatroniCluster) -> None:
    estate.settings["etcd"]["store"] = {"endpoints": [f"http://127.0.0.1:{free_port()}"], "timeout": 1}
    estate.write(group("readers"))
    ran = estate.run("plan")
    assert ran.code == 1
    assert "nobody says where it is: etcd store: no endpoint answered" in ran.text
    assert "no endpoint answered" in estate.run("dsn", "c").text
    estate.write(group("readers"), hosts=tuple(node.host for node in lab.nodes))
    ran = estate.apply()
    assert "who leads was not asked, and the manifest's hosts were taken as they are" in " ".join(ran.text.split())


def tell(lab: PatroniCluster, scope: str, leader: str, members: dict[str, str], system_identifier: str = "") -> None:
    """What Patroni would have written."""
    lab.etcd.ctl("del", f"/service/{scope}/", "--prefix")
    lab.etcd.ctl("put", f"/service/{scope}/leader", leader)
    for name, host in members.items():
        value = {"conn_url": f"postgres://{host}/postgres", "role": "replica", "state": "running", "timeline": 1}
        lab.etcd.ctl("put", f"/service/{scope}/members/{name}", json.dumps(value))
    if system_identifier:
        lab.etcd.ctl("put", f"/service/{scope}/initialize", system_identifier)


def system(lab: PatroniCluster, node: PatroniNode) -> str:
    with lab.connect(node) as connection:
        row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    assert row is not None
    return str(row[0])
