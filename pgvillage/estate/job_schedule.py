"""A Job's schedules, from what is written to what can be asked for its next runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time

from pgvillage.estate.manifest.duration import duration_of
from pgvillage.estate.manifest.job import JobSpec
from pgvillage.estate.manifest.job_schedule import Calendar, Month, Weekday
from pgvillage.estate.manifest.job_schedule import Schedule as Written
from pgvillage.estate.source_text import DocPath
from pgvillage.jobs.cron import parse_cron
from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.schedule import Clock, Every, Schedule, time_zone
from pgvillage.jobs.wall import DAYS, MONTHS, WEEKDAYS, WallPattern

_MONTHS: tuple[Month, ...] = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ANY = frozenset({0})


def written_schedules(spec: JobSpec) -> Iterator[tuple[Written, DocPath]]:
    """Each schedule and its place."""
    if spec.schedule is not None:
        yield spec.schedule, ("spec", "schedule")
    for index, schedule in enumerate(spec.schedules or ()):
        yield schedule, ("spec", "schedules", index)


def schedules_of(spec: JobSpec) -> list[Schedule]:
    """The schedules of a valid Job; none where it is not enabled or is run by hand only."""
    return [schedule_of(written) for written, _ in written_schedules(spec)] if spec.enabled else []


def schedule_of(written: Written) -> Schedule:
    """Raises TextFault where no such moment ever comes, or the zone or the cron line is none."""
    if written.every is not None:
        return Every(duration_of(written.every))
    zone = time_zone(written.time_zone)
    if written.cron is not None:
        pattern, hourly = parse_cron(written.cron)
        return Clock(pattern, zone, hourly)
    return Clock(_pattern(written.calendar or Calendar(at=["00:00"])), zone)


def _pattern(calendar: Calendar) -> WallPattern:
    if 0 in calendar.days or 0 in calendar.nth:
        raise TextFault("days and nth count from 1, or from -1 backwards", 0, "-1 is the last one")
    if calendar.nth and not calendar.weekdays:
        raise TextFault("`nth` says which of the `weekdays`, and there are none")
    pattern = WallPattern(
        hours=_ANY,
        minutes=_ANY,
        times=frozenset(time.fromisoformat(each) for each in calendar.at),
        months=frozenset(_MONTHS.index(each) + 1 for each in calendar.months) or MONTHS,
        days=frozenset(calendar.days) or DAYS,
        weekdays=frozenset(_WEEKDAYS.index(each) for each in calendar.weekdays) or WEEKDAYS,
        nth=frozenset(calendar.nth),
    )
    if not pattern.possible:
        raise TextFault("this day never comes", 0, "a date has to fit months, days, weekdays and nth, all of them")
    return pattern
