"""Points in time and durations as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pgvillage.core.errors import UsageError

_DURATION = re.compile(r"(?:(\d{1,4})w)?(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?")


def end_of(until: str | None, lasts: str | None, now: datetime) -> datetime | None:
    """The end that either of them gives, in UTC. Raises UsageError for both at once."""
    if until is not None and lasts is not None:
        raise UsageError("it ends at a time or after one: --until or --for, not both")
    if until is not None:
        return instant(until)
    return now + duration(lasts) if lasts is not None else None


def instant(text: str) -> datetime:
    """`2026-12-01T10:00`, `2026-12-01` or with an offset; UTC where nothing is said. Raises UsageError."""
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--until {text!r}: expected a time such as 2026-12-01T10:00 or 2026-12-01T10:00+01:00"
        ) from None


def duration(text: str) -> timedelta:
    """`90m`, `2h`, `3d`, `1w` and what these make together, the greater first. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or not any(match.groups()):
        raise UsageError(f"--for {text!r}: expected a duration such as 90m, 2h, 3d or 1d12h")
    weeks, days, hours, minutes = (int(part or 0) for part in match.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)
