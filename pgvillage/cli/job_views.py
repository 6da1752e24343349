"""pgvillage job list and next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    NoColorOption,
    RevisionOption,
    SettingsOption,
    TextOrJson,
    TextOrJsonOption,
    console_of,
    world_of,
)

if TYPE_CHECKING:
    from pgvillage.usecases.jobs import JobsOfEstate

_SHOWN = 4  # clusters by name
OneCluster = Annotated[str | None, typer.Option("--cluster", help="Only what reaches this cluster.")]


def list_jobs(
    cluster: OneCluster = None,
    settings: SettingsOption = DEFAULT_SETTINGS,
    revision: RevisionOption = None,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
) -> int:
    """List the estate's jobs: schedule, next run, clusters. Asks no server."""
    import json
    from datetime import UTC, datetime

    rows = _jobs(settings, revision).rows(datetime.now(UTC), cluster)
    if output is TextOrJson.JSON:
        shown = [
            {
                "name": row.name,
                "schedule": row.schedule,
                "next": row.next.astimezone(UTC).isoformat() if row.next else None,
                "timeZone": row.zone,
                "target": row.target,
                "clusters": list(row.clusters),
                "runs": row.runs,
            }
            for row in rows
        ]
        typer.echo(json.dumps({"jobs": shown}, indent=2, ensure_ascii=False))
        return 0
    lines = [
        (row.name, row.schedule, f"{row.next:%Y-%m-%d %H:%M:%S%z}" if row.next else "-", str(row.runs), row.clusters)
        for row in rows
    ]
    _print(("JOB", "SCHEDULE", "NEXT", "RUNS", "CLUSTERS"), lines, "no jobs", no_color=no_color)
    return 0


def next_jobs(
    jobs: Annotated[list[str] | None, typer.Argument(help="Only these jobs.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="How many scheduled times.")] = 10,
    cluster: OneCluster = None,
    settings: SettingsOption = DEFAULT_SETTINGS,
    revision: RevisionOption = None,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
) -> int:
    """Show when jobs run next, by the clock of their time zone and in UTC. Asks no server."""
    import json
    from datetime import UTC, datetime

    runs = _jobs(settings, revision).next(datetime.now(UTC), count, cluster, jobs or ())
    if output is TextOrJson.JSON:
        shown = [
            {
                "job": run.job,
                "at": run.at.isoformat(),
                "local": run.local.isoformat(),
                "timeZone": run.zone,
                "clusters": list(run.clusters),
            }
            for run in runs
        ]
        typer.echo(json.dumps({"next": shown}, indent=2, ensure_ascii=False))
        return 0
    lines = [
        (f"{run.at:%Y-%m-%d %H:%M:%S}Z", f"{run.local:%a %d %b %H:%M:%S%z} {run.zone}", run.job, run.clusters)
        for run in runs
    ]
    _print(("UTC", "BY ITS CLOCK", "JOB", "CLUSTERS"), lines, "nothing is scheduled", no_color=no_color)
    return 0


def _jobs(settings: SettingsOption, revision: RevisionOption) -> JobsOfEstate:
    import asyncio

    from pgvillage.usecases.jobs import JobsOfEstate

    return asyncio.run(JobsOfEstate.of(world_of(settings), revision))


def _print(
    head: tuple[str, ...], lines: Sequence[tuple[str | tuple[str, ...], ...]], none: str, *, no_color: bool
) -> None:
    from rich.table import Table
    from rich.text import Text

    from pgvillage.report.words import show_text

    console = console_of(no_color=no_color)
    if not lines:
        console.print(Text(none))
        return
    table = Table(*head, box=None, pad_edge=False, header_style="bold")
    for line in lines:
        table.add_row(*(Text(show_text(each if isinstance(each, str) else _clusters(each))) for each in line))
    console.print(table)


def _clusters(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
