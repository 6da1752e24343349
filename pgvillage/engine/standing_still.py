"""What makes a target, or its restarts, wait: a suspension, and windows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pgvillage.core.change import Change, Risk
from pgvillage.core.plan import Gate, TargetId
from pgvillage.core.status import Suspension
from pgvillage.engine.kind import Context
from pgvillage.engine.windows import covering, is_inside, next_opening

_IN_WINDOWS = (Risk.RESTART, Risk.LOSS)
_SHOWN = 300  # characters of a reason


def suspended(found: Suspension | None, now: datetime, target: TargetId) -> Iterable[Gate]:
    """`now` and `until` are both clocks of ours: the server's is not asked."""
    if found is None or not found.holds(now):
        return []
    return [Gate("suspended", f"{suspension_words(found)}; `pgvillage resume {target}` ends it", approvable=False)]


def suspension_words(found: Suspension) -> str:
    until = f" until {found.until:%Y-%m-%d %H:%M} UTC" if found.until else ""
    reason = " ".join(found.reason.split())
    reason = reason if len(reason) <= _SHOWN else f"{reason[: _SHOWN - 1]}…"
    return f"suspended by {found.by}{until}: {reason}"


def next_window(changes: Iterable[Change], context: Context) -> str:
    """When what would restart or lose something now may be done, in words; "" when it may now, or there is nothing."""
    if not any(_needs_window(change) for change in changes):
        return ""
    windows = covering(context.view.policy.windows, context.view.cluster.metadata.labels)
    if not windows or any(is_inside(window, context.now) for window in windows):
        return ""
    return str(next_opening(windows, context.now) or "none will open")


def closed_since(context: Context, now: datetime) -> str:
    """When the next window begins, in words, of a cluster whose windows are all closed by now; "" while one is open."""
    windows = covering(context.view.policy.windows, context.view.cluster.metadata.labels)
    if not windows or any(is_inside(window, now) for window in windows):
        return ""
    return str(next_opening(windows, now) or "none will open")


def window_gate(changes: Iterable[Change], when: str) -> Gate:
    late = [str(change.address) for change in changes if _needs_window(change)]
    names = ", ".join(late[:3]) + (f" and {len(late) - 3} more" if len(late) > 3 else "")
    return Gate("window", f"{names}: outside of every window; the next one begins {when}", blocking=False)


def hold_for_window(changes: Iterable[Change], when: str) -> list[Change]:
    return [c._replace(held=f"waits for its window: {when}") if _needs_window(c) else c for c in changes]


def _needs_window(change: Change) -> bool:
    return not change.held and change.risk in _IN_WINDOWS
