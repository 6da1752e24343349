"""Who should have what among replicas: rendezvous hashing, and the gentle moves that lead there. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Member:
    """A live replica; one that is not `active` has just come, and nothing is its share yet."""

    name: str
    lease: int
    active: bool
    told: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose a unit is: the replica's lease, and the etcd revision that made the claim."""

    lease: int
    revision: int


@dataclass(frozen=True, slots=True)
class View:
    """What etcd says. A unit is a target or a duty, by its key; `wants` says which replica asks for it."""

    members: Mapping[str, Member]
    claims: Mapping[str, Claim]
    wants: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Moves:
    """`claim` what is free, `ask` the owner for, `unask` what is no longer our share, `give` up of what is ours."""

    claim: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    unask: tuple[str, ...] = ()
    give: frozenset[str] = frozenset()


def ranked(unit: str, members: Iterable[str]) -> list[str]:
    """The members, first who should have this unit, then who is next. A member's coming or going moves only its own."""
    return sorted(members, key=lambda member: _weight(unit, member), reverse=True)


@lru_cache(maxsize=65_536)
def _weight(unit: str, member: str) -> bytes:
    text = f"{len(member)}:{member}{unit}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest()


def decide(view: View, me: Member, known: Collection[str], window: int, patience: Mapping[str, int]) -> Moves:
    """What this replica does now.

    `known` are the units it knows of, `window` how many it asks others for at a time, and `patience` for a free unit
    how many better ones have let it lie for so long that it is no longer theirs alone.
    """
    active = [member.name for member in view.members.values() if member.active]
    ours = {unit for unit, claim in view.claims.items() if claim.lease == me.lease}
    give = {unit for unit in ours if unit not in known or _is_asked_for(unit, view, me, active)}
    asked = {unit for unit, name in view.wants.items() if name == me.name}
    if not me.active:
        return Moves(unask=tuple(sorted(asked)), give=frozenset(give))
    claim, due = [], []
    for unit in sorted(known):
        rank = ranked(unit, active).index(me.name)
        if unit not in view.claims:
            if rank <= patience.get(unit, 0):
                claim.append(unit)
        elif rank == 0 and unit not in ours:
            due.append(unit)
    unask = asked - set(due) - set(claim)
    ask = [unit for unit in due if unit not in asked][: max(0, window - len(asked - unask))]
    return Moves(tuple(claim), tuple(ask), tuple(sorted(unask)), frozenset(give))


def _is_asked_for(unit: str, view: View, me: Member, active: list[str]) -> bool:
    """By the one whose share it is; another's asking is of a time that has passed."""
    by = view.wants.get(unit)
    return by is not None and by != me.name and by in active and ranked(unit, active)[0] == by
