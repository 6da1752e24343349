"""Which moments of a wall clock a schedule means; knows no time zone."""

from __future__ import annotations

import calendar
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property

DAYS = frozenset(range(1, 32))
WEEKDAYS = frozenset(range(7))  # 0 is Monday
MONTHS = frozenset(range(1, 13))
# 29 February on a given day of the week is at most 40 years away; what does not come in that time never comes.
_YEARS = 41
_LAST_YEAR = 9990


@dataclass(frozen=True)
class WallPattern:
    """A set of dates, and the times of the day on each of them.

    `days` counts from 1, or from -1 backwards from the month's end. `nth` says which of the month's Mondays (and so on)
    is meant: 1 the first one, -1 the last one; empty is each. `either`: a date fits by its day or by its weekday.
    """

    hours: frozenset[int]
    minutes: frozenset[int]
    seconds: frozenset[int] = frozenset({0})
    months: frozenset[int] = MONTHS
    days: frozenset[int] = DAYS
    weekdays: frozenset[int] = WEEKDAYS
    nth: frozenset[int] = frozenset()
    either: bool = False
    # Exact times of the day in place of hours x minutes x seconds.
    times: frozenset[time] = frozenset()

    @cached_property
    def possible(self) -> bool:
        """Whether there is any such moment: 31 February is none."""
        return self.next(datetime(2000, 1, 1)) is not None  # noqa: DTZ001  (a wall clock has no zone)

    def next(self, start: datetime) -> datetime | None:
        """The first moment at or after `start` (naive, whole seconds); None when none comes."""
        if self._fits(start.date()) and (found := self._time_from(start.time())) is not None:
            return datetime.combine(start.date(), found)
        first = self._time_from(time.min)
        if first is None or start.year >= _LAST_YEAR:
            return None
        day = next(self._dates(start.date() + timedelta(days=1)), None)
        return None if day is None else datetime.combine(day, first)

    def _dates(self, start: date) -> Iterator[date]:
        for year in range(start.year, start.year + _YEARS + 1):
            for month in sorted(self.months):
                if (year, month) < (start.year, start.month):
                    continue
                for day in self._days_of(year, month):
                    if (found := date(year, month, day)) >= start:
                        yield found

    def _days_of(self, year: int, month: int) -> list[int]:
        length = calendar.monthrange(year, month)[1]
        return [day for day in range(1, length + 1) if self._fits_day(year, month, day, length)]

    def _fits(self, day: date) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        return day.month in self.months and self._fits_day(day.year, day.month, day.day, length)

    def _fits_day(self, year: int, month: int, day: int, length: int) -> bool:
        by_day = day in self.days or day - length - 1 in self.days
        by_weekday = calendar.weekday(year, month, day) in self.weekdays
        if self.either:
            return by_day or by_weekday
        return by_day and by_weekday and (not self.nth or not self.nth.isdisjoint(_turns(day, length)))

    def _time_from(self, start: time) -> time | None:
        """The first time of a day that fits, at or after this one."""
        if self.times:
            return min((each for each in self.times if each >= start), default=None)
        hours, minutes, seconds = self._sorted
        for hour in hours[bisect_left(hours, start.hour) :]:
            if hour > start.hour:
                return time(hour, minutes[0], seconds[0])
            for minute in minutes[bisect_left(minutes, start.minute) :]:
                if minute > start.minute:
                    return time(hour, minute, seconds[0])
                later = bisect_left(seconds, start.second)
                if later < len(seconds):
                    return time(hour, minute, seconds[later])
        return None

    @cached_property
    def _sorted(self) -> tuple[list[int], list[int], list[int]]:
        return sorted(self.hours), sorted(self.minutes), sorted(self.seconds)


def _turns(day: int, length: int) -> tuple[int, int]:
    """The third Monday of five is also the last but two: 3 and -3."""
    return (day - 1) // 7 + 1, -((length - day) // 7 + 1)
