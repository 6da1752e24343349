"""Durations as jobs write them: 10s, 5m, 36h."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import Field, StringConstraints

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}

Duration = Annotated[
    str,
    StringConstraints(pattern=r"^[1-9][0-9]{0,5}(s|m|min|h|d)$"),
    Field(description="A number with `s`, `m` (or `min`), `h` or `d`: `90s`, `5m`, `36h`."),
]
ShortDuration = Annotated[
    str,
    StringConstraints(pattern=r"^[1-9][0-9]{0,5}(ms|s|m|min|h|d)$"),
    Field(description="A number with `ms`, `s`, `m` (or `min`), `h` or `d`: `500ms`, `5min`."),
]


def duration_of(text: str) -> timedelta:
    """Of a text that fits one of the two patterns."""
    match = re.fullmatch(r"([0-9]+)([a-z]+)", text)
    if match is None:
        raise ValueError(f"not a duration: {text!r}")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])
