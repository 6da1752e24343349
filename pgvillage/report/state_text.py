"""Targets, drifts, plans, runs and events as lines for a terminal; plain when piped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from pgvillage.report.words import show_text

Row = Mapping[str, Any]
_STYLES = {
    "Ready": "green", "Reconciling": "cyan", "Stalled": "red", "Synced": "green", "Drifted": "yellow",
    "Unknown": "dim", "Healthy": "green", "Degraded": "red", "done": "green", "failed": "red", "error": "red",
    "warning": "yellow", "blocked by policy": "yellow", "primary": "bold", "no answer": "red",
}  # fmt: skip
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def age(moment: str | None, now: datetime) -> str:
    """As 12s, 3m, 5h, 2d; `-` for never."""
    if not moment:
        return "-"
    seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    for unit, length in _UNITS:
        if abs(seconds) >= 2 * length or length == 1:
            return f"{'in ' if seconds <= -1 else ''}{int(abs(seconds)) // length}{unit}"
    raise AssertionError


def _target(row: Row, now: datetime) -> Sequence[str]:
    return (
        row["name"], row["ready"], row["sync"], row["health"], str(row["changes"]), str(row["drift"]),
        age(row["observed_at"], now), row["revision"][:12] or "-", _note(row, now),
    )  # fmt: skip


def _note(row: Row, now: datetime) -> str:
    """The one thing to know first."""
    held = row["suspension"]
    if held:
        ends = f", ends {age(held['until'], now)}" if held["until"] else ""
        return f"suspended by {held['by']}: {held['reason']}{ends}"
    if row["error"]:
        return str(row["error"])
    if row["blocked"]:
        return f"blocked: {', '.join(row['blocked'])}"
    return str(row["reasons"][0]) if row["reasons"] else ""


def _drift(row: Row, now: datetime) -> Sequence[str]:
    ended = f"{row['ended']} {age(row['ended_at'], now)} ago" if row["ended_at"] else "open"
    return (row["target"], row["address"], row["risk"], age(row["first_seen"], now), row["owner"] or "-", ended)


def _plan(row: Row, now: datetime) -> Sequence[str]:
    return (row["target"], row["digest"][:12], age(row["made_at"], now), row["revision"][:12], row["subject"])


def _run(row: Row, now: datetime) -> Sequence[str]:
    outcome = row["outcome"] or "running"
    counts = (str(row["done"]), str(row["left"]))
    return (row["target"], row["id"][:12], outcome, *counts, age(row["started_at"], now), _took(row),
            row["revision"][:12] or "-", row["approved_by"] or "-", row["error"])  # fmt: skip


def _took(row: Row) -> str:
    return age(row["started_at"], datetime.fromisoformat(row["ended_at"])) if row["ended_at"] else "-"


def _event(row: Row, now: datetime) -> Sequence[str]:
    return (age(row["at"], now), row["severity"], row["target"] or "-", row["reason"], row["message"])


_TABLES: dict[str, tuple[Sequence[str], Callable[[Row, datetime], Sequence[str]]]] = {
    "targets": (("NAME", "READY", "SYNC", "HEALTH", "CHANGES", "DRIFT", "OBSERVED", "REVISION", "NOTE"), _target),
    "drifts": (("TARGET", "ADDRESS", "RISK", "AGE", "OWNER", "STATE"), _drift),
    "plans": (("TARGET", "DIGEST", "AGE", "REVISION", "SUBJECT"), _plan),
    "runs": (
        ("TARGET", "RUN", "OUTCOME", "DONE", "LEFT", "AGE", "TOOK", "REVISION", "APPROVED BY", "ERROR"),
        _run,
    ),
    "events": (("AGE", "SEVERITY", "TARGET", "REASON", "MESSAGE"), _event),
}


def print_rows(console: Console, what: str, rows: Iterable[Row], now: datetime, *, heading: bool = True) -> None:
    """A table; without rows a line that says so."""
    names, cells_of = _TABLES[what]
    table = [cells_of(row, now) for row in rows]
    if not table and heading:
        console.print(Text(f"no {what}", style="dim"))
        return
    print_table(console, names, table, heading=heading)


def print_table(
    console: Console, names: Sequence[str], lines: Iterable[Sequence[str]], *, heading: bool = True
) -> None:
    """As wide as what stands in it; of what is known to be good or bad in its colour."""
    table = [[show_text(cell, 200) for cell in line] for line in lines]
    widths = [max(len(line[n]) for line in [list(names), *table]) for n in range(len(names))]
    if heading:
        console.print(_line(names, widths, "bold"), soft_wrap=True)
    for line in table:
        console.print(_line(line, widths), soft_wrap=True)


def _line(cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    text = Text()
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        last = number == len(cells) - 1
        text.append(cell if last else f"{cell:<{width}}   ", style or _STYLES.get(cell, ""))
    text.rstrip()
    return text


def print_event_line(console: Console, row: Row) -> None:
    """One event as it comes, with its time."""
    at = datetime.fromisoformat(row["at"]).astimezone(UTC)
    words = show_text(f"{row['reason']}: {row['message']}", 400)
    head = (f"{at:%Y-%m-%d %H:%M:%S}  ", "dim"), (f"{show_text(row['target'] or '-', 80)}  ", "cyan")
    console.print(Text.assemble(*head, (words, _STYLES.get(row["severity"], ""))), soft_wrap=True)
