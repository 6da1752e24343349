"""Windows: when a restart may be, as the clock on the wall of a time zone says; pure, on instants in UTC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from pgvillage.estate.manifest.estate import WEEKDAYS, Window

_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
# A window that a clock change leaves out comes a week later.
_AHEAD = 16


@dataclass(frozen=True, slots=True)
class Opening:
    """The next time a window opens: the instant in UTC, and the window's own zone to say it in."""

    at: datetime
    zone: str

    def __str__(self) -> str:
        return f"{self.at.astimezone(_zone(self.zone)):%a %H:%M} {self.zone}"


def covering(windows: Iterable[Window], labels: Mapping[str, str]) -> tuple[Window, ...]:
    """Those that are about a cluster with these labels."""
    return tuple(w for w in windows if all(labels.get(key) == value for key, value in w.labels.items()))


def is_inside(window: Window, now: datetime) -> bool:
    """What counts is the clock on the wall: an hour that comes twice in autumn is in the window twice, and one that
    spring leaves out is not in it at all. After midnight the day is still that of the window's beginning.
    """
    local = now.astimezone(_zone(window.time_zone))
    clock, today = local.time(), WEEKDAYS[local.weekday()]
    if _begin(window) < _end(window):
        return today in window.days and _begin(window) <= clock < _end(window)
    yesterday = WEEKDAYS[local.weekday() - 1]
    return (today in window.days and clock >= _begin(window)) or (yesterday in window.days and clock < _end(window))


def next_opening(windows: Sequence[Window], now: datetime) -> Opening | None:
    """When the first of them opens after `now`, at which all are closed."""
    found = [Opening(at, window.time_zone) for window in windows if (at := _next(window, now)) is not None]
    return min(found, key=lambda opening: opening.at, default=None)


def _next(window: Window, now: datetime) -> datetime | None:
    zone = _zone(window.time_zone)
    today = now.astimezone(zone).date()
    for number in range(-1, _AHEAD):
        later = [at for at in _openings(window, zone, today + number * _DAY) if at > now]
        if later:
            return min(later)
    return None


def _openings(window: Window, zone: tzinfo, day: date) -> Iterator[datetime]:
    """The instants of a day at which the window opens."""
    noon = [datetime.combine(day + number * _DAY, time(12), zone) for number in (-1, 1)]
    if noon[0].utcoffset() == noon[1].utcoffset():
        at = datetime.combine(day, _begin(window), zone).astimezone(UTC)
        if is_inside(window, at):
            yield at
        return
    # Clocks change around this day: minute by minute, as a window may open at the change itself, or twice.
    at = datetime.combine(day, time(0), zone).astimezone(UTC) - timedelta(hours=3)
    before = is_inside(window, at - _MINUTE)
    for _ in range(30 * 60):
        inside = is_inside(window, at)
        if inside and not before:
            yield at
        before, at = inside, at + _MINUTE


def _begin(window: Window) -> time:
    return time.fromisoformat(window.from_)


def _end(window: Window) -> time:
    return time.fromisoformat(window.to)


def _zone(name: str) -> tzinfo:
    """UTC needs no time zone database."""
    return UTC if name == "UTC" else ZoneInfo(name)
