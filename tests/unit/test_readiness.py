"""Whether a cluster can hand over: every reason why not, who would take over, and what may be lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pgvillage.core.topology import EngineName, Node, NodeEngine, NodeSql, Problem, Topology
from pgvillage.topology.handover import missing_standbys, not_yet
from pgvillage.topology.readiness import Readiness, Verb, Wish, readiness

AT = 5_000_000


def node(name: str, position: int | None = AT, sql: dict[str, Any] | None = None, **engine: Any) -> Node:
    """A standby that streams; the primary when its role is that. No position: it does not answer."""
    role = engine.setdefault("role", "standby")
    asked = NodeEngine(**engine)
    if position is None:
        return Node(name, f"{name}:5432", asked, None, "connection refused")
    facts = {"recovering": role != "primary", "system_identifier": "7", "timeline": 3, "version": 170000, **(sql or {})}
    streaming = bool(facts.pop("streaming", facts["recovering"]))
    return Node(name, f"{name}:5432", asked, NodeSql(position=position, streaming=streaming, **facts))


def cluster(*nodes: Node, engine: EngineName = "patroni", leader: str = "n1", **more: Any) -> Topology:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return Topology("orders", engine, when, nodes, leader=leader, system_identifier="7", **more)


def three(**more: Any) -> Topology:
    return cluster(node("n1", role="primary"), node("n2", AT - 10), node("n3", AT - 5), **more)


def with_node(topology: Topology, changed: Node) -> Topology:
    return replace(topology, nodes=tuple(changed if n.name == changed.name else n for n in topology.nodes))


def switch(topology: Topology, to: str = "", **more: Any) -> Readiness:
    return readiness(topology, Wish(Verb.SWITCHOVER, to, **more))


def fail(topology: Topology, to: str = "") -> Readiness:
    return readiness(topology, Wish(Verb.FAILOVER, to))


def codes(found: Readiness) -> set[str]:
    return {obstacle.code for obstacle in found.obstacles}


def test_a_healthy_cluster_hands_over_to_who_has_received_most() -> None:
    found = switch(three())
    assert (found.leader, found.candidate, found.obstacles, found.risks) == ("n1", "n3", (), ())
    assert not found.may_lose
    assert switch(three(), "n2").candidate == "n2"


def test_the_synchronous_one_goes_before_one_that_has_more() -> None:
    found = switch(with_node(three(synchronous=1), node("n2", AT - 10, synchronous=True)))
    assert (found.candidate, found.obstacles) == ("n2", ())


SWITCHOVER: dict[str, tuple[Topology, str, str, str]] = {
    "no engine": (three(engine="none"), "", "no-engine", "by hand"),
    "standby cluster": (three(standby_cluster=True), "", "standby-cluster", "follows another cluster"),
    "etcd is away": (three(engine_unread="etcd a: refused"), "", "engine-unread", "etcd a: refused"),
    "paused": (three(paused=True), "", "paused", "end the pause"),
    "no primary": (with_node(three(), node("n1", None, role="primary")), "", "no-primary", "connection refused"),
    "no leader": (cluster(node("n2"), node("n3"), leader=""), "", "no-primary", "failover is for this"),
    "two primaries": (with_node(three(), node("n2", role="primary")), "", "no-primary", "n1 and n2 both"),
    "another leads": (three(leader="n3"), "", "no-primary", "patroni says that n3 leads"),
    "a mistyped node": (three(), "n22", "unknown-node", "did you mean n2?"),
    "an unknown node": (three(), "elsewhere", "unknown-node", "there are n2, n3"),
    "the primary itself": (three(), "n1", "is-primary", "primary already"),
    "no answer": (with_node(three(), node("n2", None)), "n2", "no-answer", "connection refused"),
    "not streaming": (with_node(three(), node("n2", sql={"streaming": False})), "n2", "not-streaming", "n2"),
    "lagging": (with_node(three(), node("n2", AT - 2**21)), "n2", "lag", "2,097,152 bytes"),
    "other timeline": (with_node(three(), node("n2", sql={"timeline": 2})), "n2", "timeline", "timeline 2"),
    "other cluster": (
        with_node(three(), node("n2", sql={"system_identifier": "8"})), "n2", "other-system", "identifier 8",
    ),
    "may not lead": (
        with_node(three(), node("n2", may_lead=False, tags={"nofailover": "True"})), "n2", "may-not-lead",
        "nofailover: True",
    ),
    "not synchronous": (
        with_node(three(synchronous=1), node("n3", synchronous=True)), "n2", "not-synchronous", "synchronous",
    ),
    "nobody": (
        with_node(with_node(three(), node("n2", None)), node("n3", may_lead=False)), "", "no-candidate",
        "n2 does not answer",
    ),
    "alone": (cluster(node("n1", role="primary")), "", "no-candidate", "no other node"),
    "stolon without synchronous": (three(engine="stolon"), "", "not-synchronous", "ha.synchronous"),
}  # fmt: skip


@pytest.mark.parametrize("name", SWITCHOVER)
def test_what_stands_in_the_way_of_a_switchover(name: str) -> None:
    seen, to, code, words = SWITCHOVER[name]
    found = switch(seen, to)
    (told,) = [obstacle for obstacle in found.obstacles if obstacle.code == code]
    assert words in told.text
    if to:
        assert codes(found) == {code}, "one reason is said once, and no other"
        assert not found.candidate


def test_the_limit_of_lag_is_the_manifests() -> None:
    lagging = with_node(three(), node("n2", AT - 2_000))
    assert codes(switch(lagging, "n2", max_lag=1_999)) == {"lag"}
    assert not codes(switch(lagging, "n2", max_lag=2_000))


def test_a_degraded_cluster_needs_consent_to_its_very_state() -> None:
    bad = three(problems=(Problem("error", "slot", "n3 has lost its slot", "n3"), Problem("warning", "lag", "n2 lags")))
    found = switch(bad)
    assert found.risks == ("n3 has lost its slot",)
    assert found.needs_consent
    assert not found.obstacles
    assert found.digest == bad.digest != three().digest


def lost(*, told: int | None) -> Topology:
    """The primary is gone; the engine told its last position, or nothing."""
    engine = NodeEngine("primary", position=told)
    return with_node(three(), Node("n1", "n1:5432", engine, None, "connection refused"))


def test_a_failover_says_what_the_candidate_lacks() -> None:
    found = fail(lost(told=AT))
    assert (found.candidate, found.loses, found.may_lose, found.obstacles) == ("n3", 5, True, ())
    assert any("lacks 5 bytes" in risk for risk in found.risks)
    assert fail(lost(told=AT), "n2").loses == 10


def test_what_was_received_is_not_lost() -> None:
    received = with_node(lost(told=AT), node("n2", AT - 10, sql={"received": AT}))
    found = fail(received)
    assert (found.candidate, found.loses) == ("n2", 0)
    assert any("was written after it would be lost" in risk for risk in found.risks)


def test_what_nobody_knows_is_unknown() -> None:
    found = fail(lost(told=None))
    assert found.loses is None
    assert any("is not known" in risk for risk in found.risks)
    assert fail(cluster(node("n2"), node("n3"), leader="")).loses is None


def test_a_failover_from_a_primary_that_is_well_names_the_switchover() -> None:
    found = fail(three())
    assert found.needs_consent
    assert any("pgvillage switchover orders" in risk for risk in found.risks)


def test_a_failover_goes_on_in_a_pause_and_without_streams() -> None:
    gone = replace(lost(told=AT), paused=True)
    found = fail(with_node(gone, node("n3", AT - 5, sql={"streaming": False})))
    assert (found.candidate, found.obstacles) == ("n3", ())


FAILOVER: dict[str, tuple[Topology, str, str]] = {
    "no engine": (three(engine="none"), "", "no-engine"),
    "standby cluster": (three(standby_cluster=True), "", "standby-cluster"),
    "unknown": (lost(told=1), "n33", "unknown-node"),
    "the leader": (lost(told=1), "n1", "is-primary"),
    "no answer": (with_node(lost(told=1), node("n2", None)), "n2", "no-answer"),
    "may not lead": (with_node(lost(told=1), node("n2", may_lead=False)), "n2", "may-not-lead"),
    "older timeline": (with_node(lost(told=1), node("n2", sql={"timeline": 2})), "n2", "timeline"),
    "nobody": (cluster(node("n1", None, role="primary"), node("n2", None)), "", "no-candidate"),
}


@pytest.mark.parametrize("name", FAILOVER)
def test_what_stands_in_the_way_of_a_failover(name: str) -> None:
    seen, to, code = FAILOVER[name]
    assert codes(fail(seen, to)) == {code}


def test_acknowledged_writes_that_an_asynchronous_standby_lacks_are_named() -> None:
    found = fail(replace(lost(told=AT), synchronous=1), "n2")
    assert any("acknowledged writes may be lost" in risk for risk in found.risks)


def stolon(*synchronous: str) -> Topology:
    nodes = (node(name, synchronous=name in synchronous) for name in ("n2", "n3"))
    return cluster(node("n1", role="primary"), *nodes, engine="stolon", synchronous=1)


def test_stolon_hands_over_to_its_synchronous_standby() -> None:
    found = switch(stolon("n3"))
    assert (found.candidate, found.among, found.obstacles) == ("n3", ("n3",), ())
    assert codes(switch(stolon("n3"), "n2")) == {"not-synchronous"}
    assert not codes(switch(stolon("n3"), "n3"))


def test_stolon_chooses_among_several_and_cannot_be_told() -> None:
    found = switch(stolon("n2", "n3"))
    assert (found.among, found.obstacles) == (("n2", "n3"), ())
    assert codes(switch(stolon("n2", "n3"), "n2")) == {"engine-chooses"}


def test_stolon_promotes_no_asynchronous_one_while_synchronous_is_on() -> None:
    gone = with_node(stolon("n3"), node("n1", None, role="primary"))
    assert codes(fail(gone, "n2")) == {"not-synchronous"}
    assert fail(gone).candidate == "n3"


def after(leader: str = "n2", **changes: Node) -> Topology:
    names = ("n1", "n2", "n3")
    sql = {"timeline": 4}
    nodes = (changes.get(n) or node(n, sql=sql, role="primary" if n == leader else "standby") for n in names)
    return cluster(*nodes, leader=leader)


def test_done_is_what_the_nodes_say() -> None:
    assert not not_yet(three(), after(), "n1")
    assert not list(missing_standbys(three(), after(), "n1", old_returns=True))


NOT_YET = {
    "still the old one": (three(), "n1 is still the primary"),
    "nobody": (after(n2=node("n2", None)), "no node takes writes"),
    "the engine does not say so": (replace(after(), leader="n1"), "n2 takes writes, but patroni says that n1 leads"),
    "the engine says nothing": (replace(after(), leader=""), "does not say so yet"),
    "two": (after(n1=node("n1", role="primary")), "n1 and n2 both take writes"),
    "another cluster": (
        after(n2=node("n2", sql={"system_identifier": "8"}, role="primary")), "data of another cluster",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_YET)
def test_not_done_yet(name: str) -> None:
    now, words = NOT_YET[name]
    assert words in not_yet(three(), now, "n1")


MISSING = {
    "no answer": (node("n3", None), "n3 does not answer by SQL (connection refused)"),
    "no stream": (node("n3", sql={"timeline": 4, "streaming": False}), "n3 does not stream"),
    "old timeline": (node("n3", sql={"timeline": 3}), "n3 is on timeline 3 still"),
    "takes writes": (node("n3", role="primary"), "n3 is no standby"),
    "not well": (node("n3", sql={"timeline": 4}, healthy=False, state="starting"), "not well for its engine (starting"),
}


@pytest.mark.parametrize("name", MISSING)
def test_standbys_that_do_not_follow(name: str) -> None:
    changed, words = MISSING[name]
    (told,) = (w for w in missing_standbys(three(), after(n3=changed), "n1", old_returns=True) if w.startswith("n3"))
    assert words in told


def test_an_old_primary_that_was_lost_is_not_waited_for() -> None:
    now = after(n1=node("n1", None))
    assert not list(missing_standbys(lost(told=1), now, "n1", old_returns=False))
    assert list(missing_standbys(three(), now, "n1", old_returns=True))


def test_a_node_that_is_gone_from_the_cluster_is_said() -> None:
    now = replace(after(), nodes=after().nodes[:2])
    assert list(missing_standbys(three(), now, "n1", old_returns=True)) == ["n3 is no longer a node of the cluster"]
