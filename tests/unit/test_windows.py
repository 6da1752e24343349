"""Windows: by the clock on the wall, on the days when it is changed too."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pgvillage.engine.windows import Opening, covering, is_inside, next_opening
from pgvillage.estate.manifest.estate import WEEKDAYS, Window

MINUTE = timedelta(minutes=1)
AMSTERDAM = "Europe/Amsterdam"


def window(begin: str, end: str, days: str = "mon tue wed thu fri sat sun", zone: str = "UTC", **labels: str) -> Window:
    return Window.model_validate(
        {"days": days.split(), "from": begin, "to": end, "timeZone": zone, "labels": labels}
    )  # fmt: skip


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "inside"),
    [
        ("2026-11-28T00:59", False), ("2026-11-28T01:00", True), ("2026-11-28T02:59", True),
        ("2026-11-28T03:00", False), ("2026-11-29T01:00", True), ("2026-11-30T01:00", False),
        ("2026-07-04T00:00", True), ("2026-07-04T02:00", False),  # an hour earlier in summer
    ],
)  # fmt: skip
def test_the_begin_is_in_and_the_end_is_not(now: str, inside: bool) -> None:
    assert is_inside(window("02:00", "04:00", "sat sun", AMSTERDAM), utc(now)) is inside


@pytest.mark.parametrize(
    ("now", "inside"),
    [
        ("2026-11-27T23:00", False), ("2026-11-28T21:59", False), ("2026-11-28T22:00", True),
        ("2026-11-28T23:59", True), ("2026-11-29T00:00", True), ("2026-11-29T01:59", True),
        ("2026-11-29T02:00", False), ("2026-11-29T22:00", False), ("2026-11-28T01:00", False),
    ],
)  # fmt: skip
def test_across_midnight_the_day_is_that_of_the_begin(now: str, inside: bool) -> None:
    assert is_inside(window("22:00", "02:00", "sat"), utc(now)) is inside


def test_the_same_time_twice_is_a_whole_day() -> None:
    whole = window("06:00", "06:00", "sat")
    seen = [
        is_inside(whole, utc(t))
        for t in ("2026-11-28T05:59", "2026-11-28T06:00", "2026-11-29T05:59", "2026-11-29T06:00")
    ]
    assert seen == [False, True, True, False]


def minutes_open(found: Window, first: str, hours: int) -> int:
    return sum(is_inside(found, utc(first) + n * MINUTE) for n in range(hours * 60))


@pytest.mark.parametrize(
    ("begin", "end", "spring", "autumn"),
    [("02:00", "04:00", 60, 180), ("02:00", "02:45", 0, 90), ("01:30", "03:30", 60, 180), ("12:00", "13:00", 60, 60)],
)
def test_days_of_changed_clocks(begin: str, end: str, spring: int, autumn: int) -> None:
    """Between 2:00 and 3:00 there is nothing on 29 March 2026, and everything twice on 25 October."""
    found = window(begin, end, "sun", AMSTERDAM)
    assert minutes_open(found, "2026-03-28T22:00", 26) == spring
    assert minutes_open(found, "2026-10-24T21:00", 27) == autumn


@pytest.mark.parametrize(
    ("begin", "end", "now", "opens"),
    [
        ("02:00", "04:00", "2026-03-28T12:00", "2026-03-29T01:00"),  # at 3:00, which follows 1:59
        ("02:30", "02:45", "2026-03-28T12:00", "2026-04-05T00:30"),  # left out, so a week later
        ("02:30", "02:45", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("02:30", "02:45", "2026-10-25T00:50", "2026-10-25T01:30"),  # the hour comes a second time
        ("01:30", "02:15", "2026-10-25T00:20", "2026-10-25T01:00"),
        ("23:00", "23:30", "2026-03-29T22:00", "2026-04-05T21:00"),
    ],
)
def test_the_next_opening_around_them(begin: str, end: str, now: str, opens: str) -> None:
    assert next_opening([window(begin, end, "sun", AMSTERDAM)], utc(now)) == Opening(utc(opens), AMSTERDAM)


ZONES = [
    "UTC", AMSTERDAM, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Beirut", "America/Asuncion",
    "Pacific/Apia", "Pacific/Chatham", "Africa/Casablanca", "Antarctica/Troll",
]  # fmt: skip
CHANGES = ["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01", "2026-07-15"]


@pytest.mark.parametrize("seed", range(40))
def test_the_next_opening_is_the_first_minute_inside(seed: int) -> None:
    rng = random.Random(seed)

    def clock() -> str:
        return f"{rng.choice([0, 1, 2, 3, rng.randrange(24)]):02}:{rng.choice([0, 15, 30, 59]):02}"

    days = " ".join(rng.sample(WEEKDAYS, rng.choice([1, 2, 7])))
    found = [window(clock(), clock(), days, rng.choice(ZONES)) for _ in range(rng.choice([1, 2]))]
    now = utc(rng.choice(CHANGES)) + rng.randrange(-3 * 1440, 1440) * MINUTE
    while any(is_inside(each, now) for each in found):
        now += MINUTE * 7
        if now > utc("2026-12-30"):
            return  # always open
    opening = next_opening(found, now)
    assert opening is not None
    at = now
    while not any(is_inside(each, at) for each in found):
        at += MINUTE
    assert opening.at == at.replace(second=0)


@pytest.mark.parametrize("seed", range(20))
def test_inside_is_what_the_wall_says(seed: int) -> None:
    """The same told in another way: the minutes from the begin on, counted on the wall."""
    rng = random.Random(seed)
    begin, length = rng.randrange(1440), rng.randrange(1, 1440)
    end = (begin + length) % 1440
    day = rng.choice(WEEKDAYS)
    zone = rng.choice(ZONES)
    found = window(f"{begin // 60:02}:{begin % 60:02}", f"{end // 60:02}:{end % 60:02}", day, zone)
    for _ in range(300):
        now = utc("2026-01-01") + rng.randrange(365 * 1440) * MINUTE
        wall = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        monday = datetime.fromisoformat("2025-12-01") + timedelta(days=WEEKDAYS.index(day))
        since = (wall - monday) // MINUTE - begin
        assert is_inside(found, now) is (since % (7 * 1440) < length)


def test_labels_say_which_clusters() -> None:
    every, prod = window("01:00", "02:00"), window("03:00", "04:00", env="prod")
    assert covering([every, prod], {"env": "prod", "team": "a"}) == (every, prod)
    assert covering([every, prod], {"env": "test"}) == (every,)
    assert covering([prod], {}) == ()


def test_the_words() -> None:
    opening = next_opening([window("02:00", "04:00", "sat", AMSTERDAM)], utc("2026-11-23T12:00"))
    assert str(opening) == "Sat 02:00 Europe/Amsterdam"
