"""What the reconciler remembers: plans, runs, drifts, decisions of people, events. Losing it loses history only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A target's plan as it was first seen with this digest; `document` is its JSON as `plan -o json` prints it."""

    target: str
    digest: str
    revision: str
    made_at: datetime
    document: Mapping[str, Any]
    subject: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One apply on one target; `outcome` is empty while it is under way. `approved_by` opened its gates."""

    id: str
    target: str
    digest: str
    revision: str
    started_at: datetime
    replica: str
    ended_at: datetime | None = None
    outcome: str = ""
    done: int = 0
    left: int = 0
    error: str = ""
    approved_by: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """One change by hand, from first seen to gone; `document` is the change as a plan's JSON has it, no secret in it.

    `ended` is empty while it is open, then: corrected, gone (it was undone by hand, or Git now says so).
    """

    target: str
    address: str
    fingerprint: str
    first_seen: datetime
    last_seen: datetime
    risk: str
    document: Mapping[str, Any]
    ended_at: datetime | None = None
    ended: str = ""
    owner: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's consent to one plan's digest on one target; good until `until`."""

    target: str
    digest: str
    by: str
    at: datetime
    until: datetime
    comment: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked of the loops: reconcile (look now, and apply by policy)."""

    target: str
    verb: str
    by: str
    at: datetime
    id: int = 0


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what through the API or the dashboard; `address` is where the request came from."""

    at: datetime
    who: str
    action: str
    target: str
    detail: str = ""
    address: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """A transition that people watch: `reason` is one CamelCase word (DriftFound, Applied, Blocked, Unreachable…).

    `id` grows; what a watcher saw last is where it goes on.
    """

    at: datetime
    target: str
    reason: str
    message: str
    severity: str = "info"
    revision: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """A chat message that waits to be delivered, or was; `body` is what renderers render, not what a service gets.

    `key` is target + hash of the normalised changes; `thread` names what it updates in place.
    """

    channel: str
    key: str
    thread: str
    body: Mapping[str, Any]
    made_at: datetime
    due: datetime
    tries: int = 0
    error: str = ""
    delivered_at: datetime | None = None
    id: int = 0
