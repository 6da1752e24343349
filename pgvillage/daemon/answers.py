"""What the state database answers, as the API and the commands without a daemon give it. Every call blocks."""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from pgvillage.clients.state.pages import Mark, Page
from pgvillage.clients.state.state import State
from pgvillage.core.errors import UsageError
from pgvillage.core.plan import System
from pgvillage.core.status import TargetStatus
from pgvillage.report import state_models as answers
from pgvillage.report.cluster_answer import ClusterAnswer

_MOST_TARGETS = 30_000  # names in one question
LARGEST = (1 << 63) - 1  # number of a row


class NotFound(UsageError):
    """There is no such thing, or none that may be seen."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which targets: `within` is what the asker may see at all, the rest what it asks for. Empty is everything."""

    within: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    targets: Sequence[str] = ()
    sync: str = ""
    health: str = ""
    ready: str = ""

    @property
    def whole(self) -> bool:
        return not (self.within or self.labels or self.targets or self.sync or self.health or self.ready)

    def holds(self, status: TargetStatus, now: datetime) -> bool:
        wanted = [(self.sync, status.sync_at(now)), (self.health, status.health), (self.ready, status.ready)]
        return (
            _labelled(status, self.within)
            and _labelled(status, self.labels)
            and (not self.targets or status.target in self.targets)
            and all(not word or word.lower() == found.lower() for word, found in wanted)
        )


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Paging:
    limit: int = 100
    cursor: str = ""


FIRST = Paging()


class Answers:
    """Raises NotFound, UsageError for a cursor that is none, StateError."""

    def __init__(self, state: State, now: Callable[[], datetime]) -> None:
        self._state, self._now = state, now

    def targets(self, which: Selection = EVERYTHING, page: Paging = FIRST) -> answers.Targets:
        now, after = self._now(), _mark(page.cursor, str)
        every = sorted(self._state.statuses.all(), key=lambda s: s.target)  # not by the database's locale
        found = [s for s in every if which.holds(s, now) and (not after or s.target > str(after[0]))]
        shown = found[: page.limit]
        end = (shown[-1].target,) if len(found) > len(shown) else None
        return answers.Targets(targets=[answers.TargetAnswer.of(s, now) for s in shown], next=_cursor(end))

    def target(self, name: str, within: Mapping[str, str]) -> answers.TargetAnswer:
        return answers.TargetAnswer.of(self._status(name, within), self._now())

    def cluster(self, name: str, within: Mapping[str, str]) -> ClusterAnswer:
        """Its nodes, by the cluster's or the target's name, as the last look found them."""
        for target in (name, *(f"{name}:{system}" for system in System if system is not System.POSTGRES)):
            found = self._state.statuses.get(target)
            if found is not None and found.nodes is not None and _labelled(found, within):
                return ClusterAnswer.model_validate(found.nodes)
        self._status(name, within)
        raise NotFound(f"no nodes of {name} are known: no look has asked them yet, or it is a single server")

    def plan(self, name: str, digest: str, within: Mapping[str, str]) -> answers.PlanAnswer:
        """The one it stands at when `digest` is empty; a digest's beginning will do."""
        status = self._status(name, within)
        found = self._state.history.plan(name, digest or status.digest) if digest or status.digest else None
        if found is None and not digest:
            newest = self._state.history.plans(name, limit=1)
            found = newest[0] if newest else None
        if found is None:
            raise NotFound(f"there is no plan {digest[:64]!r} of {name}" if digest else f"{name} was not planned yet")
        return answers.PlanAnswer.of(found, current=found.digest == status.digest)

    def plans(self, which: Selection = EVERYTHING, page: Paging = FIRST) -> answers.Plans:
        found = self._state.pages.plans(self._names(which), page.limit, _mark(page.cursor, datetime, str, str))
        return answers.Plans(
            plans=[answers.PlanSummary.model_validate(each) for each in found.records], next=_end(found)
        )

    def runs(self, which: Selection = EVERYTHING, page: Paging = FIRST) -> answers.Runs:
        found = self._state.pages.runs(self._names(which), page.limit, _mark(page.cursor, datetime, str))
        return answers.Runs(runs=[answers.RunSummary.of(each) for each in found.records], next=_end(found))

    def run(self, identity: str, within: Mapping[str, str]) -> answers.RunAnswer:
        found = self._state.history.run(identity)
        if found is None or not self._may_see(found.target, within):
            raise NotFound(f"there is no run {identity[:40]!r}")
        return answers.RunAnswer.of(found)

    def drifts(self, which: Selection = EVERYTHING, page: Paging = FIRST, *, only_open: bool = True) -> answers.Drifts:
        mark = _mark(page.cursor, datetime, int)
        found = self._state.pages.drifts(self._names(which), page.limit, mark, only_open=only_open)
        return answers.Drifts(drifts=[answers.DriftAnswer.of(each) for each in found.records], next=_end(found))

    def events(self, after: int | None, which: Selection = EVERYTHING, limit: int = 500) -> answers.Events:
        """Behind `after`; None: the newest. A number that the database never gave is one of a lost database's."""
        names, last = self._names(which), self._state.events.last()
        if after is None:
            found = list(reversed(self._state.events.newest(names, limit)))
        else:
            found = self._state.events.after(0 if after > last else after, names, limit)
        reached = found[-1].id if found else last if after is None or after > last else after
        return answers.Events(events=[answers.EventAnswer.of(each) for each in found], last=reached)

    def audit(self, page: Paging = FIRST) -> answers.Audit:
        found = self._state.pages.audit(page.limit, _mark(page.cursor, int))
        return answers.Audit(audit=[answers.AuditAnswer.of(each) for each in found.records], next=_end(found))

    def _status(self, name: str, within: Mapping[str, str]) -> TargetStatus:
        found = self._state.statuses.get(name)
        if found is None or not _labelled(found, within):
            seen = [each.target for each in self._state.statuses.all() if _labelled(each, within)]
            near = difflib.get_close_matches(name[:100], seen, 1)
            raise NotFound(f"there is no target {name[:100]!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return found

    def _may_see(self, name: str, within: Mapping[str, str]) -> bool:
        found = self._state.statuses.get(name) if within else None
        return not within or (found is not None and _labelled(found, within))

    def _names(self, which: Selection) -> list[str] | None:
        """None is all, those that left the estate too; a named one is asked for even when it left."""
        if which.whole:
            return None
        if which.targets and not (which.within or which.labels or which.sync or which.health or which.ready):
            return list(which.targets)
        now = self._now()
        return [s.target for s in self._state.statuses.all() if which.holds(s, now)][:_MOST_TARGETS]


def _labelled(status: TargetStatus, labels: Mapping[str, str]) -> bool:
    return all(status.labels.get(key) == value for key, value in labels.items())


def _end(page: Page[Any]) -> str | None:
    return _cursor(page.end)


def _cursor(mark: Mark | None) -> str | None:
    if mark is None:
        return None
    plain = [[each.isoformat()] if isinstance(each, datetime) else each for each in mark]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def _mark(cursor: str, *shape: type) -> Mark | None:
    """Raises UsageError when it can't be one of ours; else it is only compared with, whatever it says."""
    if not cursor:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        mark = tuple(_part(each, kind) for each, kind in zip(found, shape, strict=True))
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError):
        raise UsageError("`cursor` is none of ours: take `next` of the page before as it is") from None
    return mark


def _part(found: Any, kind: type) -> datetime | str | int:
    value: Any = datetime.fromisoformat(found[0]).astimezone(UTC) if kind is datetime else found
    if type(value) is not kind:
        raise ValueError(kind)
    part: Any = value
    if (isinstance(part, str) and "\0" in part) or (isinstance(part, int) and not 0 <= part <= LARGEST):
        raise ValueError(kind)
    return cast("datetime | str | int", part)
