"""Which runs are due, after any time in which nobody was there to begin them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

from pgvillage.jobs.schedule import Schedule, runs_between

Policy = Literal["skip", "once", "all"]
MOST = 100
# Beyond this nobody counts: a year of seconds would be 31 million.
_COUNTED = 1_000
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Due:
    """`runs` are to begin, oldest first; `skipped` is how many are not, at least that many if `more`."""

    runs: tuple[datetime, ...] = ()
    skipped: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class Lateness:
    """A run up to `grace` late has not been missed; one that is later than `deadline` is given up."""

    grace: timedelta = timedelta(minutes=1)
    deadline: timedelta | None = None


def due(schedules: Sequence[Schedule], last: datetime, now: datetime, policy: Policy, late: Lateness) -> Due:
    """Runs after `last` (the latest one that was taken up, or the moment the job was first seen) and up to `now`.

    `once` is the newest run alone; `all` at most the newest MOST. A clock that was set back makes none.
    """
    if now <= last:
        return Due()
    oldest = last if late.deadline is None else max(last, now - late.deadline - _SECOND / 1_000_000)
    if policy == "skip":
        oldest = max(oldest, now - late.grace - _SECOND / 1_000_000)
    taken = newest(schedules, oldest, now, 1 if policy == "once" else MOST)
    # The others stand before the first one that is taken, or anywhere when none is.
    end = taken[0] if taken else now
    others = list(islice(runs_between(schedules, last, end), _COUNTED + 2))
    skipped = len([run for run in others if not taken or run < end])
    return Due(tuple(taken), min(skipped, _COUNTED), skipped > _COUNTED)


def newest(schedules: Sequence[Schedule], after: datetime, until: datetime, count: int) -> list[datetime]:
    """The last `count` runs after the one instant and not after the other, oldest first; bounded work for any span."""
    found = list(islice(runs_between(schedules, after, until), count + 1))
    if len(found) <= count:
        return found
    # Halve the span while more than enough runs are in its later part.
    low, high = after, until
    while high - low > _SECOND:
        middle = low + (high - low) / 2
        found = list(islice(runs_between(schedules, middle, until), count + 1))
        if len(found) == count:
            return found
        low, high = (middle, high) if len(found) > count else (low, middle)
    return list(runs_between(schedules, low, until))[-count:]
