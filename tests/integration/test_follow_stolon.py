"""Stolon's state in a real etcd over two real servers that both take writes: the old one is not believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import new_estate
from tests.integration.estate_builder import EXIT_PARTIAL, EstateBuilder, document, finish, free_policy, group
from tests.integration.follow_estate import belonging_to
from tests.servers import wait_until
from tests.servers.etcd import EtcdServer, running_etcd
from tests.servers.pg_proxy import pg_proxy
from tests.servers.postgres import PostgresServer, postgres_server, standby_of

KEY = "stolon/cluster/demo/clusterdata"
FIXTURE = Path(__file__).parents[1] / "fixtures" / "stolon" / "clusterdata-three-keepers-sync.json"
DATABASES = 30

Pair = tuple[PostgresServer, PostgresServer, EtcdServer]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("stolon-pair")
    with running_etcd(folder / "etcd") as etcd, postgres_server(folder / "one") as one:
        with (one.data / "pg_hba.conf").open("a") as file:
            file.write("host replication postgres 127.0.0.1/32 scram-sha-256\n")
        one.sql("SELECT pg_reload_conf()")
        with standby_of(one, folder / "two") as two:
            yield one, two, etcd


def lead(pair: Pair, leader: int, timeline: int = 1) -> None:
    """Two keepers, `one` and `two`; the sentinel has chosen this one, whose timeline it knows."""
    found = belonging_to(json.loads(FIXTURE.read_text()), pair[0])
    for at, (uid, db) in enumerate(list(found["dbs"].items())):
        if at > 1:
            del found["dbs"][uid]
            continue
        role = "master" if at == leader else "standby"
        db["spec"] |= {"keeperUID": ("one", "two")[at], "role": role}
        db["status"] |= {"port": str(pair[at].port), "timelineID": timeline if at == leader else 1}
        if at == leader:
            found["cluster"]["status"]["master"] = uid
    found["keepers"] = {}
    pair[2].ctl("put", KEY, json.dumps(found))


def estate_on(pair: Pair, folder: Path, *hosts: str, **spec: Any) -> EstateBuilder:
    pair[0].sql("DROP SCHEMA IF EXISTS pgvillage CASCADE")  # another estate comes
    pair[2].ctl("del", "pgvillage/", "--prefix")
    estate = new_estate(folder, pair[0], etcd={"store": {"endpoints": [pair[2].url]}})
    estate.settings["credentials"]["admin"]["hosts"] = ["127.0.0.1:*", "localhost:*"]
    connection = {"credential": "admin", **({"hosts": list(hosts)} if hosts else {})}
    ha = {"engine": "stolon", "etcd": "store", "cluster": "demo"}
    estate.documents = {
        "a": [free_policy(), document("Cluster", "c", connection=connection, ha=ha, **spec), group("by_mistake")]
    }
    estate.commit()
    return estate


def refused(estate: EstateBuilder, pair: Pair, words: str) -> None:
    """In these words, and nothing written."""
    ran = estate.apply("-t", "c")
    assert ran.code in (1, EXIT_PARTIAL), ran.text
    assert words in " ".join(ran.text.split()), ran.text
    assert pair[0].sql("SELECT FROM pg_roles WHERE rolname = 'by_mistake'") == []


def test_the_old_primary_is_refused_while_the_new_one_is_none_yet(pair: Pair, tmp_path: Path) -> None:
    one, two, _ = pair
    lead(pair, 1)
    words = f"stolon says in etcd that two leads, and the server that takes writes is one (127.0.0.1:{one.port})"
    refused(estate_on(pair, tmp_path / "etcd"), pair, words)
    refused(estate_on(pair, tmp_path / "hosts", one.host, two.host), pair, words)
    by_name = f"localhost:{one.port}"
    words = words.replace("127.0.0.1", "localhost")
    refused(estate_on(pair, tmp_path / "name", by_name), pair, words)


def test_the_sentinel_chooses_another_in_mid_apply(pair: Pair, tmp_path: Path) -> None:
    one, two, _ = pair
    lead(pair, 0)
    databases = [{"name": f"m{n:02}"} for n in range(DATABASES)]
    estate = estate_on(pair, tmp_path / "e", databases=databases)
    process = estate.start("apply", "--auto", "-t", "c", "-o", "json")
    count = "SELECT count(*) FROM pg_database WHERE datname ~ '^m[0-9]'"

    def some() -> bool:
        return process.poll() is not None or one.sql(count)[0][0] >= 3

    wait_until(some, "three databases", seconds=60)
    assert process.poll() is None, finish(process).text
    two.sql("SELECT pg_promote()")
    lead(pair, 1, timeline=2)
    ran = finish(process, 120).done()
    target = next(each for each in ran.document["targets"] if each["address"] == "c")
    assert "one leads no more by what stolon keeps in etcd; stopped before the next transaction" in "".join(
        target["notes"]
    )
    assert one.sql(count)[0][0] < DATABASES, "it went on writing to the old primary"
    assert two.sql(count)[0][0] == DATABASES
    assert {each["address"] for each in target["done"]} >= {f"c/database/m{n:02}" for n in range(DATABASES)}
    assert not estate.run("plan", "-t", "c", "-o", "json").done().targets["c"]["changes"]

    # Both take writes from here on, and manifests that name the old one by ways that etcd does not know are found out.
    estate.documents["a"][-1] = group("by_mistake_too")
    with pg_proxy(one.port) as proxy:
        estate.documents["a"][1]["spec"]["connection"]["hosts"] = [f"127.0.0.1:{proxy.port}"]
        estate.commit()
        ran = estate.apply("-t", "c")
        assert "is on timeline 1, and stolon's leader two on 2: it is an old primary" in " ".join(ran.text.split())
    assert one.sql("SELECT FROM pg_roles WHERE rolname = 'by_mistake_too'") == []
