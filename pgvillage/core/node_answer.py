"""What one node of a cluster says of itself to the routing API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """`position` is where a primary writes or a standby has replayed to, in bytes.

    `upstream_name` is what a standby calls itself to its primary; `synchronous` are the names of those whose
    confirmation a primary's commits wait for.
    """

    recovering: bool
    system: str
    timeline: int
    position: int
    upstream_name: str = ""
    synchronous: frozenset[str] = frozenset()
