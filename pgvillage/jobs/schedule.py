"""When a schedule's runs are, across changes of the clock.

A time that the clock skips runs at the moment after the gap; one that it shows twice runs the first time only. Where
the hour is `*`, `*/n` or all of them, runs follow the clock as it is: what is skipped is skipped, what comes twice runs
twice, so that every hour stays every hour. `every` counts from 1970 in UTC and knows no clock changes.
"""

from __future__ import annotations

import heapq
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol

from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.wall import WallPattern
from pgvillage.jobs.zones import ClockChange, clock_changes, offset

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
# Nobody's clock has been changed by more than a day.
_LONGEST_CHANGE = timedelta(days=2)
_LAST_YEAR = 9990


class Schedule(Protocol):
    def runs(self, after: datetime) -> Iterator[datetime]:
        """Every run after this instant (aware), strictly increasing, in UTC, on whole seconds; may be endless."""


@dataclass(frozen=True)
class Every:
    """Each time that a whole number of intervals has passed since 1970."""

    interval: timedelta

    def __post_init__(self) -> None:
        if self.interval < _SECOND or self.interval % _SECOND:
            raise TextFault("an interval is whole seconds, at least one")

    def runs(self, after: datetime) -> Iterator[datetime]:
        count = (after - _EPOCH) // self.interval
        while True:
            count += 1
            if (run := _EPOCH + count * self.interval).year >= _LAST_YEAR:
                return
            yield run


@dataclass(frozen=True)
class Clock:
    """A wall clock's moments in a time zone. `hourly`: see the module."""

    pattern: WallPattern
    zone: zoneinfo.ZoneInfo
    hourly: bool = False

    def runs(self, after: datetime) -> Iterator[datetime]:
        utc = after.astimezone(UTC).replace(tzinfo=None)
        start = utc.replace(microsecond=0) + _SECOND
        change = self._change_before(start)
        while start.year < _LAST_YEAR:
            following = self._change_after(start)
            for run in self._between(start, change, following):
                yield run.replace(tzinfo=UTC)
            if following is None:
                return
            start, change = following.at, following

    def _between(self, start: datetime, change: ClockChange | None, end: ClockChange | None) -> Iterator[datetime]:
        """Runs from `start` up to the next change; `change` is the one before (or at) `start`, if it is near."""
        ahead = change.after if change else offset(self.zone, start)
        wall, last = start + ahead, end.at + ahead if end else None
        if change and not self.hourly:
            seen = change.at + change.before  # what the wall clock showed when it was changed
            if start == change.at and self._any(seen, wall):
                yield start
                wall += _SECOND
            wall = max(wall, seen)
        while (found := self.pattern.next(wall)) is not None and (last is None or found < last):
            yield found - ahead
            wall = found + _SECOND

    def _any(self, first: datetime, end: datetime) -> bool:
        found = self.pattern.next(first)
        return found is not None and found < end

    def _change_before(self, instant: datetime) -> ClockChange | None:
        near = (*clock_changes(self.zone, instant.year - 1), *clock_changes(self.zone, instant.year))
        recent = [each for each in near if instant - _LONGEST_CHANGE <= each.at <= instant]
        return recent[-1] if recent else None

    def _change_after(self, instant: datetime) -> ClockChange | None:
        """The next change; in a zone without any, none. One that is years away is found a year at a time."""
        for year in range(instant.year, min(instant.year + 2, _LAST_YEAR)):
            for each in clock_changes(self.zone, year):
                if each.at > instant:
                    return each
        ahead = offset(self.zone, instant)
        # Nothing changes in these two years: a pause in the walk, so that a change of later years is not passed over.
        return ClockChange(datetime(instant.year + 2, 1, 1), ahead, ahead)  # noqa: DTZ001


def merged(schedules: Iterable[Schedule], after: datetime) -> Iterator[datetime]:
    """The runs of several schedules, each instant once."""
    last: datetime | None = None
    for run in heapq.merge(*(schedule.runs(after) for schedule in schedules)):
        if run != last:
            yield run
        last = run


def next_runs(schedules: Iterable[Schedule], after: datetime, count: int) -> list[datetime]:
    """At most `count` runs after this instant."""
    return list(islice(merged(schedules, after), count))


def runs_between(schedules: Iterable[Schedule], after: datetime, until: datetime) -> Iterator[datetime]:
    """The runs after the one instant and not after the other."""
    for run in merged(schedules, after):
        if run > until:
            return
        yield run


def time_zone(name: str) -> zoneinfo.ZoneInfo:
    """Raises TextFault when there is none of this name."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise TextFault(f"unknown time zone {name}") from error


def known_zones() -> set[str]:
    """The names of all time zones; none where there is no time zone database."""
    return zoneinfo.available_timezones()
