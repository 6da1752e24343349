"""Schedules against a brute-force look at every minute, and what people are told about lines that are none."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgvillage.jobs.cron import parse_cron
from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.missed import MOST, Lateness, due, newest
from pgvillage.jobs.schedule import Clock, Every, merged, next_runs, runs_between, time_zone
from pgvillage.jobs.wall import WallPattern

MINUTE = timedelta(minutes=1)
ZONES = ("Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "UTC", "America/St_Johns", "Asia/Kolkata")
# Around changes of the clock in these zones, at a year's end, and at a leap day.
DAYS = [datetime.fromisoformat(f"{day}T00:00+00:00") for day in (
    "2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-04-03", "2026-10-02", "2027-12-31", "2028-02-28",
    "2005-10-29", "2006-04-01",
)]  # fmt: skip


def clock(text: str, zone: str = "Europe/Amsterdam") -> Clock:
    pattern, hourly = parse_cron(text)
    return Clock(pattern, time_zone(zone), hourly)


def _numbers(field: str, low: int, high: int) -> set[int]:
    """One field of the lines below, read in the plainest way."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


class Oracle:
    """Looks at each minute; shares no code with what it judges."""

    def __init__(self, text: str, zone: str) -> None:
        minute, hour, day, month, weekday = text.split()
        self.minutes, self.hours = _numbers(minute, 0, 59), _numbers(hour, 0, 23)
        self.days, self.months, self.weekdays = _numbers(day, 1, 31), _numbers(month, 1, 12), _numbers(weekday, 0, 7)
        self.either = not day.startswith("*") and not weekday.startswith("*")
        self.hourly = hour.startswith("*") or len(self.hours) == 24
        self.zone = zoneinfo.ZoneInfo(zone)

    def fits(self, wall: datetime) -> bool:
        day, weekday = wall.day in self.days, bool({wall.isoweekday(), wall.isoweekday() % 7} & self.weekdays)
        date = (day or weekday) if self.either else (day and weekday)
        return date and wall.month in self.months and wall.hour in self.hours and wall.minute in self.minutes

    def runs(self, start: datetime, end: datetime) -> list[datetime]:
        found, before = [], start.astimezone(self.zone)
        for number in range(1, (end - start) // MINUTE + 1):
            instant = start + number * MINUTE
            wall = instant.astimezone(self.zone)
            fits = self.fits(wall)
            if not self.hourly:
                fits = fits and wall.fold == 0
                skipped = wall.replace(tzinfo=None) - before.replace(tzinfo=None)
                for back in range(1, skipped // MINUTE):  # more than one minute on: the clock was put forward
                    fits = fits or self.fits(wall.replace(tzinfo=None) - back * MINUTE)
            if fits:
                found.append(instant)
            before = wall
        return found


@st.composite
def lines(draw: st.DrawFn) -> str:
    def field(low: int, high: int) -> str:
        number = st.integers(low, high)
        one = st.one_of(
            number.map(str),
            st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}"),
            st.tuples(number, number, st.integers(1, min(9, high))).map(lambda t: f"{min(t[:2])}-{max(t[:2])}/{t[2]}"),
        )
        return draw(
            st.one_of(
                st.just("*"),
                st.just(f"*/{draw(st.integers(1, high))}"),
                one,
                st.lists(one, min_size=2, max_size=3).map(",".join),
            )
        )

    hour = draw(st.sampled_from(["2", "1-3", "0,2,3", "23", "0", "2-3"])) if draw(st.booleans()) else field(0, 23)
    month = "*" if draw(st.booleans()) else field(1, 12)
    return f"{field(0, 59)} {hour} {field(1, 28)} {month} {field(0, 7)}"


@settings(max_examples=30, deadline=None)
@given(lines(), st.sampled_from(ZONES), st.sampled_from(DAYS), st.integers(0, 1439))
def test_runs_are_those_of_a_look_at_every_minute(line: str, zone: str, day: datetime, offset: int) -> None:
    start = day + offset * MINUTE
    end = start + timedelta(days=3)
    found = list(runs_between([clock(line, zone)], start, end))
    assert found == Oracle(line, zone).runs(start, end)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "line", ["30 2 * * *", "*/20 * * * *", "15 1-3 * * *", "0 0 * * *", "5 23 * * *", "*/10 2 * * *", "59 1 * * 0"]
)
def test_known_lines_around_every_change(line: str, zone: str) -> None:
    for day in DAYS:
        assert list(runs_between([clock(line, zone)], day, day + timedelta(days=2))) == Oracle(line, zone).runs(
            day, day + timedelta(days=2)
        )


@settings(max_examples=30, deadline=None)
@given(
    lines(), st.sampled_from(ZONES), st.sampled_from(DAYS), st.lists(st.integers(0, 3 * 86_400), min_size=1, max_size=6)
)
def test_no_run_is_lost_or_doubled_between_two_looks(line: str, zone: str, day: datetime, cuts: list[int]) -> None:
    schedule = clock(line, zone)
    whole = list(runs_between([schedule], day, day + timedelta(days=3)))
    assert all(one < other for one, other in pairwise(whole))
    moments = [day, *sorted(day + timedelta(seconds=cut) for cut in cuts), day + timedelta(days=3)]
    pieces = [run for one, other in pairwise(moments) for run in runs_between([schedule], one, other)]
    assert pieces == whole


@pytest.mark.parametrize(
    ("line", "zone", "after", "walls"),
    [
        # skipped: right after the gap
        ("30 2 * * *", "Europe/Amsterdam", "2026-03-28T12:00+01:00", "2026-03-29T03:00+02:00 2026-03-30T02:30+02:00"),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30", "2026-10-04T02:30+11:00"),
        # shown twice: the first time
        ("30 2 * * *", "Europe/Amsterdam", "2026-10-24T12:00+02:00", "2026-10-25T02:30+02:00 2026-10-26T02:30+01:00"),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00-04:00", "2026-11-01T01:30-04:00 2026-11-02T01:30-05:00"),
        # every hour stays every hour
        ("0 * * * *", "Europe/Amsterdam", "2026-10-25T01:30+02:00", "2026-10-25T02:00+02:00 2026-10-25T02:00+01:00"),
        ("0 * * * *", "Europe/Amsterdam", "2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00+00:00", "2104-02-29T00:00+00:00"),
        ("0 0 13 * fri", "UTC", "2026-11-10T12:00+00:00", "2026-11-13T00:00+00:00 2026-11-20T00:00+00:00"),
        ("15,45 30 2 * * *", "UTC", "2026-11-10T02:30:15+00:00", "2026-11-10T02:30:45+00:00 2026-11-11T02:30:15+00:00"),
    ],
)  # fmt: skip
def test_days_that_people_ask_about(line: str, zone: str, after: str, walls: str) -> None:
    expected = [datetime.fromisoformat(wall) for wall in walls.split()]
    assert next_runs([clock(line, zone)], datetime.fromisoformat(after), len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("0 0 31 2 *", "this day never comes", "that many days"),
        ("0 0 30 feb *", "this day never comes", ""),
        ("@dayly", "unknown word @dayly", "did you mean @daily?"),
        ("@reboot", "@reboot is no time", ""),
        ("@every 5m", "`@every` has a key of its own", "every: 5m"),
        ("0 0 L * *", "cron has no `L`", "days: [-1]"),
        ("0 0 15W * *", "cron has no `W`", "nth"),
        ("0 0 * * mon#1", "cron has no `#`", "nth: [1]"),
        ("0 0 ? * *", "cron has no `?`", "write `*`"),
        ("H 0 * * *", "cron has no `H`", ""),
        ("60 * * * *", "minute: expected 0 to 59, found 60", ""),
        ("0 0 * jab *", "month: expected 1 to 12 or jan to dec, found jab", "did you mean jan?"),
        ("5/15 * * * *", "a step needs a range before it", "write 5-59/15"),
        ("* * * * fri-mon", "the range fri-mon runs backwards", "write fri-sun,mon-mon"),
        ("*/0 * * * *", "expected a step from 1", ""),
        ("1, * * * *", "minute: expected 0 to 59, found nothing", ""),
        ("1 2 3", "expected 5 or 6 fields, found 3", "seconds"),
        ("٣ * * * *", "minute: expected 0 to 59", ""),
        ("1 " * 600, "at most 1000 characters", ""),
    ],
)
def test_lines_that_are_none(text: str, message: str, hint: str) -> None:
    with pytest.raises(TextFault) as caught:
        parse_cron(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" in caught.value.caret(text)


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789*/,-@#LW? \nabcdefjmnorstuvy", max_size=40))
def test_any_text_is_a_line_or_a_fault(text: str) -> None:
    try:
        pattern, _ = parse_cron(text)
    except TextFault as fault:
        caret = fault.caret(text).split("\n")
    else:
        caret = ["", ""]
        assert pattern.possible
    assert len(caret) == 2


def test_intervals_count_from_1970() -> None:
    after = datetime(2026, 11, 1, 12, 1, 30, 5, tzinfo=UTC)
    assert next_runs([Every(5 * MINUTE)], after, 2) == [
        after.replace(minute=5, second=0, microsecond=0),
        after.replace(minute=10, second=0, microsecond=0),
    ]
    exactly = datetime(1969, 12, 31, 23, 55, tzinfo=UTC)
    assert next_runs([Every(5 * MINUTE)], exactly, 1) == [datetime(1970, 1, 1, tzinfo=UTC)]
    with pytest.raises(TextFault):
        Every(timedelta(milliseconds=5))


def test_dates_of_a_month_count_from_both_ends() -> None:
    noon = {"hours": frozenset({12}), "minutes": frozenset({0})}
    last = Clock(WallPattern(**noon, days=frozenset({-1})), time_zone("UTC"))
    assert [r.day for r in next_runs([last], datetime(2028, 1, 1, tzinfo=UTC), 4)] == [31, 29, 31, 30]
    sundays = Clock(WallPattern(**noon, weekdays=frozenset({6}), nth=frozenset({1, -1})), time_zone("UTC"))
    assert [r.day for r in next_runs([sundays], datetime(2026, 11, 1, tzinfo=UTC), 4)] == [1, 29, 6, 27]
    friday = Clock(WallPattern(**noon, days=frozenset({13}), weekdays=frozenset({4})), time_zone("UTC"))
    assert next_runs([friday], datetime(2026, 11, 14, tzinfo=UTC), 1) == [datetime(2027, 8, 13, 12, tzinfo=UTC)]
    leap = WallPattern(**noon, months=frozenset({2}), days=frozenset({29}), weekdays=frozenset({0}))
    assert leap.possible
    assert not WallPattern(**noon, days=frozenset({31}), nth=frozenset({1})).possible


def test_several_schedules_make_one_row_of_runs() -> None:
    both = [clock("0 * * * *", "UTC"), clock("*/30 * * * *", "UTC")]
    found = list(islice(merged(both, datetime(2026, 1, 1, tzinfo=UTC)), 4))
    assert [(r.hour, r.minute) for r in found] == [(0, 30), (1, 0), (1, 30), (2, 0)]


NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


def test_a_day_of_downtime_by_each_policy() -> None:
    hourly = [clock("30 * * * *", "UTC")]
    last = NOW - timedelta(days=1)
    assert due(hourly, last, NOW, "skip", Lateness()).runs == ()
    assert due(hourly, last, NOW, "skip", Lateness()).skipped == 24
    assert due(hourly, last, NOW, "once", Lateness()).runs == (NOW - timedelta(minutes=30),)
    assert due(hourly, last, NOW, "once", Lateness()).skipped == 23
    every = due(hourly, last, NOW, "all", Lateness())
    assert (len(every.runs), every.skipped) == (24, 0)
    assert due(hourly, last, NOW, "skip", Lateness(grace=timedelta(hours=1))).runs == (NOW - timedelta(minutes=30),)
    given_up = due(hourly, last, NOW, "all", Lateness(deadline=timedelta(hours=2)))
    assert (len(given_up.runs), given_up.skipped) == (2, 22)
    assert due(hourly, NOW, last, "all", Lateness()) == due(hourly, NOW, NOW, "all", Lateness())


def test_a_year_of_seconds_does_not_make_millions_of_runs() -> None:
    found = due([clock("* * * * * *", "UTC")], NOW - YEAR, NOW, "all", Lateness())
    assert (len(found.runs), found.runs[-1], found.more) == (MOST, NOW, True)


@settings(max_examples=40, deadline=None)
@given(lines(), st.integers(1, 30), st.integers(1, 3_000))
def test_the_newest_runs_are_the_end_of_all_runs(line: str, count: int, hours: int) -> None:
    schedule, after = [clock(line)], NOW - timedelta(hours=hours)
    everything = list(islice(runs_between(schedule, after, NOW), 20_000))
    if len(everything) < 20_000:
        assert newest(schedule, after, NOW, count) == everything[-count:]
