"""What looks and applies leave in the state database: statuses, plans, drifts, and events on transitions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

from pgvillage.core.change import Origin
from pgvillage.core.history import DriftRecord, Event, PlanRecord
from pgvillage.core.plan import Plan, Status, TargetPlan
from pgvillage.core.run import TargetRun
from pgvillage.core.status import Suspension, TargetStatus
from pgvillage.daemon.look import EstateNews, Look
from pgvillage.daemon.memory import Memory
from pgvillage.report.json import plan_document
from pgvillage.report.words import counted

_LONGEST = 500
_SHOWN = 3

Told = Callable[..., Event]


class Recorder:
    """A Listener. What the database does not take is lost, and said by Memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._state = memory, memory.state
        self._before: dict[str, TargetStatus] = {}
        self._drift: dict[str, frozenset[str]] = {}
        self._estate: EstateNews | None = None

    async def looked(self, look: Look) -> None:
        if await self._memory.do("note a look", lambda: self._note(look), False):
            self._before[look.target] = look.status
            self._drift[look.target] = frozenset(_fingerprints(look.plan.targets[0]))

    async def keep(self, targets: Collection[str]) -> None:
        self._before = {name: status for name, status in self._before.items() if name in targets}
        self._drift = {name: found for name, found in self._drift.items() if name in targets}

    async def estate(self, news: EstateNews) -> None:
        """Statuses of targets that left the estate go; those of other replicas stay."""
        before, self._estate = self._estate, news
        if before == news:
            return
        if news.revision and (before is None or before.targets != news.targets):
            await self._memory.do("forget targets", lambda: self._state.statuses.keep(news.targets), None)
        for event in _of_estate(before, news):
            await self._memory.do("note an event", partial(self._state.events.add, event), None)

    def _note(self, look: Look) -> bool:
        """In a thread. Events come last: what they tell of can be looked up by then."""
        plan, status = look.plan.targets[0], look.status
        before = self._before.get(look.target) or self._state.statuses.get(look.target)
        self._state.statuses.put(status)
        if plan.status is Status.PLANNED:
            document = plan_document(look.plan) if plan.changes else {}
            if plan.changes:
                self._state.history.put_plan(_plan_record(look.plan, plan, document))
            self._note_drift(look, plan, document)
        drifted = self._drift.get(look.target)
        for event in events_of(before or TargetStatus(look.target), look, drifted):
            self._state.events.add(event)
        return True

    def _note_drift(self, look: Look, plan: TargetPlan, document: Mapping[str, Any]) -> None:
        at = plan.observed_at or look.status.observed_at
        if at is None:
            return
        seen = list(_drift_records(look, plan, document))
        if plan.unread:  # what was not read is not over
            known = {(record.address, record.fingerprint) for record in seen}
            still = self._state.history.drifts(look.target)
            seen += [record for record in still if (record.address, record.fingerprint) not in known]
        corrected = look.applied is not None and look.applied.done
        self._state.history.seen_drifts(look.target, seen, at, "corrected" if corrected else "gone")


def _plan_record(whole: Plan, plan: TargetPlan, document: Mapping[str, Any]) -> PlanRecord:
    assert plan.observed_at is not None
    return PlanRecord(str(plan.target), plan.digest, whole.revision, plan.observed_at, document, whole.subject)


def _drift_records(look: Look, plan: TargetPlan, document: Mapping[str, Any]) -> Iterator[DriftRecord]:
    """`document` is the plan's, empty where the plan has no changes."""
    documents = {change["address"]: change for target in document.get("targets", ()) for change in target["changes"]}
    at = plan.observed_at
    for change in plan.changes:
        if change.origin is Origin.DRIFT and at is not None:
            address = str(change.address)
            yield DriftRecord(
                target=look.target,
                address=address,
                fingerprint=_hashed(change.digest_part()),
                first_seen=at,
                last_seen=at,
                risk=str(change.risk),
                document=documents[address],
                owner=look.labels.get("team", ""),
            )


def _fingerprints(plan: TargetPlan) -> Iterator[str]:
    return (_hashed(change.digest_part()) for change in plan.changes if change.origin is Origin.DRIFT)


def _hashed(part: str) -> str:
    return hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def events_of(before: TargetStatus, look: Look, drifted: Collection[str] | None) -> Iterator[Event]:
    """The transitions from `before` to this look; `drifted` are the fingerprints of the drift seen last, if known."""
    status, plan = look.status, look.plan.targets[0]
    at = plan.observed_at or status.observed_at
    if at is None:
        return

    def event(reason: str, message: str, severity: str = "info") -> Event:
        return Event(at, look.target, reason, _line(message), severity, status.revision)

    if plan.status is not Status.PLANNED:
        if before.failures == 0 or before.error != status.error:
            yield event("Unreachable", status.error, "warning")
    elif before.failures:
        yield event("Reachable", f"read again after {counted(before.failures, 'failed look')}")
    if look.applied is not None:
        yield from _of_run(before, look.applied, event)
    if plan.status is Status.PLANNED:
        yield from _of_drift(before, look, drifted, event)
    if set(status.blocked) - set(before.blocked):
        yield event(
            "Blocked",
            "; ".join(f"{g.rule}: {g.message}" for g in plan.gates if g.rule in status.blocked and not g.open),
            "warning",
        )
    elif before.blocked and not status.blocked:
        yield event("Unblocked", f"no longer blocked by {', '.join(before.blocked)}")
    yield from _of_suspension(before.suspension, status.suspension, event)


def _of_run(before: TargetStatus, run: TargetRun, event: Told) -> Iterator[Event]:
    names = ", ".join(str(change.address) for change in run.done[:_SHOWN])
    more = f" and {len(run.done) - _SHOWN} more" if len(run.done) > _SHOWN else ""
    if run.done:
        yield event("Applied", f"{counted(len(run.done), 'change')}: {names}{more}")
    if run.error and run.error != before.error:
        yield event("ApplyFailed", f"{run.outcome}: {run.error}", "error")


def _of_drift(before: TargetStatus, look: Look, drifted: Collection[str] | None, event: Told) -> Iterator[Event]:
    plan, status = look.plan.targets[0], look.status
    found = [change for change in plan.changes if change.origin is Origin.DRIFT]
    news = not before.drift if drifted is None else set(_fingerprints(plan)) - set(drifted)
    if found and news:
        names = ", ".join(str(change.address) for change in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        yield event("DriftFound", f"{counted(status.drift, 'change')} by hand: {names}{more}", "warning")
    elif before.drift and not status.drift and not plan.unread:
        corrected = look.applied is not None and look.applied.done
        yield event("DriftCorrected" if corrected else "DriftGone", f"{counted(before.drift, 'change')} by hand undone")


def _of_suspension(before: Suspension | None, now: Suspension | None, event: Told) -> Iterator[Event]:
    if now is not None and (before is None or before.since != now.since):
        until = f" until {now.until:%Y-%m-%d %H:%M} UTC" if now.until else ""
        yield event("Suspended", f"by {now.by}{until}: {now.reason}", "warning")
    elif before is not None and now is None:
        yield event("Resumed", f"the suspension by {before.by} is over")


def _of_estate(before: EstateNews | None, news: EstateNews) -> Iterator[Event]:
    if news.fault and (before is None or before.fault != news.fault):
        yield Event(news.at, "", "EstateInvalid", _line(news.fault), "error", news.broken or news.revision)
    elif before is not None and before.fault and not news.fault:
        yield Event(news.at, "", "EstateValid", "the newest commit is in force again", "info", news.revision)
    if before is not None and before.revision != news.revision:
        yield Event(news.at, "", "NewCommit", _line(f"{news.revision[:12]} {news.subject}"), "info", news.revision)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
