"""From where on something counts as a problem of a cluster, and names as problems show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pgvillage.core.address import quote_part

_MIB = 1024 * 1024
_LONGEST = 240


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds that are still well. A standby lags when it is over one of both."""

    lag_bytes: int = 64 * _MIB
    lag_seconds: float = 60
    slot_bytes: int = 64 * _MIB


def named(names: Iterable[str]) -> str:
    """Names in words, each safe to show."""
    return ", ".join(map(quote_part, names))


def said(text: str) -> str:
    """Somebody else's words in one line that hides nothing."""
    line = " ".join(text.split())
    shown = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def size(count: int) -> str:
    """Bytes as people read them: 17 MiB."""
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}" if count < 1000 * factor else f"{count // factor} {unit}"
    return f"{count} B"


def seconds(count: float) -> str:
    """A time as people read it: 12 s, 5 min, 3 h."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if count >= 2 * length:
            return f"{count / length:.0f} {unit}"
    return f"{count:.0f} s"
