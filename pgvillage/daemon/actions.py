"""What people may ask of the reconciler, by API or dashboard: checked, noted in the audit, and passed to the loops."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgvillage.clients.state.state import State
from pgvillage.core.errors import UsageError
from pgvillage.core.history import Approval, AuditEntry, Event, Request
from pgvillage.core.status import Suspension, TargetStatus
from pgvillage.usecases.suspend import new_suspension

_APPROVED_FOR = timedelta(days=7)
_MOST = 500  # characters of a comment
_DIGEST = 64


class Role(enum.StrEnum):
    """Who may do what: a viewer looks, an approver approves and asks for a look, an admin suspends and resumes too."""

    VIEWER = "viewer"
    APPROVER = "approver"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who acts: how they are called, what they may do, and where they came from."""

    name: str
    role: Role
    address: str = ""


class NotAllowed(Exception):
    """The role does not allow it; in words for the person."""


class Actions:
    """Every call blocks for a moment. Raises NotAllowed, UsageError for what makes no sense."""

    def __init__(self, state: State, now: Callable[[], datetime], wake: Callable[[str], None]) -> None:
        self._state, self._now, self._wake = state, now, wake

    def reconcile(self, target: str, who: Who) -> None:
        self._checked(target, who, Role.APPROVER)
        self._passed(Request(target, "reconcile", who.name, self._now()), who, "")

    def suspend(self, target: str, reason: str, until: datetime | None, who: Who) -> Suspension:
        self._checked(target, who, Role.ADMIN)
        now = self._now()
        found = new_suspension(who.name, reason, now, until)
        self._state.decisions.suspend(target, found)
        self._passed(Request(target, "suspend", who.name, now), who, found.reason)
        return found

    def resume(self, target: str, who: Who) -> None:
        self._checked(target, who, Role.ADMIN)
        self._state.decisions.resume(target)
        self._passed(Request(target, "resume", who.name, self._now()), who, "")

    def approve(self, target: str, digest: str, comment: str, who: Who) -> Approval:
        """Consent to what the target's newest plan would do, and to nothing else: `digest` must be that plan's."""
        status = self._checked(target, who, Role.APPROVER)
        if len(digest) != _DIGEST or status.digest != digest:
            raise UsageError(
                f"{target} has another plan by now ({status.digest[:12]}): look at that before you approve"
            )
        if not status.blocked:
            raise UsageError(f"nothing waits for an approval on {target}")
        now = self._now()
        found = Approval(target, digest, who.name, now, now + _APPROVED_FOR, comment[:_MOST])
        self._state.decisions.approve(found)
        self._passed(Request(target, "approve", who.name, now), who, digest[:12])
        return found

    def _checked(self, target: str, who: Who, needed: Role) -> TargetStatus:
        if not who.role.may(needed):
            raise NotAllowed(f"{who.name} is {who.role}; this needs {needed}")
        status = self._state.statuses.get(target)
        if status is None:
            raise UsageError(f"there is no target {target!r}")
        return status

    def _passed(self, request: Request, who: Who, detail: str) -> None:
        entry = AuditEntry(request.at, who.name, request.verb, request.target, detail, who.address)
        self._state.decisions.note(entry)
        self._state.decisions.ask(request)
        words = f"{who.name}: {request.verb}" + (f" ({detail})" if detail else "")
        self._state.events.add(Event(request.at, request.target, request.verb.capitalize(), words))
        self._wake(request.target)
