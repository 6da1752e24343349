"""Drift as chat messages: once per state of things, ten lines at most, nothing a name could ping or forge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgvillage.core.change import Change, Origin, Risk
from pgvillage.core.plan import Plan, TargetId, TargetPlan
from pgvillage.report.chat_plain import MARKS
from pgvillage.report.words import clipped, counted, field_line, remarks, show_text, shown_fields, symbol, title

_LINES = 10
_FIELDS = 3
_LINE_LENGTH = 280
_RISING = list(Risk)
_MIGHT = frozenset({"superuser", "createrole", "replication", "bypassrls"})


@dataclass(frozen=True, slots=True)
class DriftMessage:
    """`key` is the same for the same drift, whenever it is seen; `severity` is info, warning, error or resolved.

    `count` is of all changes, `risk` the place of the worst in `Risk`. `urgent` drift is told at its first sight: a
    power over the cluster, or who may connect from where. `cause` is the same on every target with the same changes.
    """

    key: str
    severity: str
    title: str
    lines: tuple[str, ...] = ()
    more: int = 0
    count: int = 0
    risk: int = 0
    urgent: bool = False
    cause: str = ""


def drift_message(plan: Plan, *, target: TargetId | str | None = None) -> DriftMessage:
    """The drift of one target, or of all in one message. Without drift it has no lines and severity info."""
    targets = [t for t in plan.targets if target is None or str(t.target) == str(target)]
    found = [(change, t) for t in targets for change in t.changes if change.origin is Origin.DRIFT]
    found.sort(key=lambda pair: _urgency(pair[0]))
    where = _where(targets, found, target)
    return DriftMessage(
        key=f"{where}:{_fingerprint(found)}",
        severity="info" if not found else "error" if any(_gained_might(change) for change, _ in found) else "warning",
        title=f"{where}: {counted(len(found), 'change')} by hand" if found else f"{where}: {_quiet(targets)}",
        lines=tuple(_line(change, t, several=len(targets) > 1) for change, t in found[:_LINES]),
        more=max(len(found) - _LINES, 0),
        count=len(found),
        risk=max((_RISING.index(change.risk) for change, _ in found), default=0),
        urgent=any(_gained_might(change) or _opens_a_door(change) for change, _ in found),
        cause=_fingerprint((change._replace(address=change.address._replace(target="")), t) for change, t in found),
    )


def _quiet(targets: Iterable[TargetPlan]) -> str:
    return "no drift" if all(t.complete for t in targets) else "no drift seen, but not everything could be read"


def _where(targets: Sequence[TargetPlan], found: Sequence[tuple[Change, TargetPlan]], asked: object) -> str:
    names = {str(t.target) for _, t in found} if len(targets) > 1 else {str(t.target) for t in targets}
    if asked is not None:
        names = {str(asked)}
    return show_text(names.pop(), 80) if len(names) == 1 else counted(len(names or targets), "target")


def _fingerprint(found: Iterable[tuple[Change, TargetPlan]]) -> str:
    """Over what differs and nothing else: no time, no revision, no sensitive value."""
    text = "\n".join(sorted(change.digest_part() for change, _ in found))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _gained_might(change: Change) -> bool:
    """Whether live has a power over the whole cluster that nobody asked for."""
    return any(f.name in _MIGHT and f.before and not f.after for f in change.fields)


def _opens_a_door(change: Change) -> bool:
    """A change of pg_hba: by itself, or in the cluster data of stolon."""
    return change.address.kind == "hba" or (change.address.kind == "stolon" and change.address.name[-1:] == ("pgHBA",))


def _urgency(change: Change) -> tuple[bool, int, str]:
    return not _gained_might(change), -_RISING.index(change.risk), str(change.address)


def _line(change: Change, plan: TargetPlan, *, several: bool) -> str:
    """`~ role etl: connection_limit: 5 → 20; will be corrected (users/etl.yaml:4)`."""
    what = f"{symbol(change.action)} {f'{plan.target} ' if several else ''}{title(change.address)}"
    fields = sorted(shown_fields(change), key=lambda f: f.name not in _MIGHT)
    facts = [field_line(change, f, "→") for f in fields[:_FIELDS]]
    facts += [counted(len(fields) - _FIELDS, "more field")] if len(fields) > _FIELDS else []
    seen = ", ".join([*facts, *remarks(change)])
    after = f"; {_next(change, plan)}" + (f" ({show_text(str(change.source), 60)})" if str(change.source) else "")
    after = clipped(after, _LINE_LENGTH - 80)
    return clipped(f"{what}: {seen}" if seen else what, _LINE_LENGTH - len(after)) + after


def _next(change: Change, plan: TargetPlan) -> str:
    if change.held:
        return f"held: {show_text(change.held, 100)}"
    return "waits for an approval" if plan.blocked else "will be corrected"


def _more(message: DriftMessage) -> list[str]:
    return [f"and {message.more} more"] if message.more else []


def as_text(message: DriftMessage) -> str:
    """As chat would show it, for a terminal."""
    head = f"{MARKS.get(message.severity, '·')} {message.title}"
    return "\n".join([head, *(f"┃ {line}" for line in (*message.lines, *_more(message)))])
