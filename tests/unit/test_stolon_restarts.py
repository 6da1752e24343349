"""Which keepers wait for a restart on stolon, in which order, and what is not written before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from pgvillage.core.address import Address
from pgvillage.core.change import Risk, Source
from pgvillage.core.guc import Guc
from pgvillage.core.topology import Node, NodeEngine, NodeSql, Topology
from pgvillage.engine.kind import Judgement
from pgvillage.resources.stolon.restarts import (
    Rollout,
    judge_running,
    judge_written,
    rollout_of,
    running_resources,
    running_states,
)

GUCS = {
    "max_connections": Guc("max_connections", "integer", None, "postmaster", (), "100", "100", True, False),
    "max_worker_processes": Guc("max_worker_processes", "integer", None, "postmaster", (), "8", "8", True, False),
    "shared_buffers": Guc("shared_buffers", "integer", "8kB", "postmaster", (), "16384", "16384", True, False),
    "work_mem": Guc("work_mem", "integer", "kB", "user", (), "4096", "4096", True, False),
}


def node(name: str, leads: bool, running: Mapping[str, str], answers: bool = True) -> Node:
    sql = NodeSql(not leads, "7", 1, 100, 150000, running=running, gucs=GUCS) if answers else None
    return Node(name, f"{name}:5432", NodeEngine("primary" if leads else "standby", healthy=True), sql)


def cluster(**running: Mapping[str, str]) -> Topology:
    """The first of them leads."""
    names = list(running)
    nodes = tuple(node(name, name == names[0], running[name]) for name in names)
    return Topology("c", "stolon", datetime(2026, 11, 24, tzinfo=UTC), nodes, leader=names[0])


def rolled(wishes: Mapping[str, str], configured: Mapping[str, str], **running: Mapping[str, str]) -> Rollout:
    found = rollout_of(cluster(**running), wishes, configured)
    assert found is not None
    return found


def test_standbys_first_then_another_leads_then_the_old_primary() -> None:
    now = {"max_connections": "100", "work_mem": "4096"}
    found = rolled({"max_connections": "200", "work_mem": "1MB"}, {"max_connections": "100"}, k1=now, k2=now, k3=now)
    assert found.running == {name: {"max_connections": "100"} for name in ("k1", "k2", "k3")}
    words = found.words
    order = [words.index(f"restart keeper {name}") for name in ("k2", "k3", "k1")]
    assert order == sorted(order)
    assert words.index("failkeeper k1") < order[-1]
    assert found.later == frozenset()
    written = judge_written(Judgement(Risk.CHANGE), found, "max_connections")
    assert written.refused == ""
    assert written.impact.restart


def test_a_lower_value_and_what_happens_to_a_standby_that_is_too_early() -> None:
    now = {"max_connections": "100"}
    found = rolled({"max_connections": "50"}, {"max_connections": "100"}, k1=now, k2=now)
    assert found.words.index("restart keeper k1") < found.words.index("restart keeper k2")
    judged = judge_running(found, "k2")
    assert judged.risk is Risk.RESTART
    assert "should a standby restart before the primary" in judged.refused
    assert judge_written(Judgement(Risk.CHANGE), found, "max_connections").refused == ""


def test_what_falls_waits_for_what_rises() -> None:
    now = {"max_connections": "100", "max_worker_processes": "8"}
    wishes = {"max_connections": "50", "max_worker_processes": "16"}
    found = rolled(wishes, now, k1=now, k2=now)
    assert found.later == {"max_connections"}
    refused = judge_written(Judgement(Risk.CHANGE), found, "max_connections").refused
    assert "once every node runs the raised ones" in refused
    assert judge_written(Judgement(Risk.CHANGE), found, "max_worker_processes").refused == ""
    raised = {**now, "max_worker_processes": "16"}
    after = rolled(wishes, raised, k1=raised, k2=raised)
    assert after.later == frozenset()


def test_equal_in_other_words_waits_for_nothing() -> None:
    now = {"shared_buffers": "16384"}
    found = rolled({"shared_buffers": "128MB"}, {"shared_buffers": "128MB"}, k1=now, k2=now)
    assert found.running == {}
    assert found.words == ""


def test_states_are_of_keepers_alone() -> None:
    topology = cluster(k1={"max_connections": "100"}, k2={"max_connections": "200"})
    stranger = Node("10.0.0.9:5432", "10.0.0.9:5432", None, topology.nodes[0].sql)
    whole = Topology("c", "stolon", topology.observed_at, (*topology.nodes, stranger), leader="k1")
    live = running_states("c", "stolon", whole)
    assert [address.name for address in live] == [("running", "k1"), ("running", "k2")]
    found = rollout_of(whole, {"max_connections": "200"}, {"max_connections": "200"})
    (resource,) = running_resources("c", "stolon", found, live, Source())
    assert resource.address == Address("c", "stolon", ("running", "k1"))
    assert resource.state is not None
    assert resource.state.as_fields() == {"max_connections": "200"}


@pytest.mark.parametrize("topology", [None, Topology("c", "stolon", datetime(2026, 11, 24, tzinfo=UTC), ())])
def test_nobody_answers(topology: Topology | None) -> None:
    assert rollout_of(topology, {"max_connections": "200"}, {}) is None
    assert judge_written(Judgement(Risk.CHANGE), None, "max_connections") == Judgement(Risk.CHANGE)
