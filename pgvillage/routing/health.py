"""Patroni's health checks for one node, decided by what is known of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sight:
    """One node now. `why` says what keeps it from being used, "" where nothing does; lag is None where unknown."""

    group: str
    node: str
    running: bool
    primary: bool
    standby: bool
    synchronous: bool = False
    timeline: int = 0
    lag: int | None = None
    seconds: float | None = None
    why: str = ""

    @property
    def role(self) -> str:
        return "primary" if self.primary else "replica" if self.standby else "unknown"

    def follows(self, most: int | None) -> bool:
        """A standby that lacks at most so many bytes; one whose lag is unknown only where nobody asks."""
        return self.standby and (most is None or (self.lag is not None and self.lag <= most))


Check = Callable[[Sight, "int | None"], bool]


def _primary(sight: Sight, _: int | None) -> bool:
    return sight.primary


def _replica(sight: Sight, lag: int | None) -> bool:
    return sight.follows(lag)


def _synchronous(sight: Sight, lag: int | None) -> bool:
    return sight.follows(lag) and sight.synchronous


def _asynchronous(sight: Sight, lag: int | None) -> bool:
    return sight.follows(lag) and not sight.synchronous


def _or_primary(check: Check) -> Check:
    return lambda sight, lag: sight.primary or check(sight, lag)


# As Patroni names them; what is a standby's there is "replica".
CHECKS: Mapping[str, Check] = {
    **dict.fromkeys(("primary", "master", "leader", "read-write"), _primary),
    "standby-leader": lambda _sight, _lag: False,
    "replica": _replica,
    **dict.fromkeys(("synchronous", "sync"), _synchronous),
    **dict.fromkeys(("asynchronous", "async"), _asynchronous),
    "read-only": _or_primary(_replica),
    "read-only-sync": _or_primary(_synchronous),
    "read-only-async": _or_primary(_asynchronous),
    "readiness": _or_primary(_replica),
    "health": lambda sight, _lag: sight.running,
    "liveness": lambda _sight, _lag: True,
}


def agent_word(check: str, sight: Sight, most: int | None) -> str:
    """What HAProxy's agent-check is told: a standby that is only too far behind ends its sessions in its own time."""
    if CHECKS[check](sight, most):
        return "up"
    return "drain" if sight.standby and CHECKS[check](sight, None) else "down"
