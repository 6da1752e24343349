"""Where a target stands in one word with a reason, as pages and filters use it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pgvillage.core.status import Health, Ready, Sync, TargetStatus
from pgvillage.report.words import show_text

# Worst first; the tone is how loudly a page says it.
WORDS = {
    "blocked": ("bad", "Blocked"),
    "unreachable": ("bad", "Unreachable"),
    "degraded": ("bad", "Degraded"),
    "stalled": ("bad", "Stalled"),
    "stale": ("warn", "Not fresh"),
    "drifted": ("warn", "Drifted"),
    "unknown": ("warn", "Unknown"),
    "suspended": ("paused", "Suspended"),
    "pending": ("busy", "Pending"),
    "reconciling": ("busy", "Reconciling"),
    "synced": ("good", "Synced"),
}
_RANK = {word: rank for rank, word in enumerate(WORDS)}
TROUBLE = frozenset(word for word, (tone, _) in WORDS.items() if tone in ("bad", "warn"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`word` is the worst condition's key in WORDS, `all` every one that holds, `why` one line."""

    word: str
    all: frozenset[str]
    why: str

    @property
    def tone(self) -> str:
        return WORDS[self.word][0]

    @property
    def title(self) -> str:
        return WORDS[self.word][1]

    @property
    def rank(self) -> int:
        return _RANK[self.word]


def judge(status: TargetStatus, now: datetime) -> Verdict:
    """A suspension is nobody's trouble at night: what it hides is still among `all`."""
    holds = frozenset(_conditions(status, now)) or frozenset(["synced"])
    suspended = "suspended" in holds and not holds & {"degraded", "unreachable"}
    word = "suspended" if suspended else min(holds, key=_RANK.__getitem__)
    return Verdict(word, holds, _why(status, word))


def _conditions(status: TargetStatus, now: datetime) -> Iterable[str]:
    fresh = status.fresh(now)
    if status.blocked:
        yield "blocked"
    elif status.ready is Ready.STALLED:
        yield "stalled"
    if not fresh:
        yield "unreachable" if status.error else "stale" if status.observed_at else "unknown"
    if status.health is Health.DEGRADED:
        yield "degraded"
    if fresh and status.sync is Sync.UNKNOWN:
        yield "unknown"
    if fresh and status.sync is Sync.DRIFTED:
        # What is merged and waits is no drift, and differs all the same.
        yield "drifted" if status.drift or not status.pending else "pending"
    if status.pending:
        yield "pending"
    if status.ready is Ready.RECONCILING:
        yield "reconciling"
    if status.suspended(now):
        yield "suspended"


def _why(status: TargetStatus, word: str) -> str:
    said = "; ".join(status.reasons)
    if word == "suspended" and status.suspension is not None:
        return f"by {show_text(status.suspension.by)}: {show_text(status.suspension.reason)}"
    held = f", {status.held} held" if status.held else ""
    whys = {
        "blocked": said or f"by {', '.join(status.blocked)}",
        "unreachable": status.error,
        "drifted": f"{status.drift or status.changes} by hand{held}",
        "pending": f"{status.pending} merged, not applied",
        "stale": "not observed for too long",
        "synced": "",
    }
    return show_text(whys.get(word, said or status.error))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter of the estate: text, labels (`k=v` or `k`), one condition or `trouble`."""

    text: str = ""
    labels: tuple[str, ...] = ()
    condition: str = ""

    def admits(self, status: TargetStatus, verdict: Verdict) -> bool:
        if self.condition == "trouble" and verdict.tone not in ("bad", "warn"):
            return False
        if self.condition not in ("", "trouble") and self.condition not in verdict.all:
            return False
        mine = {f"{key}={value}" for key, value in status.labels.items()} | set(status.labels)
        if not mine.issuperset(self.labels):
            return False
        found = searched(status, verdict)
        return all(word in found for word in self.text.lower().split())


def searched(status: TargetStatus, verdict: Verdict) -> str:
    """What a filter's words are looked for in."""
    labels = " ".join(f"{key}={value}" for key, value in status.labels.items())
    words = " ".join(WORDS[each][1] for each in verdict.all)
    return f"{status.target} {labels} {words} {verdict.why}".lower()


Row = tuple[TargetStatus, Verdict]


def rows_of(statuses: Iterable[TargetStatus], now: datetime) -> list[Row]:
    """The worst first, the oldest drift before the younger, then by name."""
    found = [(status, judge(status, now)) for status in statuses]
    return sorted(found, key=lambda r: (r[1].rank, r[0].drift_since or now, r[0].target))


def counts_of(rows: Sequence[Row]) -> dict[str, int]:
    """How many targets each condition holds for, in the order of WORDS, and those in trouble."""
    counts = Counter(word for _, verdict in rows for word in verdict.all)
    found = {word: counts[word] for word in WORDS if counts[word]}
    return {"trouble": sum(verdict.tone in ("bad", "warn") for _, verdict in rows), **found}
