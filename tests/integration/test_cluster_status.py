"""A cluster's nodes as `get cluster` shows them: a plain pair, real Patroni, and the etcd behind it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pgvillage.report.cluster_answer import cluster_answer
from pgvillage.usecases.nodes import ask_cluster
from pgvillage.wiring import real_world
from tests.integration.conftest import new_estate
from tests.integration.estate_builder import EstateBuilder, cluster, document, free_policy
from tests.servers import wait_until
from tests.servers.etcd import running_cluster
from tests.servers.patroni import PatroniCluster, PatroniNode, patroni_cluster
from tests.servers.postgres import PostgresServer, postgres_server, standby_of

SECONDS = 90
Answer = dict[str, Any]


def seen(estate: EstateBuilder) -> Answer:
    """What `get cluster c --now -o json` prints, without the start of a process for every look."""
    found = asyncio.run(ask_cluster(real_world(estate.settings_file), "c"))
    return cluster_answer(found).model_dump(mode="json")


def codes(answer: Answer) -> set[tuple[str, str, str]]:
    return {(p["severity"], p["code"], p["node"]) for p in answer["problems"]}


def until(estate: EstateBuilder, good: Callable[[Answer], bool], what: str, log: Path) -> Answer:
    found: Answer = {}

    def look() -> bool:
        found.clear()
        found.update(seen(estate))
        return good(found)

    wait_until(look, what, log, SECONDS)
    return found


def node(answer: Answer, name: str) -> Answer:
    found: Answer = next(each for each in answer["nodes"] if each["name"] == name)
    return found


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def test_a_plain_pair_and_its_split(tmp_path: Path) -> None:
    with postgres_server(tmp_path / "primary") as primary:
        with (primary.data / "pg_hba.conf").open("a") as file:
            file.write("host replication postgres 127.0.0.1/32 scram-sha-256\n")
        primary.sql("SELECT pg_reload_conf()")
        with standby_of(primary, tmp_path / "standby") as standby:
            estate = new_estate(tmp_path / "e", primary)
            _declare(estate, primary, standby)
            answer = until(estate, lambda found: node(found, standby.host)["streaming"], "streaming", standby.log)
            assert (answer["problems"], answer["primary"], answer["engine"]) == ([], primary.host, "none")
            assert [each["role"] for each in answer["nodes"]] == ["primary", "standby"]
            assert [each["timeline"] for each in answer["nodes"]] == [1, 1]
            assert node(answer, standby.host)["sync"] == "async"
            assert estate.run("get", "cluster", "c", "--now", "-o", "json").done().document["name"] == "c"
            text = estate.run("get", "cluster", "c").done().text
            assert "no problems" in text
            assert primary.host in text
            standby.sql("SELECT pg_promote()")
            answer = until(estate, lambda found: bool(found["problems"]), "the split", standby.log)
            assert codes(answer) == {("error", "two-primaries", "")}
            assert "timeline 2" in answer["problems"][0]["text"]
            assert (answer["primary"], answer["healthy"]) == ("", False)
            assert estate.run("plan").text.count("split brain") == 1
            assert "two-primaries" in estate.run("describe", "c").done().text


def _declare(estate: EstateBuilder, *servers: PostgresServer) -> None:
    manifest = cluster("c", servers[0].host)
    manifest["spec"]["connection"]["hosts"] = [server.host for server in servers]
    estate.documents = {"a": [free_policy(), manifest]}
    estate.commit()


@pytest.fixture(scope="module")
def patroni(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatroniCluster]:
    with patroni_cluster(tmp_path_factory.mktemp("patroni")) as running:
        yield running


def estate_of_patroni(folder: Path, patroni: PatroniCluster, *endpoints: str) -> EstateBuilder:
    """No host is in the manifest: all of them come from etcd."""
    (folder / "pw").write_text(patroni.password)
    admin = {
        "user": "postgres",
        "password": {"file": str(folder / "pw")},
        "hosts": ["127.0.0.1:*"],
        "sslmode": "disable",
    }
    etcd = {"store": {"endpoints": list(endpoints) or [patroni.etcd.url], "timeout": 2}}
    estate = EstateBuilder(folder / "e", {"credentials": {"admin": admin}, "etcd": etcd})
    ha = {"engine": "patroni", "etcd": "store", "cluster": patroni.scope}
    manifest = document("Cluster", "c", connection={"credential": "admin"}, ha=ha)
    estate.documents = {"a": [free_policy(), manifest]}
    estate.commit()
    return estate


def test_patroni_from_health_to_illness_and_back(patroni: PatroniCluster, tmp_path: Path) -> None:
    estate = estate_of_patroni(tmp_path, patroni)
    leader = patroni.wait()
    log = leader.log
    answer = until(estate, lambda found: not found["problems"], "a healthy cluster", log)
    assert (answer["primary"], answer["leader"], len(answer["nodes"])) == (leader.name, leader.name, 3)
    assert {(each["role"], each["leased"], each["answers"]) for each in answer["nodes"]} == {
        ("primary", True, True), ("standby", True, True),
    }  # fmt: skip
    assert answer["etcd"]["quorum"] is True
    assert answer["etcd"]["leader"] == "test"
    _files_and_restarts(estate, patroni, leader)
    _slot(estate, patroni, leader)
    _standby_hangs(estate, patroni)
    _primary_hangs(estate, patroni)
    _standby_dies(estate, patroni)


def _files_and_restarts(estate: EstateBuilder, patroni: PatroniCluster, leader: PatroniNode) -> None:
    patroni.configure(postgresql={"parameters": {"max_connections": 80}})
    answer = until(estate, lambda found: len(codes(found)) >= 3, "three restarts to come", leader.log)
    assert {(severity, code) for severity, code, _ in codes(answer)} == {("warning", "pending-restart")}
    assert "max_connections" in node(answer, leader.name)["pending_restart"]
    patroni.configure(postgresql={"parameters": {"max_connections": None}})
    until(estate, lambda found: not found["problems"], "no restart to come", leader.log)
    auto = leader.data / "postgresql.auto.conf"
    before = auto.read_text()
    auto.write_text(f"{before}no_such_parameter = 1\n")
    answer = until(estate, lambda found: bool(found["problems"]), "the broken file", leader.log)
    assert codes(answer) == {("warning", "file-error", leader.name)}
    assert "no_such_parameter" in answer["problems"][0]["text"]
    auto.write_text(before)


def _slot(estate: EstateBuilder, patroni: PatroniCluster, leader: PatroniNode) -> None:
    patroni.configure(slots={"far": {"type": "physical"}})
    answer = until(estate, lambda found: any(s["name"] == "far" for s in found["slots"]), "the slot", leader.log)
    assert answer["problems"] == [], "Patroni was told to keep it: no standby has gone"
    patroni.configure(slots=None)
    until(estate, lambda found: not any(s["name"] == "far" for s in found["slots"]), "no slot", leader.log)


def _standby_hangs(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    standby = patroni.replicas()[0]
    postmaster = standby.postmaster()
    assert postmaster is not None
    with stopped(postmaster):
        answer = seen(estate)
        assert (node(answer, standby.name)["answers"], len(answer["nodes"])) == (False, 3)
        assert any(code == "no-answer" and name == standby.name for _, code, name in codes(answer))
        assert answer["primary"]


def _primary_hangs(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    leader = patroni.wait()
    postmaster = leader.postmaster()
    assert postmaster is not None
    with stopped(postmaster):
        answer = seen(estate)
        assert sum(each["answers"] for each in answer["nodes"]) == 2
        assert {("error", "no-answer", leader.name), ("error", "no-primary", "")} <= codes(answer)
    patroni.wait()


def _standby_dies(estate: EstateBuilder, patroni: PatroniCluster) -> None:
    standby = patroni.replicas()[0]
    patroni.kill(standby)
    answer = seen(estate)
    assert node(answer, standby.name)["answers"] is False
    assert ("warning", "no-answer", standby.name) in codes(answer) or ("error", "no-answer", standby.name) in codes(
        answer
    )
    manifest = estate.documents["a"][1]
    manifest["spec"]["connection"]["hosts"] = [each.host for each in patroni.nodes]
    estate.commit()
    answer = until(
        estate,
        lambda found: standby.name not in [n["name"] for n in found["nodes"]],
        "the end of its lease",
        standby.log,
    )
    assert ("error", "no-answer", standby.host) in codes(answer)
    patroni.start(standby)
    patroni.wait()
    until(estate, lambda found: not found["problems"], "all is well again", standby.log)


def test_an_ill_etcd_hides_no_node(patroni: PatroniCluster, tmp_path: Path) -> None:
    patroni.wait()
    estate = estate_of_patroni(tmp_path, patroni)
    manifest = estate.documents["a"][1]
    manifest["spec"]["connection"]["hosts"] = [each.host for each in patroni.nodes]
    with running_cluster(tmp_path / "etcd") as etcd:
        estate.settings["etcd"]["store"]["endpoints"] = etcd.urls
        estate.commit()
        lease = _ctl(etcd.urls[0], "lease", "grant", "3600").split()[1]
        for each in json.loads(patroni.etcd.ctl("get", "/service/", "--prefix", "-w", "json"))["kvs"]:
            key, value = (base64.b64decode(each[what]).decode() for what in ("key", "value"))
            _ctl(etcd.urls[0], "put", f"--lease={lease if each.get('lease') else 0}", "--", key, value)
        answer = until(estate, lambda found: not found["problems"], "a copy of the keys", patroni.nodes[0].log)
        assert len(answer["etcd"]["members"]) == 3
        follower = next(at for at in range(3) if f"m{at}" != answer["etcd"]["leader"])
        etcd.signal(follower, signal.SIGKILL)
        answer = until(estate, lambda found: bool(found["problems"]), "a dead member", patroni.nodes[0].log)
        assert codes(answer) == {("warning", "etcd-no-answer", "")}
        another = next(at for at in range(3) if at != follower)
        etcd.signal(another, signal.SIGKILL)
        answer = until(estate, lambda found: not found["etcd"]["quorum"], "no quorum", patroni.nodes[0].log)
        assert {("error", "etcd-quorum", ""), ("error", "engine-unread", "")} <= codes(answer)
        assert all(each["answers"] for each in answer["nodes"])
        assert "etcd" in estate.plan().text


def _ctl(url: str, *arguments: str) -> str:
    command = ["etcdctl", f"--endpoints={url}", *arguments]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "ETCDCTL_API": "3"})
    return ran.stdout
