"""Order and holding, with made-up changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Origin, Source
from pgvillage.core.errors import PgVillageError
from pgvillage.core.state import State
from pgvillage.engine.order import dependencies, waves
from pgvillage.engine.policy import hold_dependents

STATE = State()
graphs = st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8)


def at(number: int) -> Address:
    return Address("c", "k", (str(number),))


def change(number: int, action: Action) -> Change:
    before = None if action is Action.CREATE else STATE
    after = None if action is Action.DELETE else STATE
    return Change(at(number), action, before, after, (), Origin.GIT, Source())


@given(graphs, st.lists(st.sampled_from([Action.CREATE, Action.UPDATE, Action.DELETE]), min_size=8, max_size=8))
def test_topological_and_reversed_for_deletes(graph: list[list[int]], actions: list[Action]) -> None:
    needs = {at(n): [at(m) for m in found if m < n] for n, found in enumerate(graph)}  # no circles
    changes = [change(n, actions[n]) for n in range(len(graph))]
    by_address = {c.address: c for c in changes}
    depends = dependencies(changes, lambda address, _: needs[address])
    place = {c.address: number for number, wave in enumerate(waves(changes, depends)) for c in wave}
    assert place.keys() == by_address.keys()
    for address, found in needs.items():
        for needed in found:
            if by_address[needed].action is Action.DELETE:
                assert by_address[address].action is Action.CREATE or place[address] < place[needed]
            elif by_address[address].action is not Action.DELETE:
                assert place[needed] < place[address]


@given(graphs, st.integers(0, 7))
def test_who_needs_a_held_creation_is_held(graph: list[list[int]], which: int) -> None:
    needs = {at(n): [at(m) for m in found if m < n] for n, found in enumerate(graph)}
    changes = [change(n, Action.CREATE) for n in range(len(graph))]
    changes = [c._replace(held="x") if c.address == at(which) else c for c in changes]
    held = {c.address for c in hold_dependents(changes, needs) if c.held}
    for address, found in needs.items():
        assert (address in held) is (address == at(which) or any(n in held for n in found))


def test_a_circle_is_said() -> None:
    changes = [change(1, Action.CREATE), change(2, Action.CREATE)]
    with pytest.raises(PgVillageError, match="circle: c/k/1, c/k/2"):
        waves(changes, {at(1): (at(2),), at(2): (at(1),)})


def test_a_held_update_holds_no_creation_and_every_deletion() -> None:
    changes = [change(1, Action.UPDATE)._replace(held="x"), change(2, Action.CREATE), change(3, Action.DELETE)]
    held = hold_dependents(changes, {at(1): (), at(2): (at(1),), at(3): (at(1),)})
    assert [c.held for c in held] == ["x", "", "needs a change that is held"]
