"""When a channel hears of a concern: transitions, flapping, escalation."""

from __future__ import annotations

import json

import pytest

from pgvillage.core.notice import Told
from pgvillage.daemon.chat_thread import Sight, Thread, corrected, step, thread_of

DAY = 86_400.0
PAUSE = 300.0


class Clock:
    """Looks at one concern, one interval after the other."""

    def __init__(self, escalate: float = DAY) -> None:
        self.thread, self.now, self.escalate = Thread(), 1_000_000.0, escalate
        self.told: list[str] = []

    def look(self, key: str, *, needed: int = 2, risk: int = 0, after: float = PAUSE) -> Told | None:
        self.now += after
        sight = Sight(key, needed if key else 1, risk)
        self.thread, told = step(self.thread, sight, self.now, self.escalate)
        self.thread = thread_of(json.loads(json.dumps(self.thread.as_state())))  # as the state database gives it back
        if told:
            self.told.append(str(told))
        return told

    def undo(self, key: str) -> Told | None:
        self.now += 1
        self.thread, told = corrected(self.thread, key, self.now)
        if told:
            self.told.append(str(told))
        return told


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([""], []),
        (["a"], []),
        (["a", ""], []),
        (["a", "a"], ["opened"]),
        (["a", "a", "a", "a"], ["opened"]),
        (["a", "b", "a", "b"], []),
        (["a", "a", "b"], ["opened"]),
        (["a", "a", "b", "b"], ["opened", "changed"]),
        (["a", "a", "b", "a", "b", "a"], ["opened"]),
        (["a", "a", ""], ["opened", "resolved"]),
        (["a", "a", "", ""], ["opened", "resolved"]),
        (["a", "a", "b", ""], ["opened", "resolved"]),
        (["a", "a", "", "b", "b", ""], ["opened", "resolved", "opened", "resolved"]),
    ],
)
def test_transitions(looks: list[str], told: list[str]) -> None:
    clock = Clock()
    for key in looks:
        clock.look(key)
    assert clock.told == told


def test_what_is_urgent_needs_no_second_look() -> None:
    clock = Clock()
    assert clock.look("a", needed=1) is Told.OPENED
    assert clock.look("a", needed=1) is None


@pytest.mark.parametrize("needed", [1, 2])
@pytest.mark.parametrize("pattern", [["a", "a", ""], ["a", "a", "", ""], ["a", "a", "b", "b"], ["a", ""]])
def test_flapping_100_times_makes_no_repetition(needed: int, pattern: list[str]) -> None:
    clock = Clock()
    for _ in range(100):
        for key in pattern:
            clock.look(key, needed=needed, after=30)
    assert len(clock.told) <= 4
    assert not clock.told or clock.told[0] == "opened"


def test_what_stays_after_flapping_is_told_after_an_hour() -> None:
    clock = Clock()
    for _ in range(100):
        clock.look("a", needed=1, after=30)
        clock.look("", after=30)
    assert clock.told == ["opened", "resolved", "opened"]  # the last word is that it is there
    for _ in range(13):
        clock.look("")
    assert clock.told == ["opened", "resolved", "opened", "resolved"]
    clock.look("a", needed=1, after=2 * DAY)
    assert clock.told[-1] == "opened"


def test_old_drift_escalates_once() -> None:
    clock = Clock()
    clock.look("a")
    clock.look("a")
    assert clock.look("a", after=DAY - PAUSE) is None
    assert clock.look("a") is Told.ESCALATED
    for _ in range(20):
        assert clock.look("a", after=DAY) is None
    assert clock.look("") is Told.RESOLVED
    clock.look("a")
    assert clock.look("a") is Told.OPENED
    assert clock.look("a", after=DAY) is Told.ESCALATED


def test_escalation_can_be_switched_off() -> None:
    clock = Clock(escalate=0)
    for _ in range(20):
        clock.look("a", after=DAY)
    assert clock.told == ["opened"]


def test_more_risk_escalates_less_is_a_change() -> None:
    clock = Clock()
    clock.look("a", needed=1, risk=1)
    assert clock.look("b", needed=1, risk=4) is Told.ESCALATED
    assert clock.look("c", needed=1, risk=2) is Told.CHANGED


def test_what_we_undo_again_and_again_is_told_twice_and_no_more() -> None:
    clock = Clock()
    for _ in range(100):
        clock.look("a", needed=1, after=30)
        clock.undo("a")
        clock.look("", after=30)
    assert clock.told == ["opened", "corrected", "opened", "corrected"]
    assert clock.thread.told == ""


def test_what_was_undone_before_it_was_told_is_told_once() -> None:
    clock = Clock()
    clock.look("a")
    assert clock.undo("a") is Told.CORRECTED
    assert clock.look("") is None
    assert clock.told == ["corrected"]


@pytest.mark.parametrize("state", [{}, {"worn": 3}, {"worn": {"a": None}}, {"members": 7}, {"told": "a", "unknown": 1}])
def test_a_broken_state_costs_a_message_and_no_more(state: dict[str, object]) -> None:
    thread, told = step(thread_of(state), Sight("b"), 1.0, 0)
    assert thread.told == "b"
    assert told is not None
