"""Cron's five or six fields, and its words such as @daily."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from pgvillage.jobs.fault import TextFault, printable
from pgvillage.jobs.wall import WallPattern

_LONGEST = 1_000
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Kind("second", 0, 59),
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of the month", 1, 31),
    _Kind("month", 1, 12, _MONTHS),
    _Kind("day of the week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class _Field:
    values: frozenset[int]
    star: bool


def parse_cron(text: str) -> tuple[WallPattern, bool]:
    """The pattern, and whether it means every so many hours (so that clock changes neither skip nor join runs).

    Raises TextFault.
    """
    if len(text) > _LONGEST:
        raise TextFault(f"a cron line has at most {_LONGEST} characters, found {len(text)}")
    if text.strip().startswith("@"):
        text = _word(text.strip())
    pieces = [(match[0], match.start()) for match in re.finditer(r"\S+", text)]
    if len(pieces) not in (5, 6):
        hint = "minute, hour, day of the month, month, day of the week; before them seconds, if you like"
        raise TextFault(f"expected 5 or 6 fields, found {len(pieces)}", 0, hint)
    kinds = _FIELDS[-len(pieces) :]
    second = _Field(frozenset({0}), star=False)
    fields = [_field(piece, at, kind) for (piece, at), kind in zip(pieces, kinds, strict=True)]
    second, minute, hour, day, month, weekday = fields if len(fields) == 6 else [second, *fields]
    pattern = WallPattern(
        hours=hour.values,
        minutes=minute.values,
        seconds=second.values,
        months=month.values,
        days=day.values,
        weekdays=frozenset((each - 1) % 7 for each in weekday.values),
        either=not day.star and not weekday.star,
    )
    if not pattern.possible:
        raise TextFault("this day never comes", pieces[-3][1], "no such month has that many days")
    return pattern, hour.star or len(hour.values) == 24


def _word(word: str) -> str:
    if word.lower() in WORDS:
        return WORDS[word.lower()]
    if word.lower() == "@reboot":
        raise TextFault("@reboot is no time: jobs run by the clock", 0, "for a start of the machine write a unit of it")
    if word.lower().startswith("@every"):
        raise TextFault("`@every` has a key of its own", 0, "write `every: 5m` in place of `cron`")
    close = difflib.get_close_matches(word.lower()[:40], WORDS, 1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(WORDS)}"
    raise TextFault(f"unknown word {printable(word[:40])}", 0, hint)


def _field(text: str, at: int, kind: _Kind) -> _Field:
    values: set[int] = set()
    here = at
    for part in text.split(","):
        values.update(_part(part, here, kind))
        here += len(part) + 1
    return _Field(frozenset(values), star=text.startswith("*"))


def _part(part: str, at: int, kind: _Kind) -> range:
    what, slash, step_text = part.partition("/")
    step = _step(step_text, at + len(what) + 1, kind) if slash else 1
    if what == "*":
        return range(kind.low, (6 if kind.words is _WEEKDAYS else kind.high) + 1, step)
    first, dash, last = what.partition("-")
    low = _value(first, at, kind)
    if not dash:
        if slash:
            hint = f"write {printable(first[:20])}-{kind.high}/{step}"
            raise TextFault(f"a step needs a range before it, found {printable(part[:40])}", at, hint)
        return range(low, low + 1)
    high = _value(last, at + len(first) + 1, kind)
    if kind.words is _WEEKDAYS and high == 0 and low > 0:
        high = 7  # fri-sun
    if high < low:
        low_word, high_word = ("mon", "sun") if kind.words is _WEEKDAYS else (kind.low, kind.high)
        hint = f"write {printable(first[:9])}-{high_word},{low_word}-{printable(last[:9])}"
        raise TextFault(f"the range {printable(what[:40])} runs backwards", at, hint)
    return range(low, high + 1, step)


def _step(text: str, at: int, kind: _Kind) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= kind.high:
        raise TextFault(f"expected a step from 1 to {kind.high}, found {printable(text[:20]) or 'nothing'}", at)
    return int(text)


_ELSEWHERE = {
    "?": "`?` is of other schedulers: write `*`",
    "L": "`L` is of other schedulers: for a month's last day write `calendar: {days: [-1], at: [...]}`",
    "W": "`W` is of other schedulers: `calendar` has days, weekdays and which of them in the month (`nth`)",
    "#": "`#` is of other schedulers: for a first Monday write `calendar: {weekdays: [mon], nth: [1], at: [...]}`",
    "H": "`H` is of other schedulers: write the minute itself",
}


def _value(text: str, at: int, kind: _Kind) -> int:
    word = text.lower()
    if word in kind.words:
        return kind.words.index(word) + (1 if kind.words is _MONTHS else 0)
    if re.fullmatch(r"[0-9]{1,4}", text) and kind.low <= int(text) <= kind.high:
        return int(text)
    for letter, hint in _ELSEWHERE.items():
        if (letter in text.upper() and not text.isalpha()) or text.upper() == letter:
            raise TextFault(f"cron has no `{letter}`, found {printable(text[:20])}", at, hint)
    expected = f"{kind.low} to {kind.high}" + (f" or {kind.words[0]} to {kind.words[-1]}" if kind.words else "")
    close = difflib.get_close_matches(word[:10], kind.words, 1)
    hint = f"did you mean {close[0]}?" if close else ""
    raise TextFault(f"{kind.name}: expected {expected}, found {printable(text[:20]) or 'nothing'}", at, hint)
