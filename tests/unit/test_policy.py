"""Limits, approvals and the stricter of two policies."""

from __future__ import annotations

import pytest

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Origin, Risk, Source
from pgvillage.core.plan import Gate
from pgvillage.core.state import State
from pgvillage.engine.policy import Rules, Totals, gates, open_gates, rules_in_force
from pgvillage.estate.manifest.estate import Limit, Limits, Policy
from pgvillage.settings import Ceilings, LimitCeiling

RULES = Rules("safe", drop_count=3, drop_share=10, revoke_count=50, revoke_share=25)
DROP = Change(
    Address("c", "k", ("x",)), Action.DELETE, State(), None, (), Origin.GIT, Source(), risk=Risk.DROP, drops=1
)


@pytest.mark.parametrize(
    ("drops", "objects", "shut"),
    [(0, 0, False), (1, 10, False), (1, 9, True), (3, 30, False), (4, 1000, True), (1, 0, True), (3, 29, True)],
)
def test_by_count_and_by_share(drops: int, objects: int, shut: bool) -> None:
    assert bool(gates([DROP] * drops, RULES, Totals(objects, 0))) is shut


def test_held_changes_do_not_count() -> None:
    assert not gates([DROP._replace(held="x")] * 9, RULES, Totals(1, 1))


def test_loss_is_its_own_gate() -> None:
    rules = [gate.rule for gate in gates([DROP._replace(risk=Risk.LOSS)], RULES, Totals(100, 0))]
    assert rules == ["loss"]


@pytest.mark.parametrize(
    ("approval", "opened"),
    [
        ("0123456789ab", True), ("0123456789abcdef", True), ("0123456789a", False), ("", False),
        ("123456789abc", False), ("0123456789ax", False),
    ],
)  # fmt: skip
def test_an_approval_is_a_digest_or_its_beginning(approval: str, opened: bool) -> None:
    found = [Gate("limit-drop", "x"), Gate("revision", "x", approvable=False)]
    after = open_gates(found, "0123456789abcdef", [approval])
    assert [gate.open for gate in after] == [opened, False]


@pytest.mark.parametrize("asked", ["off", "safe", "all"])
@pytest.mark.parametrize("ceiling", ["off", "safe", "all"])
def test_the_stricter_wins(asked: str, ceiling: str) -> None:
    policy = Policy(limits=Limits(drop=Limit(count=9, share="90%"), revoke=Limit(count=1, share="1%")))
    ceilings = Ceilings(correct=ceiling, drop=LimitCeiling(count=2, share=5), revoke=LimitCeiling(count=5))  # type: ignore[arg-type]
    order = ["off", "safe", "all"]
    assert rules_in_force(policy, asked, ceilings) == Rules(
        min(asked, ceiling, key=order.index), drop_count=2, drop_share=5, revoke_count=1, revoke_share=1  # type: ignore[arg-type]
    )  # fmt: skip
