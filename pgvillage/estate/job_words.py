"""A Job's schedule in words, and when it runs next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pgvillage.estate.job_schedule import schedules_of, written_schedules
from pgvillage.estate.manifest.job import JobSpec
from pgvillage.estate.manifest.job_schedule import Calendar
from pgvillage.estate.manifest.job_schedule import Schedule as Written
from pgvillage.jobs.schedule import next_runs, time_zone


def schedule_words(spec: JobSpec) -> str:
    """`0 3 * * * Europe/Amsterdam; every 5m`, `by hand`."""
    words = "; ".join(_words(written) for written, _ in written_schedules(spec)) or "by hand"
    return words if spec.enabled else f"off ({words})"


def zones_of(spec: JobSpec) -> list[str]:
    """The time zones that the schedules name, each once, in their order; UTC where there is none."""
    written = (each.time_zone for each, _ in written_schedules(spec) if each.every is None)
    return list(dict.fromkeys(written)) or ["UTC"]


def next_words(spec: JobSpec, now: datetime) -> str:
    """`next 2026-11-25 03:00:00+01:00 Europe/Amsterdam`, "" where no run comes by itself."""
    found = next_runs(schedules_of(spec), now, 1)
    if not found:
        return ""
    zone = zones_of(spec)[0]
    return f"next {found[0].astimezone(time_zone(zone)).isoformat(sep=' ')} {zone}"


def _words(written: Written) -> str:
    if written.every is not None:
        return f"every {written.every}"
    text = written.cron if written.cron is not None else " ".join(_calendar(written.calendar or Calendar(at=["00:00"])))
    return f"{text} {written.time_zone}"


def _calendar(calendar: Calendar) -> Iterator[str]:
    parts = (("", calendar.weekdays), ("nth ", calendar.nth), ("days ", calendar.days), ("", calendar.months))
    for label, values in parts:
        if values:
            yield label + ",".join(map(str, values))
    yield f"at {','.join(calendar.at)}"
