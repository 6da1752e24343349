"""Shares among replicas: who should have what, and how few moves it takes. No server, no clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pgvillage.daemon.share_plan import Claim, Member, View, decide, ranked

TARGETS = [f"claims/cluster-{number:03}" for number in range(300)]
names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True)


@given(st.text(max_size=20), names)
def test_a_member_that_goes_moves_only_what_was_its_own(unit: str, members: list[str]) -> None:
    order = ranked(unit, members)
    for gone in members:
        assert ranked(unit, [m for m in members if m != gone]) == [m for m in order if m != gone]


@given(st.text(max_size=20), names)
def test_every_replica_sees_the_same_owner(unit: str, members: list[str]) -> None:
    assert ranked(unit, members) == ranked(unit, sorted(members)) == ranked(unit, reversed(members))


def test_shares_are_about_equal() -> None:
    counts = Counter(ranked(unit, ["a", "b", "c"])[0] for unit in TARGETS)
    assert all(70 <= counts[member] <= 130 for member in "abc"), counts


@dataclass
class Village:
    """etcd and replicas in memory; `changes` counts claims made and given up, `most` those of the busiest round."""

    known: dict[str, list[str]]
    members: dict[str, Member] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    wants: dict[str, str] = field(default_factory=dict)
    patience: dict[str, int] = field(default_factory=dict)
    changes: int = 0
    busiest: int = 0
    revision: int = 0

    def come(self, name: str, lease: int, *, active: bool = True) -> None:
        self.members[name] = Member(name, lease, active)

    def go(self, name: str) -> None:
        lease = self.members.pop(name).lease
        self.claims = {unit: claim for unit, claim in self.claims.items() if claim.lease != lease}
        self.wants = {unit: by for unit, by in self.wants.items() if by != name}

    def round(self) -> int:
        before = self.changes
        for name, me in list(self.members.items()):
            view = View(dict(self.members), dict(self.claims), dict(self.wants))
            moves = decide(view, me, self.known[name], 10, self.patience)
            for unit in moves.give:
                assert self.claims.pop(unit).lease == me.lease
            for unit in moves.unask:
                assert self.wants.pop(unit) == name
            for unit in moves.claim:
                assert unit not in self.claims
                self.revision += 1
                self.claims[unit] = Claim(me.lease, self.revision)
                self.wants.pop(unit, None)
            self.wants |= dict.fromkeys(moves.ask, name)
            self.changes += len(moves.give) + len(moves.claim)
        done = self.changes - before
        self.busiest = max(self.busiest, done)
        return done

    def settle(self) -> int:
        """Changes until nothing moves any more."""
        begin, quiet = self.changes, 0
        self.busiest = 0
        for _ in range(500):
            quiet = quiet + 1 if self.round() == 0 else 0
            if quiet == 3:
                assert not self.wants
                return self.changes - begin
        raise AssertionError("it never settles")

    def shares(self) -> Counter[str]:
        by_lease = {member.lease: member.name for member in self.members.values()}
        return Counter(by_lease[claim.lease] for claim in self.claims.values())


def of_three() -> Village:
    village = Village(dict.fromkeys("abc", TARGETS))
    for lease, name in enumerate("abc", 1):
        village.come(name, lease)
    assert village.settle() == 300
    return village


def test_of_three_that_share_300_one_dies_and_only_its_third_moves() -> None:
    village = of_three()
    theirs = village.shares()["b"]
    kept = {unit: claim for unit, claim in village.claims.items() if claim.lease != 2}
    village.go("b")
    assert village.settle() == theirs
    assert len(village.claims) == 300
    assert kept.items() <= village.claims.items()


def test_it_returns_and_there_is_no_storm() -> None:
    village = of_three()
    theirs = village.shares()["b"]
    village.go("b")
    village.settle()
    village.come("b", 4, active=False)
    assert village.settle() == 0, "one that has just come moves nothing"
    village.come("b", 4)
    assert village.settle() == 2 * theirs, "each of its third is given up once and claimed once"
    assert village.busiest <= 20
    assert village.shares()["b"] == theirs


def test_asking_ends_when_the_one_who_asks_dies() -> None:
    village = of_three()
    village.known["d"] = TARGETS
    village.come("d", 4)
    village.round()
    village.go("d")
    village.settle()
    assert len(village.claims) == 300
    assert sum(village.shares()[name] for name in "abc") == 300


def test_who_does_not_know_a_target_gets_none_and_is_asked_for_none() -> None:
    village = Village({"a": TARGETS, "b": TARGETS[:100]})
    village.come("a", 1)
    village.come("b", 2)
    village.settle()
    free = [unit for unit in TARGETS if unit not in village.claims]
    assert free
    assert all(ranked(unit, "ab")[0] == "b" for unit in free)
    village.patience = dict.fromkeys(free, 1)
    assert village.settle() == len(free), "the next one takes what was let lie, and keeps it"
    assert len(village.claims) == 300


def test_a_target_that_left_the_estate_is_given_up() -> None:
    village = of_three()
    for name in "abc":
        village.known[name] = TARGETS[:200]
    assert village.settle() == 100
    assert set(village.claims) == set(TARGETS[:200])
