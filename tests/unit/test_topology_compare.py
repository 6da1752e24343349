"""What is wrong with a cluster: each problem by its code, and laws over clusters of any kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvillage.core.topology import Node, NodeEngine, NodeSql, Problem, Sender, SlotFact, Store, StoreMember, Topology
from pgvillage.topology.compare import compared, problems_of
from pgvillage.topology.limits import Limits, seconds, size

AT = datetime(2026, 5, 1, tzinfo=UTC)
GIB = 1 << 30
NASTY = ('a"b', "x\ny", "<script>", "%s{}", "\u202e", "n" * 60)


def primary(name: str = "a", engine: bool = True, **sql: Any) -> Node:
    found = NodeSql(False, "77", 3, 5 * GIB, 150004, senders=(sender("b"),), **sql)
    told = NodeEngine("primary", "running", healthy=True, leased=True, timeline=3)
    return Node(name, f"{name}.example:5432", told if engine else None, found)


def sender(name: str, synchronous: str = "sync") -> Sender:
    return Sender(name, "replicator", "10.0.0.1", "streaming", synchronous)


def standby(name: str = "b", engine: bool = True, **sql: Any) -> Node:
    given = {
        "position": 5 * GIB,
        "received": 5 * GIB,
        "replay_seconds": 0.0,
        "streams_from": "a.example:5432",
        "streaming": True,
        "timeline": 3,
        "system_identifier": "77",
        "recovering": True,
        "version": 150004,
        **sql,
    }
    told = NodeEngine("standby", "streaming", healthy=True, leased=True, timeline=3)
    return Node(name, f"{name}.example:5432", told if engine else None, NodeSql(**given))  # fmt: skip


def silent(name: str = "b", error: str = "Connection refused", **engine: Any) -> Node:
    told = replace(NodeEngine("standby", "streaming", healthy=True, leased=True), **engine)
    return Node(name, f"{name}.example:5432", told, None, error)


def cluster(*nodes: Node, **more: Any) -> Topology:
    given = {"cluster": "c", "engine": "patroni", "observed_at": AT, "leader": "a", "system_identifier": "77", **more}
    return Topology(nodes=nodes or (primary(), standby()), **given)


def plain(*nodes: Node) -> Topology:
    return cluster(*nodes, engine="none", leader="", system_identifier="")


def found(topology: Topology) -> set[tuple[str, str, str]]:
    return {(p.severity, p.code, p.node) for p in problems_of(topology)}


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        (cluster(), set()),
        (plain(primary(engine=False), standby(engine=False)), set()),
        (cluster(primary(), standby(), synchronous=1), set()),
        (cluster(standby("a"), standby()), {("error", "no-primary", "")}),
        (plain(standby("a", False), standby("b", False)), {("error", "no-primary", "")}),
        (cluster(primary(), primary("b")), {("error", "two-primaries", "")}),
        (cluster(leader=""), {("error", "no-leader", "")}),
        (cluster(leader="b"), {("error", "leader-mismatch", "a")}),
        (cluster(primary(), standby(timeline=4)), {("error", "timeline", "b")}),
        (cluster(primary(), standby(system_identifier="8")), {("error", "system-identifier", "b")}),
        (cluster(primary(), silent(healthy=False)), {("error", "no-answer", "b")}),
        (cluster(primary(), silent()), {("warning", "no-answer", "b")}),
        (cluster(primary(), standby(streaming=False, streams_from="")), {("error", "not-streaming", "b")}),
        (cluster(primary(), standby("b", engine=False)), {("error", "no-lease", "b")}),
        (cluster(primary(), standby(position=4 * GIB)), {("warning", "lag", "b")}),
        (cluster(primary(), standby(position=5 * GIB - 1, replay_seconds=90.0)), {("warning", "lag", "b")}),
        (cluster(primary(), standby(replay_seconds=90.0)), set()),
        (cluster(synchronous=2), {("error", "synchronous", "a")}),
        (cluster(paused=True), {("warning", "paused", "")}),
        (cluster(primary(pending_restart=("max_connections",)), standby()), {("warning", "pending-restart", "a")}),
        (cluster(primary(), standby(file_errors=("x.conf:1: bad",))), {("warning", "file-error", "b")}),
        (cluster(primary(slots=(SlotFact("b", True, False, GIB),)), standby()), {("warning", "slot", "a")}),
        (cluster(primary(slots=(SlotFact("z", True, False, 1),)), standby()), {("warning", "member-gone", "a")}),
        (cluster(primary(slots=(SlotFact("b", True, False, 1, "lost"),)), standby()), {("warning", "slot-lost", "a")}),
        (cluster(primary(slots=(SlotFact("b", True, True, GIB),)), standby()), set()),
        (cluster(standby("a"), standby(), standby_cluster=True), set()),
        (cluster(standby_cluster=True), {("error", "primary-in-standby-cluster", "a")}),
        (
            cluster(leader="", engine_unread="etcd is away"),
            {("error", "engine-unread", "")},
        ),
        (
            cluster(primary(), standby(), standby("c", streams_from="b.example:5432")),
            {("info", "cascading", "c")},
        ),
    ],
)  # fmt: skip
def test_each_problem_and_nothing_beside_it(topology: Topology, expected: set[tuple[str, str, str]]) -> None:
    assert found(topology) == expected


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (Store("e", (StoreMember("m", "h:1", leads=True),)), set()),
        (
            Store("e", (StoreMember("m", "h:1", leads=True), StoreMember("n", "h:2", error="refused"))),
            {("warning", "etcd-no-answer", "")},
        ),
        (
            Store("e", (StoreMember("m", "h:1"),), alarms=("NOSPACE",)),
            {("error", "etcd-no-leader", ""), ("error", "etcd-alarm", "")},
        ),
        (
            Store("e", (StoreMember("m", "h:1"), StoreMember("n", "h:2", error="refused")), quorum=False),
            {("error", "etcd-quorum", ""), ("warning", "etcd-no-answer", "")},
        ),
        (Store("e", error="no such host"), {("error", "etcd-unread", "")}),
    ],
)  # fmt: skip
def test_etcd(store: Store, expected: set[tuple[str, str, str]]) -> None:
    assert found(cluster(store=store)) == expected


def test_what_the_engine_told_of_is_kept_and_not_said_twice() -> None:
    own = Problem("error", "writes-wait", "nobody confirms", "a")
    topology = compared(cluster(synchronous=2, problems=(own,)))
    assert topology.problems == (own,)
    assert compared(topology) == topology


def test_the_words_say_what_to_look_at() -> None:
    texts = [p.text for p in problems_of(cluster(primary(), primary("b"), leader="a"))]
    assert len(texts) == 1
    assert "split brain" in texts[0]
    assert "b.example:5432, timeline 3" in texts[0]
    assert [size(0), size(5 * GIB), size(1536), seconds(30), seconds(7200)] == [
        "0 B",
        "5 GiB",
        "1.5 KiB",
        "30 s",
        "2 h",
    ]


def test_limits_are_whose_who_sets_them() -> None:
    topology = cluster(primary(), standby(position=4 * GIB))
    assert problems_of(topology, Limits(lag_bytes=2 * GIB)) == ()


nodes_of_any_kind = st.lists(
    st.one_of(
        st.builds(primary, st.just("x"), st.booleans()),
        st.builds(standby, st.just("x"), st.booleans(), timeline=st.integers(1, 5), streaming=st.booleans(),
                  position=st.integers(0, 8 * GIB), system_identifier=st.sampled_from(("77", "8"))),
        st.builds(silent, st.just("x"), st.text(max_size=8), healthy=st.sampled_from((None, True, False))),
    ),
    max_size=4,
)  # fmt: skip


def _with_names(nodes: list[Node], names: tuple[str, ...]) -> tuple[Node, ...]:
    # no name and address may be part of another's, so that streams lead to the same nodes
    pairs = enumerate(zip(nodes, names, strict=False))
    return tuple(replace(n, name=f"{name}{at}", address=f"h{at}:1") for at, (n, name) in pairs)


@given(nodes_of_any_kind, st.sampled_from(("none", "patroni", "stolon")), st.integers(0, 4), st.permutations(NASTY))
def test_names_change_no_severity_and_are_safe_to_show(
    nodes: list[Node], engine: str, leads: int, names: list[str]
) -> None:
    def severities(called: tuple[str, ...]) -> list[tuple[str, str]]:
        made = _with_names(nodes, called)
        leader = made[leads].name if engine != "none" and leads < len(made) else ""
        problems = problems_of(cluster(*made, engine=engine, leader=leader) if made else plain(standby()))
        assert all(p.text.isprintable() and len(p.text) < 1500 for p in problems)
        return sorted((p.severity, p.code) for p in problems)

    assert severities(tuple(names)) == severities(("n",) * len(NASTY))


@given(st.integers(1, 6), st.booleans(), st.integers(0, 10**6))
def test_a_healthy_cluster_has_no_problems(standbys: int, engine: bool, behind: int) -> None:
    others = [standby(f"s{at}", engine, position=5 * GIB - behind) for at in range(standbys)]
    made = (primary("a", engine), *others)
    assert problems_of(cluster(*made) if engine else plain(*made)) == ()
