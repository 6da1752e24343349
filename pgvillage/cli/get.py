"""pgvillage get and describe."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgvillage.cli.asking import (
    Asker,
    CaOption,
    Kind,
    LimitOption,
    Server,
    ServerOption,
    TokenFileOption,
    WatchOption,
    asker_of,
    no_history,
    say,
)
from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    NoColorOption,
    SelectorOption,
    SettingsOption,
    TextOrJson,
    TextOrJsonOption,
    console_of,
    scope_of,
    world_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

Row = dict[str, Any]
_EVERY = 2.0  # seconds between looks of --watch
_LIVE = "no state database here: this is a plan made now"
OneTarget = Annotated[str | None, typer.Option("-t", "--target", help="Only this target.")]


def get(
    what: Annotated[Kind, typer.Argument(help="What to list.")],
    target: OneTarget = None,
    selector: SelectorOption = None,
    ended: Annotated[bool, typer.Option("--ended", help="With `drifts`: those that ended, too.")] = False,
    limit: LimitOption = 100,
    watch: WatchOption = False,
    output: TextOrJsonOption = TextOrJson.TEXT,
    settings: SettingsOption = DEFAULT_SETTINGS,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    no_color: NoColorOption = False,
) -> int:
    """List targets, drifts, plans or runs: from a daemon, else from the state database, else planned now."""
    labels = dict(scope_of(None, None, selector).labels or {})
    console = console_of(no_color=no_color)
    with asker_of(Server(server, token_file, ca), settings) as asker:
        if asker is None:
            _print(console, what, _planned(what, settings, target, selector), output)
            return 0
        query = {"target": target, "labels": labels, "ended": ended}
        most = None if what is Kind.TARGETS else limit

        def look() -> list[Row]:
            return asker.listed(what, query, most)

        if watch:
            _watch(console, what, look, output)
        _print(console, what, look(), output)
    return 0


def describe(
    target: Annotated[str, typer.Argument(help="A target, as `get targets` names it.")],
    output: TextOrJsonOption = TextOrJson.TEXT,
    settings: SettingsOption = DEFAULT_SETTINGS,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    no_color: NoColorOption = False,
) -> int:
    """Show one target in full: conditions, plan, drift, last applies and events."""
    from pgvillage.report.describe_text import print_past, print_plan_of, print_target

    with asker_of(Server(server, token_file, ca), settings) as asker:
        found = _described(asker, target) if asker is not None else _described_now(settings, target)
    if output is TextOrJson.JSON:
        _print_json(found)
        return 0
    console, now = console_of(no_color=no_color), datetime.now(UTC)
    print_target(console, found["target"], now)
    if found["plan"] is not None:
        print_plan_of(console, found["plan"], blocked=bool(found["target"]["blocked"]))
    print_past(console, {what: found[what] for what in ("drifts", "runs", "events")}, now)
    return 0


def _described(asker: Asker, name: str) -> Row:
    from pgvillage.core.errors import UsageError

    target = asker.target(name)
    try:
        plan: Row | None = asker.plan(name)
    except UsageError:  # not planned yet
        plan = None
    query = {"target": name}
    return {
        "target": target,
        "plan": plan,
        "drifts": asker.listed(Kind.DRIFTS, query, 20),
        "runs": asker.listed(Kind.RUNS, query, 5),
        "events": asker.events(None, name, limit=10)["events"],
    }


def _described_now(settings: Path, name: str) -> Row:
    from pgvillage.cli.live import live_drifts, live_plan, live_targets, plan_now

    say(_LIVE)
    world = world_of(settings)
    planned = plan_now(world, scope_of([name], None, None))
    (target,) = [row for row in live_targets(world, planned) if row["name"] == name]
    drifts = [row for row in live_drifts(planned) if row["target"] == name]
    return {"target": target, "plan": live_plan(planned, name), "drifts": drifts, "runs": [], "events": []}


def _planned(what: Kind, settings: Path, target: str | None, selector: list[str] | None) -> list[Row]:
    from pgvillage.cli.live import live_drifts, live_targets, plan_now

    if what in (Kind.PLANS, Kind.RUNS):
        raise no_history()
    world = world_of(settings)
    scope = scope_of([target] if target else None, None, selector)
    say(_LIVE)
    planned = plan_now(world, scope)
    return live_targets(world, planned) if what is Kind.TARGETS else live_drifts(planned)


def _print(console: Console, what: Kind, rows: list[Row], output: TextOrJson) -> None:
    from pgvillage.report.state_text import print_rows

    if output is TextOrJson.JSON:
        _print_json({what.value: rows})
    else:
        print_rows(console, what, rows, datetime.now(UTC))


def _print_json(document: Row) -> None:
    import json

    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _watch(console: Console, what: Kind, look: Callable[[], list[Row]], output: TextOrJson) -> None:
    """On a terminal the table is drawn anew; else every row is a line when it is new or has changed."""
    import json
    import time

    from pgvillage.report.state_text import print_rows

    known: list[Row] = []
    first = True
    while True:
        rows = look()
        if console.is_terminal and output is TextOrJson.TEXT:
            console.clear()
            print_rows(console, what, rows, datetime.now(UTC))
        else:
            fresh = [row for row in rows if row not in known]
            if output is TextOrJson.JSON:
                for row in fresh:
                    typer.echo(json.dumps(row, ensure_ascii=False))
            elif fresh:
                print_rows(console, what, fresh, datetime.now(UTC), heading=first)
            first = first and not fresh
        known = rows
        time.sleep(_EVERY)
