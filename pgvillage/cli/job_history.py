"""pgvillage job history, logs and cancel: what ran, what it said, and ending what runs."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgvillage.cli.asking import no_history, somebody, state_of
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

    from pgvillage.clients.state.job_runs import JobRuns
    from pgvillage.core.job_run import RunRecord

_EVERY = 0.5  # seconds between looks at a run that is followed
_SHORT = 12  # characters of a run's id that people see


class Status(enum.StrEnum):
    """Those of core.job_run.RunStatus, for the command line."""

    DUE = "due"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    GIVEN_UP = "given up"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


JobArgument = Annotated[str | None, typer.Argument(metavar="[JOB]", help="Only this Job.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning: see `job history`.")]
ClusterOption = Annotated[str | None, typer.Option("-C", "--cluster", help="Only runs there.")]
StatusOption = Annotated[Status | None, typer.Option("--status", help="Only runs of this status.")]
LimitOption = Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many runs.")]
FollowOption = Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")]


def history(
    job: JobArgument = None,
    cluster: ClusterOption = None,
    status: StatusOption = None,
    limit: LimitOption = 50,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
) -> int:
    """Show the runs of jobs, the newest first."""
    from pgvillage.core.job_run import RunStatus

    with _runs(settings) as runs:
        found = runs.runs(job, cluster, RunStatus(status.value) if status else None, limit=limit)
    if output is TextOrJson.JSON:
        _print_json({"runs": [_document(record) for record in found]})
    else:
        _print_runs(console_of(no_color=no_color), found)
    return 0


def logs(
    run: RunArgument,
    follow: FollowOption = False,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
) -> int:
    """Show what the steps of a run said, and how they went."""
    from pgvillage.core.errors import UsageError

    with _runs(settings) as runs:
        record = _one(runs, run)
        if output is TextOrJson.JSON:
            if follow:
                raise UsageError("--follow prints text: it does not go with -o json")
            steps = [_step_document(step) for step in runs.steps(record.key.id)]
            _print_json({**_document(record), "steps": steps})
            return 0
        console = console_of(no_color=no_color)
        if follow:
            _follow(console, runs, record.key.id)
        else:
            _print_steps(console, runs, record)
    return 0


def cancel(run: RunArgument, settings: SettingsOption = DEFAULT_SETTINGS) -> int:
    """Ask that a run be ended, wherever it runs; it is recorded as cancelled."""
    import asyncio

    from pgvillage.core.errors import UsageError

    world = world_of(settings)
    with _runs(settings) as runs:
        record = _one(runs, run)

    async def ask() -> bool:
        async with world.run_store() as (store, _):
            return await store.ask_cancel(record.key.id, somebody())

    if not asyncio.run(ask()):
        raise UsageError(f"run {record.key.id[:_SHORT]} of job {record.key.job} has ended: {record.status.value}")
    typer.echo(f"Asked: run {record.key.id[:_SHORT]} of job {record.key.job} ends within seconds.")
    return 0


@contextmanager
def _runs(settings: SettingsOption) -> Iterator[JobRuns]:
    with state_of(world_of(settings)) as state:
        if state is None:
            raise no_history()
        yield state.job_runs


def _one(runs: JobRuns, run: str) -> RunRecord:
    from pgvillage.core.errors import UsageError

    found = runs.run(run)
    if found is None:
        raise UsageError(f"no run, or several, whose id begins with {run[:40]!r}: see `pgvillage job history`")
    return found


def _follow(console: Console, runs: JobRuns, run: str) -> None:
    """What was said until now, and what comes; until the run has ended, or Ctrl-C."""
    import time

    from pgvillage.report.words import show_text

    seen, told = 0, 0
    while True:
        record = runs.run(run)
        assert record is not None
        for number, step, _, text in runs.output_after(run, seen):
            seen = number
            for line in text.splitlines():
                console.print(f"{step} | {show_text(line, 4_000)}", style="dim", soft_wrap=True, markup=False)
        steps = [step for step in runs.steps(run) if step.ended is not None]
        for each in steps[told:]:
            _print_step(console, each)
        told = max(told, len(steps))
        if record.status.ended:
            _print_end(console, record)
            return
        time.sleep(_EVERY)


def _print_steps(console: Console, runs: JobRuns, record: RunRecord) -> None:
    from pgvillage.report.words import show_text

    for step in runs.steps(record.key.id):
        _print_step(console, step)
        for line in step.output.splitlines():
            console.print(f"  {show_text(line, 4_000)}", style="dim", soft_wrap=True, markup=False)
        if step.truncated:
            console.print("  … the rest was not kept (jobs.output in the settings)", style="dim")
    _print_end(console, record)


def _print_step(console: Console, step: Any) -> None:
    from pgvillage.report.job_run import step_line

    console.print(step_line(step), markup=False, soft_wrap=True)


def _print_end(console: Console, record: RunRecord) -> None:
    from pgvillage.report.job_run import print_end

    console.print(f"Job {record.key.job} of {record.key.scheduled:%Y-%m-%d %H:%M:%S} UTC", style="bold", markup=False)
    print_end(console, record.key, record, taken=False, error="")


def _print_runs(console: Console, found: list[RunRecord]) -> None:
    from rich.table import Table
    from rich.text import Text

    from pgvillage.report.job_run import place
    from pgvillage.report.words import show_text

    if not found:
        console.print("no run yet")
        return
    table = Table("RUN", "JOB", "SCHEDULED (UTC)", "WHERE", "STATUS", "TOOK", "WHY", box=None, pad_edge=False)
    for record in found:
        took = f"{(record.ended - record.begun).total_seconds():.1f} s" if record.begun and record.ended else ""
        table.add_row(
            Text(record.key.id[:_SHORT]),
            Text(show_text(record.key.job)),
            Text(f"{record.key.scheduled:%Y-%m-%d %H:%M:%S}"),
            Text(place(record.key)),
            Text(record.status.value, style=_STYLES.get(record.status.value, "")),
            Text(took),
            Text(show_text(record.why or record.cancel, 120)),
        )
    console.print(table)


_STYLES = {"succeeded": "green", "failed": "red", "unknown": "red", "given up": "yellow", "running": "cyan"}


def _document(record: RunRecord) -> dict[str, Any]:
    from pgvillage.report.job_run import run_document

    found = run_document(record.key, record, taken=False, error="")
    del found["byAnother"]
    return {**found, "job": record.key.job, "scheduled": record.key.scheduled.isoformat()}


def _step_document(step: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {name: _plain(value) for name, value in asdict(step).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, enum.Enum) else value


def _print_json(document: object) -> None:
    import json

    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
