"""Durations as Go writes them, in whole nanoseconds."""

from __future__ import annotations

import re

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": SECOND, "m": MINUTE, "h": HOUR}
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]+)")
_LIMIT = 1 << 63  # Go counts nanoseconds in an int64


def parse_go_duration(text: str) -> int:
    """Nanoseconds of a text such as `1h5m0.5s`; signs and a bare `0` are allowed as in Go.

    Raises ValueError with words for a person.
    """
    body = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if body == "0":
        return 0
    total = at = 0
    while at < len(body) or not body:
        match = _TERM.match(body, at)
        if not match or not (match[1] or match[2]):
            raise ValueError(f"{text!r} is not a duration: expected numbers with units, for example 90s or 1h30m")
        total += _term(text, match)
        at = match.end()
    if total > _LIMIT or (total == _LIMIT and not text.startswith("-")):
        raise ValueError(f"{text!r} is longer than stolon can count (about 292 years)")
    return -total if text.startswith("-") else total


def _term(text: str, match: re.Match[str]) -> int:
    unit = _UNITS.get(match[3])
    if unit is None:
        raise ValueError(f"{text!r} is not a duration: unknown unit {match[3]!r}, expected one of {', '.join(_UNITS)}")
    return int(match[1] or "0") * unit + _fraction(match[2] or "", unit)


def _fraction(digits: str, unit: int) -> int:
    """Through a float and truncated, as Go does it; digits beyond an int64 are ignored."""
    value, scale = 0, 1.0
    for digit in digits:
        if value > (_LIMIT - 1) // 10:
            break
        value, scale = value * 10 + int(digit), scale * 10
    return int(float(value) * (unit / scale))


def format_go_duration(nanoseconds: int) -> str:
    """The one spelling that Go itself writes: `1m0s`, `1.5s`, `100ms`, `0s`."""
    sign, rest = ("-" if nanoseconds < 0 else ""), abs(nanoseconds)
    if rest == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if rest < size * 1000:
            return f"{sign}{_decimal(rest, size)}{unit}"
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    larger = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{larger}{_decimal(rest, SECOND)}s"


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    digits = f"{part:0{len(str(size)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
