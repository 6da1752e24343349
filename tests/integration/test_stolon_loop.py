"""A stolon cluster in a real etcd beside PostgreSQL: the loop, drift, two writers, and an etcd that is down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import (
    EXIT_CHANGES,
    EXIT_PARTIAL,
    EstateBuilder,
    cluster,
    finish,
    free_policy,
    group,
)
from tests.integration.follow_estate import belonging_to
from tests.servers import free_port
from tests.servers.etcd import EtcdServer, running_etcd
from tests.servers.postgres import PostgresServer

KEY = "stolon/cluster/demo/clusterdata"
FIXTURE = Path(__file__).parents[1] / "fixtures" / "stolon" / "clusterdata-three-keepers-sync.json"


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture
def estate(pg: PostgresServer, etcd: EtcdServer, estate_of: EstateMaker) -> EstateBuilder:
    etcd.ctl("del", "pgvillage/", "--prefix")
    write(etcd, belonging_to(json.loads(FIXTURE.read_text()), pg))
    found = estate_of(pg, etcd={"store": {"endpoints": [etcd.url], "timeout": 2}})
    ha = {
        "engine": "stolon", "etcd": "store", "cluster": "demo", "timings": "fast",
        "synchronous": {"min": 1, "max": 2},
    }  # fmt: skip
    parameters = {"work_mem": "8MB", "max_connections": 150, "log_lock_waits": True}
    found.documents = {
        "a": [free_policy(), cluster("c", pg.host, ha=ha, postgres={"parameters": parameters}), group("o")]
    }
    found.commit()
    return found


def read(etcd: EtcdServer) -> dict[str, Any]:
    found = json.loads(etcd.ctl("get", KEY, "--print-value-only"))
    assert isinstance(found, dict)
    return found


def write(etcd: EtcdServer, document: dict[str, Any]) -> None:
    etcd.ctl("put", KEY, json.dumps(document))


def spec_of(etcd: EtcdServer) -> dict[str, Any]:
    spec = read(etcd)["cluster"]["spec"]
    assert isinstance(spec, dict)
    return spec


def test_the_loop_changes_the_spec_and_nothing_else(estate: EstateBuilder, etcd: EtcdServer) -> None:
    before = read(etcd)
    plan = estate.plan("--detailed-exitcode").done(EXIT_CHANGES)
    assert plan.targets["c:stolon"]["changes"]
    assert not [a for a in plan.changes if "/parameter/" in a and "stolon" not in a], "no ALTER SYSTEM beside an engine"
    estate.apply().done()
    estate.settled()
    after = read(etcd)
    assert {**after, "cluster": {**after["cluster"], "spec": None}} == {
        **before, "cluster": {**before["cluster"], "spec": None},
    }  # fmt: skip
    spec = after["cluster"]["spec"]
    assert spec["pgParameters"]["work_mem"] == "8MB"
    assert spec["failInterval"] == "5s"
    assert {k: v for k, v in before["cluster"]["spec"].items() if k not in spec} == {}


DRIFTS = {
    "parameter changed": ({"pgParameters": {"work_mem": "1MB"}}, "parameter.work_mem", "1MB", "8MB"),
    "parameter removed": ({"pgParameters": {"work_mem": None}}, "parameter.work_mem", None, "8MB"),
    "timing changed": ({"failInterval": "33s"}, "field.failInterval", "33s", "5s"),
    "synchronous off": ({"synchronousReplication": False}, "field.synchronousReplication", False, True),
    "standbys changed": ({"maxSynchronousStandbys": 1}, "field.maxSynchronousStandbys", 1, 2),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_drift(estate: EstateBuilder, etcd: EtcdServer, name: str) -> None:
    patch, address, before, after = DRIFTS[name]
    estate.apply().done()
    document = read(etcd)
    spec = document["cluster"]["spec"]
    for key, value in patch.items():
        if isinstance(value, dict):
            merged = {**spec[key], **value}
            spec[key] = {k: v for k, v in merged.items() if v is not None}
        else:
            spec[key] = value
    write(etcd, document)
    found = estate.run("drift", "-o", "json").done(EXIT_CHANGES)
    (change,) = found.targets["c:stolon"]["changes"]
    assert change["address"].endswith(address), change
    assert change["origin"] == "drift"
    assert (change["before"] or {}).get("value") == before
    assert change["after"]["value"] == after
    estate.apply().done()
    estate.settled()


def test_what_the_manifest_does_not_name_is_left_alone(estate: EstateBuilder, etcd: EtcdServer) -> None:
    estate.apply().done()
    document = read(etcd)
    document["cluster"]["spec"]["pgParameters"]["shared_buffers"] = "1GB"
    document["cluster"]["spec"]["maxStandbys"] = 7
    write(etcd, document)
    estate.settled()
    estate.apply().done()
    assert spec_of(etcd)["maxStandbys"] == 7


def test_an_etcd_that_is_down_does_not_hold_up_postgresql(estate: EstateBuilder, pg: PostgresServer) -> None:
    estate.settings["etcd"]["store"]["endpoints"] = [f"http://127.0.0.1:{free_port()}"]
    estate.commit()
    plan = estate.plan().done(EXIT_PARTIAL)
    assert plan.targets["c:stolon"]["status"] == "unreachable"
    assert plan.targets["c"]["status"] == "planned"
    ran = estate.apply().done(EXIT_PARTIAL)
    assert "store" in ran.text
    assert pg.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'o'") == [(1,)]


def test_a_postgresql_that_is_down_does_not_hold_up_etcd(estate: EstateBuilder, etcd: EtcdServer) -> None:
    estate.documents["a"][1]["spec"]["connection"]["hosts"] = [f"127.0.0.1:{free_port()}"]
    estate.commit()
    estate.apply().done(EXIT_PARTIAL)
    assert spec_of(etcd)["pgParameters"]["work_mem"] == "8MB"


def test_no_such_cluster_in_etcd(estate: EstateBuilder, etcd: EtcdServer) -> None:
    estate.documents["a"][1]["spec"]["ha"]["cluster"] = "nowhere"
    estate.commit()
    assert "no stolon cluster 'nowhere'" in estate.plan("-t", "c:stolon").done(1).text
    assert "nowhere" not in etcd.ctl("get", "", "--prefix", "--keys-only")


def test_two_at_once(estate: EstateBuilder) -> None:
    runs = [finish(each) for each in [estate.start("apply", "--auto") for _ in range(3)]]
    for ran in runs:
        assert "Traceback" not in ran.text
        assert ran.code in (0, 7), ran.text
    assert any(ran.code == 0 for ran in runs)
    estate.apply().done()
    estate.settled()
