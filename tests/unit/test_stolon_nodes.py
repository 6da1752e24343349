"""A stolon cluster's nodes, from real cluster data and from what could stand there instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pgvillage.core.topology import Topology
from pgvillage.resources.stolon.clusterdata import parse_clusterdata
from pgvillage.resources.stolon.nodes import Presence, parse_presence, topology_of

FIXTURES = Path(__file__).parents[1] / "fixtures" / "stolon"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
ALL = Presence(frozenset({"keeper1", "keeper2", "keeper3"}), frozenset({"a", "b"}), frozenset({"943220eb"}), "a")


def topology(change: Callable[[dict[str, Any]], None] | None = None, presence: Presence | None = ALL) -> Topology:
    document = json.loads((FIXTURES / "clusterdata-three-keepers-sync.json").read_bytes())
    if change:
        change(document)
    return topology_of("c", parse_clusterdata(json.dumps(document).encode()), presence, NOW)


def db_of(document: dict[str, Any], keeper: str) -> dict[str, Any]:
    return dict(next(db for db in document["dbs"].values() if db["spec"]["keeperUID"] == keeper))


def codes(found: Topology) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.code, problem.node) for problem in found.problems]


def test_real_cluster_data() -> None:
    found = topology()
    assert [(n.name, n.address, n.engine.role if n.engine else "") for n in found.nodes] == [
        ("keeper1", "127.0.0.1:35431", "standby"),
        ("keeper2", "127.0.0.1:35432", "standby"),
        ("keeper3", "127.0.0.1:35433", "primary"),
    ]
    assert (found.leader, found.phase, found.synchronous) == ("keeper3", "normal", 1)
    assert found.system_identifier == "7711065021696455327"
    first, second, third = (node.engine for node in found.nodes)
    assert first
    assert second
    assert third
    assert (first.synchronous_wanted, first.synchronous) == (True, True)
    assert (second.synchronous_wanted, second.synchronous) == (False, False)
    assert (third.state, third.healthy, third.leased, third.position, third.timeline) == (
        "running", True, True, 67108960, 1,
    )  # fmt: skip
    assert third.version.startswith("15.")
    assert codes(found) == []


def test_the_leases() -> None:
    keys = [
        ("keepers/info/keeper1", b"{}", True, 1),
        ("keepers/info/keeper2", b"{}", False, 1),
        ("sentinels/info/b", b"\xff", True, 2),
        ("sentinel-leader/77", b"late", True, 9),
        ("sentinel-leader/99", b"early", True, 5),
        ("proxies/info/p", b"", True, 3),
        ("keepers/info/", b"", True, 3),
        ("keepers/other/x", b"", True, 3),
        (None, "strange", 1, None),
    ]
    found = parse_presence(keys)
    assert found == Presence(frozenset({"keeper1"}), frozenset({"b"}), frozenset({"p"}), "early")


def test_a_keeper_that_is_gone() -> None:
    def fail(document: dict[str, Any]) -> None:
        document["keepers"]["keeper2"]["status"]["healthy"] = False

    found = topology(fail, Presence(ALL.keepers - {"keeper2"}, ALL.sentinels, ALL.proxies, "a"))
    node = found.node("keeper2")
    assert node
    assert node.engine
    assert (node.engine.state, node.engine.healthy, node.engine.leased) == ("keeper failed", False, False)


def test_a_keeper_without_data_has_no_address() -> None:
    def empty(document: dict[str, Any]) -> None:
        document["dbs"] = {k: v for k, v in document["dbs"].items() if v["spec"]["keeperUID"] != "keeper2"}

    node = topology(empty).node("keeper2")
    assert node
    assert node.engine
    assert (node.address, node.engine.role, node.engine.state, node.engine.position) == ("", "unknown", "no data", None)


def test_one_that_is_being_copied_is_not_well_yet() -> None:
    def new(document: dict[str, Any]) -> None:
        db_of(document, "keeper2")["status"] = {"healthy": True}
        for db in document["dbs"].values():
            if db["spec"]["keeperUID"] == "keeper2":
                db["status"] = {"healthy": True}

    node = topology(new).node("keeper2")
    assert node
    assert node.engine
    assert (node.engine.state, node.engine.healthy) == ("initialising", False)


def test_ipv6() -> None:
    def six(document: dict[str, Any]) -> None:
        db_of(document, "keeper2")["status"]["listenAddress"] = "2001:db8::2"

    node = topology(six).node("keeper2")
    assert node
    assert node.address == "[2001:db8::2]:35432"


def test_writes_that_wait_are_told() -> None:
    def fake(document: dict[str, Any]) -> None:
        db_of(document, "keeper3")["spec"]["externalSynchronousStandbys"] = ["stolonfakestandby"]

    found = topology(fake)
    assert codes(found) == [("error", "writes-wait", "keeper3")]
    assert found.synchronous == 2


PRESENCES = {
    "no sentinel": (Presence(ALL.keepers, frozenset(), ALL.proxies), [("error", "no-sentinel", "")]),
    "one sentinel": (Presence(ALL.keepers, frozenset({"a"}), ALL.proxies, "a"), [("info", "one-sentinel", "")]),
    "no proxy": (Presence(ALL.keepers, ALL.sentinels, frozenset(), "a"), [("warning", "proxy-gone", "")]),
    "may not look": (None, []),
}


@pytest.mark.parametrize("name", PRESENCES)
def test_stolons_own_processes(name: str) -> None:
    presence, expected = PRESENCES[name]
    assert codes(topology(presence=presence)) == expected


def test_no_leader_and_no_phase() -> None:
    def lose(document: dict[str, Any]) -> None:
        document["cluster"]["status"] = {"phase": "<initializing>"}

    found = topology(lose)
    assert found.leader == ""
    assert codes(found) == [("warning", "phase", ""), ("error", "no-leader", "")]


def test_a_standby_cluster() -> None:
    def follow(document: dict[str, Any]) -> None:
        document["cluster"]["spec"]["role"] = "standby"
        db_of(document, "keeper3")["spec"]["role"] = "standby"

    found = topology(follow)
    assert found.standby_cluster
    assert found.leader == "keeper3"
    node = found.node("keeper3")
    assert node
    assert node.engine
    assert node.engine.role == "standby"


def test_hostile_words() -> None:
    def hostile(document: dict[str, Any]) -> None:
        document["keepers"]["k\n<script>{}%s"] = {"status": {"healthy": True}}
        document["cluster"]["status"]["phase"] = "a\nb"

    found = topology(hostile)
    assert found.node("k\n<script>{}%s")
    assert "\n" not in "".join(problem.text for problem in found.problems)
