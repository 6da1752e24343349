"""Who is named as the primary: split brains are refused and remembered, under any sequence of answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pgvillage.core.node_answer import NodeAnswer
from pgvillage.routing.judge import Group, Rules
from pgvillage.routing.memory import Memory, read, written

NODES = ("a", "b", "c")


def primary(timeline: int = 1, system: str = "s", position: int = 100) -> NodeAnswer:
    return NodeAnswer(recovering=False, system=system, timeline=timeline, position=position)


def standby(timeline: int = 1, system: str = "s", position: int = 100) -> NodeAnswer:
    return NodeAnswer(recovering=True, system=system, timeline=timeline, position=position)


@dataclass
class Stage:
    """A group whose time moves by a second with every answer."""

    group: Group = field(default_factory=lambda: Group("orders", Rules(down=2, up=2, age=100)))
    now: float = 0.0

    def __post_init__(self) -> None:
        self.group.use(NODES)

    def hear(self, name: str, answer: NodeAnswer | None, asked: float | None = None) -> None:
        """None: it did not answer."""
        self.now += 1
        at = self.now - 0.5 if asked is None else asked
        if answer is None:
            self.group.failed(name, at, self.now, "refused")
        else:
            self.group.answered(name, answer, at, self.now, "2026-01-01T00:00:00+00:00")

    def all(self, **answers: NodeAnswer | None) -> Stage:
        for name, answer in answers.items():
            self.hear(name, answer)
        return self

    @property
    def primary(self) -> str:
        return self.group.primary(self.now)

    @property
    def standbys(self) -> tuple[str, ...]:
        return self.group.standbys(self.now)

    @property
    def doubts(self) -> set[str]:
        return set(self.group.memory.doubts)


def settled() -> Stage:
    return Stage().all(a=primary(), b=standby(), c=standby())


def test_nobody_is_named_before_every_node_was_asked() -> None:
    stage = Stage().all(a=primary(), b=standby())
    assert stage.primary == ""
    stage.hear("c", None)
    assert (stage.primary, stage.standbys) == ("a", ("b",))


def test_a_primary_that_does_not_answer_once_is_still_the_primary() -> None:
    stage = settled().all(a=None)
    assert stage.primary == "a"
    stage.hear("a", None)
    assert stage.primary == ""
    stage.hear("a", primary())
    assert stage.primary == "", "it must answer twice to be up again"
    stage.hear("a", primary())
    assert stage.primary == "a"


def test_a_switchover_counts_at_once() -> None:
    stage = settled().all(a=standby(), b=primary(2))
    assert stage.primary == "b"
    assert not stage.doubts


def test_after_a_failover_the_new_one_is_named_without_waiting_for_the_old() -> None:
    stage = settled().all(a=None, b=primary(2))
    assert stage.primary == "b"


def test_while_the_old_one_was_not_asked_again_nobody_is_named() -> None:
    stage = settled().all(b=primary(2))
    assert (stage.primary, stage.group.urgent()) == ("", "a")
    stage.hear("a", standby(2))
    assert (stage.primary, stage.doubts) == ("b", set())


def test_an_old_one_that_hangs_holds_up_its_successor_for_one_question_only() -> None:
    stage = settled()
    asked_long_ago = stage.now + 0.1
    stage.all(b=primary(2)).all(b=primary(2))
    assert stage.primary == ""
    stage.hear("a", None, asked=asked_long_ago)
    assert stage.primary == "b"


def test_two_primaries_are_refused_and_remembered_when_one_goes() -> None:
    stage = settled().all(b=primary(2), a=primary(1))
    assert (stage.primary, stage.doubts) == ("", {"a"})
    stage.all(a=None, b=primary(2)).all(a=None, b=primary(2))
    assert (stage.primary, stage.doubts) == ("", {"a"})
    again = Group("orders", Rules(), read(written({"orders": stage.group.memory}))["orders"])
    assert set(again.memory.doubts) == {"a"}


def test_the_doubt_ends_with_a_standby_of_the_new_timeline() -> None:
    stage = settled().all(b=primary(2), a=primary(1))
    stage.hear("a", standby(1))
    assert stage.doubts == {"a"}, "a standby of the old timeline follows nobody that counts"
    stage.hear("a", standby(2, system="other"))
    assert stage.doubts == {"a"}
    stage.hear("a", standby(2))
    assert (stage.doubts, stage.primary) == (set(), "b")


def test_the_doubt_ends_by_an_operators_word() -> None:
    stage = settled().all(b=primary(2), a=primary(1)).all(a=None)
    stage.group.forget()
    assert stage.primary == ""
    stage.all(a=None, b=primary(2), c=standby(2))
    assert stage.primary == "b"


def test_an_older_timeline_after_a_restart_is_refused() -> None:
    stage = Stage(Group("orders", Rules(), Memory("s", 5, "b")))
    stage.all(a=primary(4), b=None, c=standby(4))
    assert (stage.primary, stage.doubts) == ("", {"a"})


def test_a_leader_that_came_back_older_is_refused() -> None:
    stage = Stage(Group("orders", Rules(), Memory("s", 5, "a"))).all(a=primary(3), b=standby(5), c=standby(5))
    assert (stage.primary, stage.doubts) == ("", {"a"})


def test_another_system_is_no_primary_and_no_standby() -> None:
    stage = settled().all(b=primary(9, system="foreign"), c=standby(1, system="foreign"))
    assert (stage.primary, stage.doubts, stage.standbys) == ("", {"b"}, ())


def test_two_on_one_timeline_are_refused_until_one_follows_the_other() -> None:
    stage = settled().all(b=primary(1), a=primary(1))
    assert (stage.primary, stage.doubts) == ("", {"b"})
    stage.all(a=standby(1), b=primary(1))
    assert (stage.primary, stage.doubts) == ("b", set())


def test_an_answer_that_was_asked_for_before_the_change_is_no_split_brain() -> None:
    stage = settled()
    before = stage.now + 0.1
    stage.all(b=primary(2))
    stage.hear("a", standby(1))
    assert stage.primary == "b"
    stage.hear("a", primary(1), asked=before)
    assert (stage.primary, stage.doubts) == ("", set()), "nobody is named until it is asked again"
    stage.hear("a", standby(2))
    assert stage.primary == "b"


def test_a_monitor_that_stood_still_names_nobody() -> None:
    stage = settled()
    assert stage.group.primary(stage.now + 101) == ""
    assert stage.group.standbys(stage.now + 101) == ()


def test_while_in_doubt_only_standbys_of_the_newer_side_are_named() -> None:
    stage = settled().all(b=primary(2), a=primary(1), c=standby(1))
    assert stage.standbys == ()
    stage.hear("c", standby(2))
    assert stage.standbys == ("c",)


def test_a_node_that_left_is_no_primary() -> None:
    stage = settled()
    stage.group.use(("b", "c"))
    assert stage.primary == ""
    stage.hear("b", primary(2))
    assert stage.primary == "b"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "groups": {}}', '{"format": 1, "groups": {"a": 1}}',
    '{"format": 1, "groups": {"a": {"system": 1, "timeline": 1, "leader": "", "doubts": []}}}'])  # fmt: skip
def test_a_damaged_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(text)


class AnyOrder(RuleBasedStateMachine):
    """Nodes that change as they like, answers that come late, and restarts of the monitor in between."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        self.newest = 0
        self.claimed: dict[str, NodeAnswer] = {}

    @rule(
        name=st.sampled_from(NODES), timeline=st.integers(1, 4), recovering=st.booleans(),
        system=st.sampled_from(("s", "s", "s", "t")), late=st.sampled_from((0.5, 0.5, 3.0)),
    )  # fmt: skip
    def answers(self, name: str, timeline: int, recovering: bool, system: str, late: float) -> None:
        answer = NodeAnswer(recovering, system, timeline, 100)
        self.stage.hear(name, answer, asked=self.stage.now + 1 - late)
        self.claimed[name] = answer

    @rule(name=st.sampled_from(NODES))
    def does_not_answer(self, name: str) -> None:
        self.stage.hear(name, None)
        self.claimed.pop(name, None)

    @rule()
    def restarts(self) -> None:
        kept = read(written({"orders": self.stage.group.memory}))["orders"]
        self.stage = Stage(Group("orders", Rules(down=2, up=2, age=100), kept), now=self.stage.now)
        self.claimed = {}

    @rule()
    def is_told_to_forget(self) -> None:
        self.stage.group.forget()
        self.newest, self.claimed = 0, {}

    @invariant()
    def names_at_most_one_and_the_newest(self) -> None:
        group = self.stage.group
        named = self.stage.primary
        if named:
            last = group.nodes[named].answer
            assert last is not None
            assert not last.recovering
            assert last.timeline >= self.newest, "a primary of an older timeline than one named before"
            assert not group.memory.doubts
            others = {name for name, answer in self.claimed.items() if not answer.recovering} - {named}
            assert not others, "another node's last word is that it is a primary too"
            self.newest = last.timeline
        assert named not in self.stage.standbys
        assert group.memory.timeline >= self.newest


AnyOrder.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
test_any_order = AnyOrder.TestCase
