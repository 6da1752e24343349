"""One target in full, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from pgvillage.report.state_text import age, print_rows
from pgvillage.report.words import approval, counted, show_text

Row = Mapping[str, Any]
_MARKS = {"create": "+", "update": "~", "delete": "-"}
_SHOWN = 30


def print_target(console: Console, row: Row, now: datetime) -> None:
    """Its conditions."""
    console.print(Text(show_text(row["name"]), style="bold cyan"))
    for label, text in _facts(row, now):
        console.print(Text.assemble((f"  {label:<12} ", "dim"), show_text(text, 400)), soft_wrap=True)


def _facts(row: Row, now: datetime) -> Iterator[tuple[str, str]]:
    labels = ", ".join(f"{key}={value}" for key, value in sorted(row["labels"].items()))
    stale = "" if row["fresh"] else ", too long ago to say Synced"
    yield "labels", labels or "-"
    yield "ready", row["ready"]
    yield "sync", row["sync"]
    yield "health", row["health"]
    for reason in row["reasons"]:
        yield "because", reason
    yield "observed", f"{age(row['observed_at'], now)} ago{stale}" if row["observed_at"] else "never"
    yield "revision", row["revision"] or "-"
    parts = f"{row['drift']} by hand, {row['pending']} merged and not applied, {row['held']} held back"
    yield "changes", f"{row['changes']} ({parts})" if row["changes"] else "none"
    if row["drift_since"]:
        yield "drift since", f"{age(row['drift_since'], now)} ago"
    if row["blocked"]:
        yield "blocked by", ", ".join(row["blocked"])
    if row["suspension"]:
        held = row["suspension"]
        yield "suspended", f"by {held['by']} {age(held['since'], now)} ago, until {_ends(held['until'])}"
        yield "", held["reason"]
    if row["error"]:
        yield "error", f"{row['error']} ({counted(row['failures'], 'failure')} in a row)"
    if row["next_look"]:
        yield "next look", age(row["next_look"], now)
    if row["replica"]:
        yield "replica", row["replica"]


def _ends(until: str | None) -> str:
    return f"{datetime.fromisoformat(until).astimezone(UTC):%Y-%m-%d %H:%M} UTC" if until else "somebody resumes it"


def print_plan_of(console: Console, plan: Row, *, blocked: bool) -> None:
    """A stored plan, shortly; the last one there was where it is not what the target's newest look found."""
    name = plan["target"]
    targets: Sequence[Row] = [t for t in plan["document"].get("targets", ()) if t.get("address") == name]
    changes = [change for target in targets for change in target.get("changes", ())]
    title = "plan " if plan["current"] else "last plan "
    console.print(Text.assemble("\n", (title, "bold"), plan["digest"][:12], f"  {counted(len(changes), 'change')}"))
    for change in changes[:_SHOWN]:
        mark = "/".join(_MARKS.get(action, "?") for action in change["actions"])
        held = f"  (held: {change['held']})" if change["held"] else ""
        words = f"  {mark} {change['address']}  {change['origin']}, {change['risk']}{held}"
        console.print(Text(show_text(words, 300)), soft_wrap=True)
    if len(changes) > _SHOWN:
        console.print(Text(f"  … and {len(changes) - _SHOWN} more", style="dim"))
    for gate in plan["document"].get("gates", ()):
        if gate["target"] == name and not gate["open"]:
            console.print(
                Text(show_text(f"  ✗ {gate['rule']}: {gate['message']}", 400), style="yellow"), soft_wrap=True
            )
    if blocked:
        line = f"  to let it pass: {approval(name, plan['digest'])}"
        console.print(Text(line, style="bold"), soft_wrap=True)


def print_past(console: Console, rows: Mapping[str, Sequence[Row]], now: datetime) -> None:
    """What there is of drifts, runs and events."""
    for what, found in rows.items():
        if found:
            console.print(Text(f"\n{what}", style="bold"))
            print_rows(console, what, found, now)
