"""The order of steps, what failures skip, matrices, and what makes a run the same run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.core.run_key import RunKey
from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.graph import Outcome, combinations, cut_off, order, ready

NEEDS = {"d": ["b", "c"], "a": [], "b": ["a"], "c": ["a"], "e": []}


def test_order_keeps_what_is_written_where_it_can() -> None:
    assert order(NEEDS) == ["a", "b", "c", "d", "e"]


def test_what_is_ready_and_what_is_cut_off() -> None:
    assert ready(NEEDS, {}) == ["a", "e"]
    assert ready(NEEDS, {"a": Outcome.SKIPPED}, frozenset({"b"})) == ["c", "e"]
    failed = {"a": Outcome.DONE, "b": Outcome.FAILED}
    assert ready(NEEDS, failed) == ["c", "e"]
    assert cut_off(NEEDS, failed) == ["d"]
    assert cut_off(NEEDS, {"a": Outcome.FAILED}) == ["b", "c", "d"]
    assert cut_off(NEEDS, {"a": Outcome.DONE}) == []


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"a": ["a"]}, "a needs a"),
        ({"a": ["b"], "b": ["a"]}, "needs each other|need each other"),
        ({"a": ["x"]}, "step x"),
    ],
)
def test_no_order(needs: dict[str, list[str]], message: str) -> None:
    with pytest.raises(TextFault, match=message):
        order(needs)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), max_size=3), min_size=1, max_size=9), st.sets(st.integers(0, 8)))
def test_every_step_ends_somewhere(edges: list[list[int]], failing: set[int]) -> None:
    needs = {str(n): [str(m) for m in edge if m < n] for n, edge in enumerate(edges)}
    outcomes: dict[str, Outcome] = {}
    while begun := ready(needs, outcomes):
        outcomes[begun[0]] = Outcome.FAILED if int(begun[0]) in failing else Outcome.DONE
    outcomes |= dict.fromkeys(cut_off(needs, outcomes), Outcome.CUT_OFF)
    assert set(outcomes) == set(needs)


def test_a_matrix_counts_its_last_name_fastest_and_has_a_limit() -> None:
    found = combinations({"a": [1, 2], "b": ["x", "y"]})
    assert [dict(each.values) for each in found] == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"},
    ]  # fmt: skip
    assert [each.values for each in combinations({})] == [()]
    with pytest.raises(TextFault, match="1000000 combinations"):
        combinations({"a": list(range(1000)), "b": list(range(1000))})


def test_a_run_is_the_same_in_every_time_zone_and_differs_in_every_part() -> None:
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    key = RunKey("j", noon, "c", "d")
    assert key.id == RunKey("j", noon.astimezone(timezone(timedelta(hours=5))), "c", "d").id
    others = [
        RunKey("k", noon, "c", "d"),
        RunKey("j", noon + timedelta(seconds=1), "c", "d"),
        RunKey("j", noon, "cd", ""),
        RunKey("j", noon, "c", "", "d"),
    ]
    keys = {each.id for each in (key, *others)} | {
        key.step_key("a"),
        key.step_key("a", 1),
        key.step_key("b"),
        others[0].step_key("a"),
    }
    assert len(keys) == 9
