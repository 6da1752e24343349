"""When a channel hears of a concern: two looks agree, nothing is repeated, flapping wears a message out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pgvillage.core.notice import Told

_HOUR = 3600.0
_OPENINGS = 2  # so often in an hour the same is told; then it must have stayed for an hour to be told again
_REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw of a concern: `key` "" when all is well. It is believed after `needed` looks that agree."""

    key: str
    needed: int = 1
    risk: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Thread:
    """What a channel was told of a concern, and what was seen of it since; times are seconds of the epoch.

    `worn` counts how often a transition was told lately. `group` names the thread that speaks for this one, `members`
    those it speaks for.
    """

    told: str = ""
    seen: str = ""
    times: int = 0
    seen_since: float = 0.0
    since: float = 0.0
    risk: int = 0
    escalated: bool = False
    worn: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    cause: str = ""
    group: str = ""
    members: tuple[str, ...] = ()
    spoke: float = 0.0

    def as_state(self) -> dict[str, Any]:
        return asdict(self) | {"members": list(self.members), "worn": {k: list(v) for k, v in self.worn.items()}}


def thread_of(state: Mapping[str, Any]) -> Thread:
    """What `as_state` made; a state that makes no sense is as good as none, and costs one message."""
    try:
        known = {f.name: state[f.name] for f in fields(Thread) if f.name in state}
        known["members"] = tuple(map(str, known.get("members", ())))
        known["worn"] = {str(k): (int(n), float(at)) for k, (n, at) in known.get("worn", {}).items()}
        return Thread(**known)
    except (TypeError, ValueError, AttributeError):
        return Thread()


def step(thread: Thread, sight: Sight, now: float, escalate: float) -> tuple[Thread, Told | None]:
    """The thread after one more look, and what is to be told. `escalate`: seconds, 0 for never."""
    thread = _seen(thread, sight, now)
    if sight.key == thread.told:
        if sight.key and escalate and not thread.escalated and now - thread.since >= escalate:
            return replace(thread, escalated=True), Told.ESCALATED
        return thread, None
    if thread.times < sight.needed:
        return thread, None
    told = _transition(thread, sight)
    thread, tired = _wear(thread, sight.key or f"end of {thread.told}", now, _OPENINGS if sight.key else 1)
    if tired:
        return thread, None
    return _told(thread, sight, told, now), told


def corrected(thread: Thread, key: str, now: float) -> tuple[Thread, Told | None]:
    """The thread after we undid drift by this key, whether or not it had been told."""
    thread, tired = _wear(thread, f"correction of {key}", now, _OPENINGS)
    if tired:  # what is told as open ends when it has stayed away
        return thread, None
    return _told(replace(thread, seen="", times=1, seen_since=now), Sight(""), Told.CORRECTED, now), Told.CORRECTED


def told_before(thread: Thread, key: str) -> bool:
    """Whether this is not the first time lately."""
    return thread.worn.get(key, (0, 0.0))[0] > 1


def _seen(thread: Thread, sight: Sight, now: float) -> Thread:
    if thread.seen != sight.key or not thread.times:
        return replace(thread, seen=sight.key, times=1, seen_since=now)
    return replace(thread, times=min(thread.times + 1, max(sight.needed, 1, thread.times)))


def _transition(thread: Thread, sight: Sight) -> Told:
    if not sight.key:
        return Told.RESOLVED
    if not thread.told:
        return Told.OPENED
    return Told.ESCALATED if sight.risk > thread.risk else Told.CHANGED


def _told(thread: Thread, sight: Sight, told: Told, now: float) -> Thread:
    began = told is Told.OPENED
    return replace(
        thread,
        told=sight.key,
        since=now if began else thread.since,
        risk=sight.risk if began else max(thread.risk, sight.risk),
        escalated=thread.escalated and not began and bool(sight.key),
        cause=sight.cause,
    )


def _wear(thread: Thread, what: str, now: float, limit: int) -> tuple[Thread, bool]:
    """Count one more telling of `what`; True when it was told too often lately and has not stayed for an hour."""
    count, last = thread.worn.get(what, (0, 0.0))
    if now - last >= _HOUR:
        count = 0
    tired = count >= limit and now - thread.seen_since < _HOUR
    worn = {k: v for k, v in thread.worn.items() if k != what} | {what: (count if tired else count + 1, now)}
    return replace(thread, worn=dict(list(worn.items())[-_REMEMBERED:])), tired
