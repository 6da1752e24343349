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
from pgvillage.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from pgvillage.usecases.plan import Planned

Row = dict[str, Any]
_EVERY = 2.0  # seconds between looks of --watch
_LIVE = "no state database here: this is a plan made now"
OneTarget = Annotated[str | None, typer.Option("-t", "--target", help="Only this target.")]


def get(
    what: Annotated[Kind, typer.Argument(help="What to list; `cluster` and a NAME: a cluster's nodes.")],
    name: Annotated[str | None, typer.Argument(help="With `cluster`: which one.")] = None,
    target: OneTarget = None,
    selector: SelectorOption = None,
    ended: Annotated[bool, typer.Option("--ended", help="With `drifts`: those that ended, too.")] = False,
    limit: LimitOption = 100,
    watch: WatchOption = False,
    now: Annotated[bool, typer.Option("--now", help="With `cluster`: ask the nodes now, from here.")] = False,
    output: TextOrJsonOption = TextOrJson.TEXT,
    settings: SettingsOption = DEFAULT_SETTINGS,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    no_color: NoColorOption = False,
) -> int:
    """List targets, drifts, plans or runs: from a daemon, else from the state database, else planned now.

    `get cluster NAME` shows a cluster's nodes, and what is wrong with it, in the same order of places.
    """
    which = Server(server, token_file, ca)
    if what is Kind.CLUSTER:
        if name is None or target or selector or watch or ended:
            raise UsageError("expected `get cluster NAME`, without -t, -l, --ended and --watch")
        return _get_cluster(which, settings, name, output, no_color=no_color, now=now)
    if name is not None or now:
        raise UsageError(f"a name and --now go with `get cluster` alone; to look at one target: get {what} -t NAME")
    labels = dict(scope_of(None, None, selector).labels or {})
    console = console_of(no_color=no_color)
    with asker_of(which, settings) as asker:
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


def _get_cluster(server: Server, settings: Path, name: str, output: TextOrJson, *, no_color: bool, now: bool) -> int:
    from pgvillage.cli.live import live_cluster
    from pgvillage.report.cluster_text import print_cluster

    if now and server.url is not None:
        raise UsageError("--now asks the nodes from here, --server a daemon: expected one of them")
    if now:
        row = live_cluster(world_of(settings), name)
    else:
        with asker_of(server, settings) as asker:
            found = asker.cluster(name) if asker is not None else None
        if found is None:
            say("no state database here: the nodes are asked now")
        row = found or live_cluster(world_of(settings), name)
    if output is TextOrJson.JSON:
        _print_json(row)
    else:
        print_cluster(console_of(no_color=no_color), row, datetime.now(UTC))
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
    from pgvillage.report.cluster_text import print_nodes
    from pgvillage.report.describe_text import print_past, print_plan_of, print_target

    with asker_of(Server(server, token_file, ca), settings) as asker:
        found = _described(asker, target) if asker is not None else _described_now(settings, target)
    if output is TextOrJson.JSON:
        _print_json(found)
        return 0
    console, now = console_of(no_color=no_color), datetime.now(UTC)
    print_target(console, found["target"], now)
    if found["nodes"] is not None:
        console.print()
        print_nodes(console, found["nodes"], now)
    if found["plan"] is not None:
        print_plan_of(console, found["plan"], blocked=bool(found["target"]["blocked"]))
    print_past(console, {what: found[what] for what in ("drifts", "runs", "events")}, now)
    return 0


def _described(asker: Asker, name: str) -> Row:
    target = asker.target(name)
    try:
        plan: Row | None = asker.plan(name)
    except UsageError:  # not planned yet
        plan = None
    try:
        nodes: Row | None = asker.cluster(name)
    except UsageError:  # a single server, or not asked yet
        nodes = None
    query = {"target": name}
    return {
        "target": target,
        "nodes": nodes,
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
    return {
        "target": target,
        "nodes": _nodes_of(planned, name),
        "plan": live_plan(planned, name),
        "drifts": drifts,
        "runs": [],
        "events": [],
    }


def _nodes_of(planned: Planned, name: str) -> Row | None:
    from pgvillage.report.cluster_answer import cluster_answer

    (plan,) = [each for each in planned.plan.targets if str(each.target) == name]
    return cluster_answer(plan.topology).model_dump(mode="json") if plan.topology is not None else None


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
