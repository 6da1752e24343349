"""Fences: a replica's right to write to a target, as a number that grows with every change of hands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fence:
    """`token` grows with etcd's revisions: the later of two holders has the greater, and a target refuses the lesser.

    0 is that of a command at a terminal or of a daemon that is alone: the target's own lock decides.
    """

    token: int
    holder: str


NO_FENCE = Fence(0, "")
