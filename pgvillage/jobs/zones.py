"""When clocks of a time zone are changed."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ClockChange:
    """From `at` (UTC, naive) on the wall clock is `after` ahead of UTC; until then `before`."""

    at: datetime
    before: timedelta
    after: timedelta


def offset(zone: zoneinfo.ZoneInfo, instant: datetime) -> timedelta:
    """How far the wall clock is ahead at this instant (UTC, naive)."""
    return instant.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()


@lru_cache(maxsize=4096)
def clock_changes(zone: zoneinfo.ZoneInfo, year: int) -> tuple[ClockChange, ...]:
    """Those of this year (of UTC), in their order. Two changes within one day are seen as one or none."""
    found = []
    here, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001
    before = offset(zone, here)
    while here < end:
        there = min(here + _DAY, end)
        after = offset(zone, there)
        if after != before:
            found.append(ClockChange(_exactly(zone, here, there), before, after))
        here, before = there, after
    return tuple(found)


def _exactly(zone: zoneinfo.ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second with the offset of `high`."""
    before = offset(zone, low)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high
