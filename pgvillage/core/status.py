"""What the reconciler says about a target: conditions that people and programs read."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class Ready(enum.StrEnum):
    """Does the loop get on? Stalled: it can't without a person (a closed gate, a mistake in a manifest)."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Sync(enum.StrEnum):
    """Is live what Git says? Unknown where it was not read, not wholly, or too long ago."""

    SYNCED = "Synced"
    DRIFTED = "Drifted"
    UNKNOWN = "Unknown"


class Health(enum.StrEnum):
    """Does the target itself do well? Unknown where it could not be asked."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Suspension:
    """Nothing is applied while it lasts; `until` None: until somebody resumes."""

    by: str
    reason: str
    since: datetime
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target at one moment; times are UTC. `sync` is what the last look saw: show `sync_at` instead.

    `observed_at` is the last full look that succeeded, `fresh_until` three intervals after it. `changes` is everything
    that differs; `drift`, `held` and `pending` (merged, not applied) are parts of it. `reasons` say in words why it is
    not Ready, Synced or Healthy. `blocked` names the rules of closed gates, `digest` is what an approval approves.
    `nodes` is the document of the cluster's nodes that a look of this target asked last, with its own `observed_at`.
    """

    target: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ready: Ready = Ready.RECONCILING
    sync: Sync = Sync.UNKNOWN
    health: Health = Health.UNKNOWN
    reasons: tuple[str, ...] = ()
    observed_at: datetime | None = None
    fresh_until: datetime | None = None
    revision: str = ""
    digest: str = ""
    changes: int = 0
    drift: int = 0
    held: int = 0
    pending: int = 0
    drift_since: datetime | None = None
    blocked: tuple[str, ...] = ()
    suspension: Suspension | None = None
    failures: int = 0
    error: str = ""
    next_look: datetime | None = None
    replica: str = ""
    nodes: Mapping[str, Any] | None = None

    def fresh(self, now: datetime) -> bool:
        return self.fresh_until is not None and now < self.fresh_until

    def sync_at(self, now: datetime) -> Sync:
        """Never Synced, and never Drifted, by what was seen too long ago."""
        return self.sync if self.fresh(now) else Sync.UNKNOWN

    def suspended(self, now: datetime) -> bool:
        return self.suspension is not None and self.suspension.holds(now)
