"""What one look says of each concern that chat is told about, and the words for it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from pgvillage.core.change import Origin
from pgvillage.core.notice import Notice, Told
from pgvillage.core.plan import Plan, Status, TargetPlan
from pgvillage.core.run import Outcome, TargetRun
from pgvillage.core.topology import Topology
from pgvillage.daemon.chat_thread import Sight
from pgvillage.daemon.look import Look
from pgvillage.report.chat import DriftMessage, drift_message
from pgvillage.report.words import approval, clipped, counted, show_text

_OWNERS = ("owner", "team")
_FAILED_LOOKS = 3
_NOBODYS = frozenset({"suspended", "window"})  # gates that wait for no person
_GATES = 10


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that can be well or not. `thread` names it for good; `notice` makes its message of a transition.

    `sight` None: this look says nothing of it. `corrected` is the key of drift that we just undid, `cause` its cause.
    """

    thread: str
    sight: Sight | None
    notice: Callable[[Told], Notice]
    corrected: str = ""
    cause: str = ""


def concerns(look: Look, url: str | None) -> Iterator[Concern]:
    """Everything that this look says; `url` is the dashboard's."""
    target = next((t for t in look.plan.targets if str(t.target) == look.target), None)
    if target is None:
        return
    base = Notice(
        kind="", told=Told.OPENED, severity="warning", key="", target=look.target, owner=owner_of(look.labels),
        link=link_to(url, look.target),
    )  # fmt: skip
    yield _drift(look, target, base)
    yield _unreachable(target, base)
    yield _failed(look.applied, target, base)
    yield _approval(target, base)
    yield _health(target, base)


def owner_of(labels: Mapping[str, str]) -> str:
    return next((labels[name] for name in _OWNERS if labels.get(name)), "")


def link_to(url: str | None, target: str) -> str:
    return f"{url.rstrip('/')}/targets/{quote(target, safe='')}" if url else ""


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _drift(look: Look, target: TargetPlan, base: Notice) -> Concern:
    """Drift that was undone in this very look is told as corrected; what is left of it counts from the next one."""
    undone = _undone(look.applied)
    left = replace(target, changes=tuple(c for c in target.changes if c.digest_part() not in undone))
    message = _message(look.plan, left)
    # While a cluster changes its primary, what is read of it may be half of the old one.
    known = target.status is Status.PLANNED and not target.unread and not _fails_over(target.topology)
    if undone and look.applied is not None:
        was = _message(look.plan, replace(target, changes=look.applied.done))
        sight = None if left.changes and message.lines else Sight("")
        notice = _of_drift(base, was)
        key = was.key if sight is not None else ""
        return Concern(f"drift {look.target}", sight, lambda told: _ended(notice, told), key, was.cause)
    needed = 1 if message.urgent or not message.lines else 2
    key = message.key if message.lines else ""
    sight = Sight(key, needed, message.risk, message.cause if key else "") if known and look.applied is None else None
    return Concern(f"drift {look.target}", sight, lambda told: _ended(_of_drift(base, message), told))


def _undone(run: TargetRun | None) -> frozenset[str]:
    return frozenset(c.digest_part() for c in run.done if c.origin is Origin.DRIFT) if run is not None else frozenset()


def _message(plan: Plan, target: TargetPlan) -> DriftMessage:
    return drift_message(replace(plan, targets=(target,)), target=target.target)


def _of_drift(base: Notice, message: DriftMessage) -> Notice:
    key = message.key if message.lines else ""
    return replace(
        base, kind="drift", severity=message.severity, key=message.key, held=key, count=message.count,
        lines=message.lines, more=message.more,
    )  # fmt: skip


def _ended(notice: Notice, told: Told) -> Notice:
    """The end of something is good news; how it was is told only where we undid it."""
    if told is Told.CORRECTED:
        done = tuple(line.replace("; will be corrected", "; corrected", 1) for line in notice.lines)
        return replace(notice, told=told, severity="resolved", held="", lines=done)
    if told is Told.RESOLVED:
        return replace(notice, told=told, severity="resolved", held="", count=0, lines=(), more=0, step="", detail="")
    return replace(notice, told=told)


def _unreachable(target: TargetPlan, base: Notice) -> Concern:
    lost = target.status is Status.UNREACHABLE
    key = f"{base.target}:unreachable"
    notice = replace(
        base, kind="unreachable", severity="error", key=key, held=key if lost else "",
        lines=(show_text(target.error, 300),) if target.error else (),
        step="it is looked at again and again; nothing is changed there until it answers",
    )  # fmt: skip
    sight = Sight(key, _FAILED_LOOKS, cause="unreachable") if lost else Sight("")
    return Concern(f"reach {base.target}", sight, lambda told: _ended(notice, told))


def _failed(run: TargetRun | None, target: TargetPlan, base: Notice) -> Concern:
    """What failed is over when an apply succeeds, or when there is nothing left to apply."""
    sight: Sight | None = None
    lines: tuple[str, ...] = ()
    key = ""
    if run is not None and run.outcome is Outcome.FAILED:
        key = f"{base.target}:{short_hash(run.error)}"
        sight = Sight(key)
        lines = (show_text(run.error, 380), f"{counted(len(run.done), 'change')} done, {len(run.left)} not done")
    elif (run is not None and run.outcome in (Outcome.DONE, Outcome.NOTHING)) or (
        run is None and target.complete and not target.applied_changes
    ):
        sight = Sight("")
    notice = replace(
        base, kind="failed", severity="error", key=key or f"{base.target}:applied", held=key, lines=lines,
        step="it is tried again, less and less often, and at once after a new commit",
    )  # fmt: skip
    return Concern(f"apply {base.target}", sight, lambda told: _ended(notice, told))


def _approval(target: TargetPlan, base: Notice) -> Concern:
    gates = [g for g in target.gates if not g.open and g.rule not in _NOBODYS]
    key = f"{base.target}:{target.digest[:16]}" if gates else ""
    lines = [clipped(f"{show_text(g.rule, 40)}: {show_text(g.message, 300)}", 380) for g in gates[:_GATES]]
    opens = gates and all(g.approvable for g in gates)
    notice = replace(
        base, kind="approval", key=key or f"{base.target}:open", held=key, count=len(target.applied_changes),
        lines=(*lines, *([f"digest: {target.digest}"] if opens else [])), more=max(len(gates) - _GATES, 0),
        step=f"if it is meant: {approval(base.target, target.digest)}" if opens else "",
    )  # fmt: skip
    sight = Sight(key) if target.status is Status.PLANNED else None
    return Concern(f"gate {base.target}", sight, lambda told: _ended(notice, told))


def _fails_over(found: Topology | None) -> bool:
    return found is not None and found.primary is None and not found.standby_cluster


def _health(target: TargetPlan, base: Notice) -> Concern:
    """A failover that is over before the next look is told to nobody; two primaries are, at once."""
    found = [p for p in target.topology.problems if p.severity == "error"] if target.topology is not None else []
    what = ",".join(sorted(f"{p.code} {p.node}" for p in found))
    key = f"{base.target}:health:{short_hash(what)}" if found else ""
    lines = tuple(show_text(problem.text, 380) for problem in found[:_GATES])
    notice = replace(
        base, kind="health", severity="error", key=key or f"{base.target}:healthy", held=key, count=len(found),
        lines=lines, more=max(len(found) - _GATES, 0),
        step=f"pgvillage get cluster {base.target.partition(':')[0]} --now",
    )  # fmt: skip
    split = any(problem.code == "two-primaries" for problem in found)
    asked = target.topology is not None or target.status is Status.PLANNED
    sight = Sight(key, 1 if split or not found else 2) if asked else None
    return Concern(f"health {base.target}", sight, lambda told: _ended(notice, told))


def estate_concern(revision: str, problem: str, url: str | None) -> Concern:
    """A commit that can't be applied anywhere; "" when the newest one can."""
    key = f"estate:{short_hash(problem)}" if problem else ""
    lines = [show_text(line, 380) for line in problem.splitlines() if line.strip()]
    notice = Notice(
        kind="estate", told=Told.OPENED, severity="error", key=key or "estate:valid", held=key,
        lines=tuple(lines[:_GATES]), more=max(len(lines) - _GATES, 0), detail=revision[:12], count=len(lines),
        step="the targets stay as the last valid commit says; correct it by another commit", link=url or "",
    )  # fmt: skip
    return Concern("estate", Sight(key), lambda told: _ended(notice, told))


def open_for(since: float, now: datetime) -> str:
    """`open for 26 hours`."""
    hours = int((now.timestamp() - since) // 3600)
    return f"open for {counted(hours, 'hour')}" if hours else "worse than before"
