"""How far standbys are behind, in bytes and in seconds, by positions of the primary seen before. Pure.

A primary's position at a time is a heartbeat that nobody has to write: a standby that has replayed it is no further
behind than that time.
"""

from __future__ import annotations

import bisect
import re
from collections import deque
from dataclasses import dataclass, field

_SAMPLES = 3600
_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,18})\s*([A-Za-z]{0,2})")


def bytes_of(text: str) -> int | None:
    """`10MB` in bytes, units of 1024 as Patroni has them; None for what is no size."""
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    return int(match[1]) * unit if match and unit else None


@dataclass(eq=False)
class Positions:
    """Of one group's primary: when it was asked, and where it wrote then."""

    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_SAMPLES))

    def saw(self, at: float, position: int) -> None:
        """A position before an older one belongs to another history, of which nothing is known yet."""
        if self.samples and position < self.samples[-1][1]:
            self.samples.clear()
        self.samples.append((at, position))

    def bytes_behind(self, position: int) -> int | None:
        return max(0, self.samples[-1][1] - position) if self.samples else None

    def seconds_behind(self, position: int, now: float) -> float | None:
        """At most so long; None where no primary was seen that had not written more already."""
        found = bisect.bisect_right(self.samples, position, key=lambda sample: sample[1])
        return max(0.0, now - self.samples[found - 1][0]) if found else None
