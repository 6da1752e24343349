"""An etcd in trouble, through the command line: what is said and done, and that nothing wrong is written."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import EXIT_CHANGES, EXIT_DONE, EXIT_ERROR, EXIT_PARTIAL, EstateBuilder, cluster
from tests.integration.test_etcd import Authority
from tests.servers import wait_until
from tests.servers.etcd import EtcdCluster, EtcdServer, running_cluster, running_etcd
from tests.servers.postgres import PostgresServer

KEY = "stolon/cluster/demo/clusterdata"
FIXTURE = Path(__file__).parents[1] / "fixtures" / "stolon" / "clusterdata-three-keepers-sync.json"
TARGET = ("-t", "c:stolon")
MakeEstate = Callable[..., EstateBuilder]


@pytest.fixture
def make(pg: PostgresServer, estate_of: EstateMaker) -> MakeEstate:
    """An estate whose only wish is a parameter of a stolon cluster in the etcd of these settings."""

    def made(**etcd: Any) -> EstateBuilder:
        estate = estate_of(pg, etcd={"store": {"timeout": 2, **etcd}})
        ha = {"engine": "stolon", "etcd": "store", "cluster": "demo"}
        estate.documents = {"a": [cluster("c", pg.host, ha=ha, postgres={"parameters": {"work_mem": "1MB"}})]}
        return _wish(estate, "8MB")

    return made


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with running_cluster(tmp_path_factory.mktemp("three")) as found:
        yield found


def _wish(estate: EstateBuilder, work_mem: str) -> EstateBuilder:
    estate.documents["a"][0]["spec"]["postgres"]["parameters"]["work_mem"] = work_mem
    estate.commit()
    return estate


def _put(server: EtcdServer) -> None:
    server.ctl("put", KEY, FIXTURE.read_text())


def _work_mem(server: EtcdServer) -> str | None:
    found = json.loads(server.ctl("get", KEY, "--print-value-only"))["cluster"]["spec"]["pgParameters"].get("work_mem")
    assert found is None or isinstance(found, str)
    return found


def test_a_cluster_of_three_loses_members(three: EtcdCluster, make: MakeEstate) -> None:
    """One test for one etcd: dead member, stopped leader, no quorum, and back."""
    process = three.processes[0]
    assert process is not None
    _put(EtcdServer(three.urls[0], three.folder / "m0.log", process))
    estate = make(endpoints=three.urls)
    dead = (three.leader() + 1) % 3
    three.signal(dead, signal.SIGKILL)
    assert f"member m{dead} of etcd store does not answer" in estate.plan(*TARGET).done().text
    estate.apply(*TARGET).done()

    leader = three.leader()
    three.start(dead)
    wait_until(
        lambda: three.status(dead)[1] == three.status(leader)[0] != "", "the third member", three.folder / "m0.log"
    )
    with _stopped(three, leader):
        _patiently(_wish(estate, "16MB"))
    _patiently(estate)

    rest = [at for at in range(3) if at != three.leader()]
    _wish(estate, "32MB")
    for at in rest:
        three.signal(at, signal.SIGKILL)
    ran = estate.plan(*TARGET)
    assert ran.code in (EXIT_ERROR, EXIT_PARTIAL), ran.text
    assert "etcd store" in ran.text
    refused = estate.apply(*TARGET)
    assert refused.code in (EXIT_ERROR, EXIT_PARTIAL), refused.text
    for at in rest:
        three.start(at)
    three.leader()
    assert [c["after"] for c in estate.plan(*TARGET).done().targets["c:stolon"]["changes"]] == [{"value": "32MB"}]
    _patiently(estate)


@contextmanager
def _stopped(three: EtcdCluster, at: int) -> Iterator[None]:
    three.signal(at, signal.SIGSTOP)
    try:
        yield
    finally:
        three.signal(at, signal.SIGCONT)


def _patiently(estate: EstateBuilder) -> None:
    """While etcd elects, an apply may say that it failed; the next one goes on from what is there."""

    def applied() -> bool:
        ran = estate.apply(*TARGET)
        assert ran.code in (EXIT_DONE, EXIT_ERROR, EXIT_PARTIAL), ran.text
        assert "Traceback" not in ran.text
        return ran.code == EXIT_DONE

    wait_until(applied, "an apply", seconds=60)
    assert not estate.plan("--detailed-exitcode", *TARGET).done().changes


def test_a_full_etcd(make: MakeEstate, tmp_path: Path) -> None:
    with running_etcd(tmp_path / "etcd", arguments=["--quota-backend-bytes=200000"]) as server:
        _put(server)
        estate = make(endpoints=[server.url])
        with pytest.raises(subprocess.CalledProcessError):
            for number in range(50):
                server.ctl("put", f"big/{number}", "x" * 50_000)
        plan = estate.plan("--detailed-exitcode", *TARGET).done(EXIT_CHANGES)
        assert "NOSPACE" in plan.text
        ran = estate.apply(*TARGET).done(EXIT_ERROR)
        assert "compact and defragment" in ran.text
        assert _work_mem(server) != "8MB"
        assert server.ctl("get", "pgvillage/", "--prefix", "--keys-only").strip() == ""


def test_an_account_that_may_only_read(make: MakeEstate, tmp_path: Path) -> None:
    with running_etcd(tmp_path / "etcd") as server:
        _put(server)
        server.enable_auth("reader", "planted-etcd-password", "read", "--prefix=true", "")
        (tmp_path / "password").write_text("planted-etcd-password")
        login = {"user": "reader", "password": {"file": str(tmp_path / "password")}}
        estate = make(endpoints=[server.url], **login)
        assert [c["after"] for c in estate.plan(*TARGET).done().targets["c:stolon"]["changes"]] == [{"value": "8MB"}]
        ran = estate.apply(*TARGET).done(EXIT_ERROR)
        assert "permission denied" in ran.text
        (tmp_path / "password").write_text("planted-wrong-password")
        wrong = estate.plan(*TARGET)
        assert wrong.code in (EXIT_ERROR, EXIT_PARTIAL), wrong.text
        assert "check user and password in the settings" in wrong.text
        assert "planted" not in ran.text + wrong.text
        assert estate.plan("-t", "c").done(EXIT_PARTIAL).targets["c"]["status"] == "planned"


def test_a_certificate_that_expired(make: MakeEstate, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    expired = authority.server("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    with running_etcd(tmp_path / "etcd", expired) as server:
        estate = make(endpoints=[server.url], tls={"ca": str(authority.folder / "ca.pem")})
        ran = estate.plan(*TARGET)
        assert ran.code in (EXIT_ERROR, EXIT_PARTIAL), ran.text
        assert "expired" in ran.text
