"""The order of restarts: every case by hand, and the law that no standby falls below its primary."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pgvillage.topology.rollout import (
    IN_PLACE,
    LOWERED,
    NodeValues,
    Restart,
    Settled,
    Switchover,
    Write,
    roll_out,
)

MC, WP, SB = "max_connections", "max_worker_processes", "shared_buffers"


def three(standby: Mapping[str, str], primary: Mapping[str, str], **flags: bool) -> list[NodeValues]:
    return [
        NodeValues("p", True, primary),
        NodeValues("s1", False, standby, **flags),
        NodeValues("s2", False, standby, **flags),
    ]


def test_a_restart_reaches_standbys_first_and_then_another_leads() -> None:
    old = {SB: "100"}
    assert roll_out(three(old, old), {SB: "200"}, {SB: "100"}) == (
        Write({SB: "200"}),
        Restart("s1", (SB,)),
        Restart("s2", (SB,)),
        Switchover("p", "s1"),
        Restart("p", (SB,)),
    )


def test_what_rises_goes_the_same_way() -> None:
    old = {MC: "100"}
    found = roll_out(three(old, old), {MC: "150"}, {MC: "100"})
    assert [type(a).__name__ for a in found] == ["Write", "Restart", "Restart", "Switchover", "Restart"]


def test_what_falls_reaches_the_primary_first_and_standbys_once_they_know() -> None:
    old = {MC: "100"}
    assert roll_out(three(old, old), {MC: "50"}, {MC: "100"}) == (
        Write({MC: "50"}),
        Restart("p", (MC,), LOWERED),
        Settled({MC: "50"}),
        Restart("s1", (MC,)),
        Restart("s2", (MC,)),
    )


def test_both_are_two_rounds_and_the_second_is_led_by_the_heir() -> None:
    old = {MC: "100", WP: "8"}
    assert roll_out(three(old, old), {MC: "50", WP: "16"}, old) == (
        Write({WP: "16"}),
        Restart("s1", (WP,)),
        Restart("s2", (WP,)),
        Switchover("p", "s1"),
        Restart("p", (WP,)),
        Write({MC: "50"}),
        Restart("s1", (MC,), LOWERED),
        Settled({MC: "50"}),
        Restart("p", (MC,)),
        Restart("s2", (MC,)),
    )


def test_what_somebody_configured_lower_goes_back_until_its_round() -> None:
    old = {MC: "100", WP: "8"}
    found = roll_out(three(old, old), {MC: "50", WP: "16"}, {MC: "50", WP: "8"})
    assert found[0] == Write({MC: "100", WP: "16"})
    assert Write({MC: "50"}) in found


def test_what_is_left_after_a_crash_is_all_that_is_done() -> None:
    nodes = [NodeValues("p", True, {SB: "1"}), NodeValues("s1", False, {}), NodeValues("s2", False, {SB: "1"})]
    assert roll_out(nodes, {SB: "2"}, {SB: "2"}) == (
        Restart("s2", (SB,)),
        Switchover("p", "s1"),
        Restart("p", (SB,)),
    )
    # the primary has it: standbys are left, and have to know first
    nodes = [NodeValues("p", True, {}), NodeValues("s1", False, {MC: "100"})]
    assert roll_out(nodes, {MC: "50"}, {MC: "50"}) == (Settled({MC: "50"}), Restart("s1", (MC,)))
    assert roll_out([NodeValues("p", True, {})], {MC: "50"}, {MC: "50"}) == ()


def test_without_an_heir_the_primary_restarts_in_place_and_says_so() -> None:
    old = {SB: "1"}
    found = roll_out(three(old, old, may_lead=False), {SB: "2"}, old)
    assert found[-1] == Restart("p", (SB,), IN_PLACE)
    assert roll_out([NodeValues("p", True, old)], {SB: "2"}, old) == (Write({SB: "2"}), Restart("p", (SB,), IN_PLACE))


def test_without_a_leader_only_the_configuration_is_written() -> None:
    assert roll_out([NodeValues("s", False, {SB: "1"})], {SB: "2"}, {SB: "1"}) == (Write({SB: "2"}),)


def test_the_heir_of_a_synchronous_cluster_is_who_is_synchronous_by_then() -> None:
    nodes = [
        NodeValues("p", True, {SB: "1"}),
        NodeValues("s1", False, {SB: "1"}),
        NodeValues("s2", False, {SB: "1"}, synchronous=True),
    ]
    found = roll_out(nodes, {SB: "2"}, {SB: "2"}, synchronous=True)
    # s2 restarts and s1 becomes synchronous; then s1 restarts and s2 does
    assert found == (Restart("s2", (SB,)), Restart("s1", (SB,)), Switchover("p", "s2"), Restart("p", (SB,)))


VALUE = st.integers(1, 4)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[dict[str, int]], dict[str, int], dict[str, int]]:
    """Values in force of a primary (first) and of standbys that are not below it; wishes; the configuration."""
    primary = {name: draw(VALUE) for name in (MC, WP, SB)}
    nodes = [primary]
    nodes += [
        {n: draw(VALUE) if n == SB else draw(st.integers(v, 4)) for n, v in primary.items()}
        for _ in range(draw(st.integers(0, 3)))
    ]
    wishes = {name: draw(VALUE) for name in primary}
    return nodes, wishes, {name: draw(st.sampled_from([nodes[0][name], wishes[name]])) for name in primary}


@given(clusters(), st.booleans())
def test_no_standby_runs_below_its_primary_and_all_end_as_wished(
    case: tuple[list[dict[str, int]], dict[str, int], dict[str, int]], heirs: bool
) -> None:
    values, wishes, configured = case
    running = {f"n{at}": dict(each) for at, each in enumerate(values)}
    leader, config, known = "n0", dict(configured), dict(running["n0"])
    nodes = [
        NodeValues(n, n == leader, {k: str(v) for k, v in each.items() if v != wishes[k]}, may_lead=heirs)
        for n, each in running.items()
    ]
    for action in roll_out(nodes, {k: str(v) for k, v in wishes.items()}, {k: str(v) for k, v in config.items()}):
        if isinstance(action, Write):
            config |= {name: int(value) for name, value in action.values.items()}
        elif isinstance(action, Settled):
            known = dict(running[leader])
            assert all(known[name] == int(value) for name, value in action.values.items())
        elif isinstance(action, Switchover):
            assert action.leader == leader
            old, leader = leader, action.to
            running[old] = dict(config)  # it starts anew as a standby
            known = dict(running[leader])
        else:
            running[action.node] = dict(config)
            if action.node != leader:
                assert all(config[name] >= known[name] for name in (MC, WP)), "it would not start"
        for name in (MC, WP):
            low = [n for n in running if running[n][name] < running[leader][name]]
            assert not low, (action, name, running)
    assert config == wishes
    assert all(each == wishes for each in running.values()), running
