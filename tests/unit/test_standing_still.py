"""Suspensions and windows: what stands still, and what an approval of it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgvillage.cli.times import duration, end_of, instant
from pgvillage.core.errors import UsageError
from pgvillage.core.plan import Gate, Plan, Status, TargetId, TargetPlan
from pgvillage.core.status import Suspension
from pgvillage.engine.standing_still import suspended
from pgvillage.usecases.outcome import exit_of_plan
from pgvillage.usecases.suspend import new_suspension
from tests.resources.case import Case, read_case

CASES = Path(__file__).parents[1] / "resources"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def case(name: str) -> Case:
    return read_case(CASES / name)


def test_the_digest_is_the_same_in_a_window_and_outside() -> None:
    """So an approval given on Friday is one of what is done on Saturday, and a saved plan is not stale by the hour."""
    waits, is_open, others = (case(f"parameter/window-{n}.yaml").plan for n in ("waits", "is-open", "of-others"))
    assert waits.digest == is_open.digest == others.digest
    assert len(waits.applied_changes) < len(is_open.applied_changes)
    assert [str(address) for address in waits.waiting] == ["c/parameter/shared_buffers"]
    assert not is_open.waiting


def test_what_is_held_for_another_reason_is_no_part_of_it() -> None:
    plan = case("parameter/window-waits.yaml").plan
    changes = tuple(c._replace(held=c.held or "drift") for c in plan.changes)
    assert replace(plan, changes=changes).digest != plan.digest


def test_an_approval_of_something_else_opens_nothing() -> None:
    found = case("parameter/window-waits.yaml")
    assert found.plan_with(["0" * 64]).waiting
    assert not found.plan_with([found.plan.digest]).waiting


def test_a_window_does_not_block_the_target() -> None:
    plan = case("parameter/window-waits.yaml").plan
    assert not plan.blocked
    assert exit_of_plan(Plan("r", (plan,)), detailed=False) == 0


def test_a_suspension_blocks_an_apply_and_not_a_plan() -> None:
    plan = case("role/suspended-for-good.yaml").plan
    assert plan.blocked
    assert exit_of_plan(Plan("r", (plan,)), detailed=False) == 0
    assert exit_of_plan(Plan("r", (plan,)), detailed=True) == 2
    both = TargetPlan(TargetId("c"), Status.PLANNED, gates=(*plan.gates, Gate("limit-drop", "x")))
    assert exit_of_plan(Plan("r", (both,)), detailed=False) == 4


@pytest.mark.parametrize(("seconds", "still"), [(-1, True), (0, False), (1, False)])
def test_it_ends_to_the_second(seconds: int, still: bool) -> None:
    found = Suspension("ann", "x", NOW - timedelta(hours=1), NOW)
    assert bool(suspended(found, NOW + timedelta(seconds=seconds), TargetId("c"))) is still


def test_a_long_reason_from_elsewhere_is_cut() -> None:
    (gate,) = suspended(Suspension("ann", "x" * 10_000, NOW), NOW, TargetId("c"))
    assert len(gate.message) < 400
    assert gate.message.endswith("…; `pgvillage resume c` ends it")


@pytest.mark.parametrize(
    ("by", "reason", "hours", "said"),
    [
        ("ann", "", None, "needs a reason"), ("ann", " \n\t ", None, "there is none"),
        ("ann", "x" * 501, None, "this one has 501"), ("ann", "x" * 10_000, None, "10,000"),
        ("ann", "a\0b", None, r"U\+0000"), ("ann", "a\x1b[31mb", None, r"U\+001B"),
        ("ann", "a\u202eb", None, r"U\+202E"),
        (" ", "x", None, "by whom"), ("a" * 201, "x", None, "by whom"), ("a\x07", "x", None, r"U\+0007"),
        ("ann", "x", 0, "would end before it begins"), ("ann", "x", -1, "2026-03-01 11:00 UTC is past"),
    ],
)  # fmt: skip
def test_what_is_no_suspension(by: str, reason: str, hours: int | None, said: str) -> None:
    until = NOW + timedelta(hours=hours) if hours is not None else None
    with pytest.raises(UsageError, match=said):
        new_suspension(by, reason, NOW, until)


def test_the_words_are_kept_in_one_line() -> None:
    found = new_suspension("o'brien", 'swap\n "disk" <script>@here {} %s', NOW)
    assert found.reason == 'swap "disk" <script>@here {} %s'


@pytest.mark.parametrize(
    ("text", "minutes"), [("90m", 90), ("2h", 120), ("3d", 4320), ("1d12h", 2160), ("1w", 10080), ("1H30M", 90)]
)
def test_durations(text: str, minutes: int) -> None:
    assert duration(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2h1d", "1.5h", "2 h", "²h", "99999999h", "2s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError, match="expected a duration"):
        duration(text)


def test_times_are_utc_unless_they_say_otherwise() -> None:
    assert instant("2026-12-01T10:00") == instant("2026-12-01T11:00+01:00") == datetime(2026, 12, 1, 10, tzinfo=UTC)
    assert instant("2026-12-01") == datetime(2026, 12, 1, tzinfo=UTC)
    for text in ("", "tomorrow", "2026-13-01", "10:00", "0001-01-01T00:00+10:00"):
        with pytest.raises(UsageError, match="expected a time"):
            instant(text)


def test_one_end() -> None:
    assert end_of(None, None, NOW) is None
    assert end_of(None, "2h", NOW) == NOW + timedelta(hours=2)
    with pytest.raises(UsageError, match="not both"):
        end_of("2026-12-01", "2h", NOW)
