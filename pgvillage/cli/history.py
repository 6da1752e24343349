"""pgvillage events and history."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from pathlib import Path
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
    state_of,
)
from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    NoColorOption,
    SettingsOption,
    TextOrJson,
    TextOrJsonOption,
    console_of,
    world_of,
)

if TYPE_CHECKING:
    from rich.console import Console

_WAIT = 30
_EVERY = 2.0
OneTarget = Annotated[str | None, typer.Option("-t", "--target", help="Only this target.")]


class HistoryAction(enum.StrEnum):
    EXPORT = "export"


class HistoryOutput(enum.StrEnum):
    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Table(enum.StrEnum):
    PLANS = "plans"
    RUNS = "runs"
    DRIFTS = "drifts"
    EVENTS = "events"
    AUDIT = "audit"
    APPROVALS = "approvals"


def events(
    target: OneTarget = None,
    watch: WatchOption = False,
    limit: LimitOption = 50,
    output: TextOrJsonOption = TextOrJson.TEXT,
    settings: SettingsOption = DEFAULT_SETTINGS,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    no_color: NoColorOption = False,
) -> int:
    """Show what happened: drift found, applied, blocked, unreachable, decided. The newest last."""
    import json

    from pgvillage.report.state_text import print_rows

    console = console_of(no_color=no_color)
    with asker_of(Server(server, token_file, ca), settings) as asker:
        if asker is None:
            raise no_history()
        found = asker.events(None, target, limit=limit)
        if output is TextOrJson.JSON and not watch:
            typer.echo(json.dumps({"events": found["events"]}, indent=2, ensure_ascii=False))
        elif not watch:
            print_rows(console, "events", found["events"], datetime.now(UTC))
        else:
            _follow(console, asker, target, found, output)
    return 0


def _follow(console: Console, asker: Asker, target: str | None, found: dict[str, Any], output: TextOrJson) -> None:
    import json

    from pgvillage.report.state_text import print_event_line

    while True:
        for row in found["events"]:
            if output is TextOrJson.JSON:
                typer.echo(json.dumps(row, ensure_ascii=False))
            else:
                print_event_line(console, row)
        found = asker.events(found["last"], target, wait=_WAIT)


def history(
    action: Annotated[HistoryAction | None, typer.Argument(help="`export` writes all there is.")] = None,
    target: OneTarget = None,
    watch: WatchOption = False,
    limit: LimitOption = 50,
    since: Annotated[str | None, typer.Option("--since", help="With `export`: 2026-01-31, or with a time.")] = None,
    table: Annotated[Table | None, typer.Option("--table", help="With `export`: only this; all when unset.")] = None,
    output: Annotated[HistoryOutput, typer.Option("-o", "--output", help="csv and jsonl go with `export`.")] = (
        HistoryOutput.TEXT
    ),
    settings: SettingsOption = DEFAULT_SETTINGS,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    no_color: NoColorOption = False,
) -> int:
    """Show the applies, the newest first; `history export` streams plans, runs, drifts, events, audit, approvals."""
    from pgvillage.cli.get import get
    from pgvillage.core.errors import UsageError

    if action is HistoryAction.EXPORT:
        if server is not None:
            raise UsageError("history export reads the state database itself: run it where the settings are")
        if target is not None or watch:
            raise UsageError("history export writes every target's, once: --target and --watch don't go with it")
        return _export(settings, table, _moment(since), output)
    if since is not None or table is not None or output in (HistoryOutput.JSONL, HistoryOutput.CSV):
        raise UsageError("--since, --table, -o jsonl and -o csv go with `pgvillage history export`")
    shown = TextOrJson(output.value)
    return get(
        Kind.RUNS, target=target, selector=None, limit=limit, watch=watch, output=shown, settings=settings,
        server=server, token_file=token_file, ca=ca, no_color=no_color,
    )  # fmt: skip


def _moment(text: str | None) -> datetime | None:
    from pgvillage.core.errors import UsageError

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"--since {text!r}: expected a date as 2026-01-31, or 2026-01-31T08:00 (UTC)") from None


def _export(settings: Path, table: Table | None, since: datetime | None, output: HistoryOutput) -> int:
    import sys

    from pgvillage.core.errors import UsageError
    from pgvillage.report.export import write_rows

    if output is HistoryOutput.CSV and table is None:
        raise UsageError("a CSV file has one table: name it with --table")
    with state_of(world_of(settings)) as state:
        if state is None:
            raise no_history()
        names = [table] if table is not None else list(Table)
        rows = ((name.value, row) for name in names for row in state.exported(name, since))
        form = HistoryOutput.JSONL if output is HistoryOutput.TEXT else output
        write_rows(sys.stdout, rows, form)
    return 0
