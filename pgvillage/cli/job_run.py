"""pgvillage job run: a Job now, or for one of its times, with the same guarantees as the daemon's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    EXIT_PARTIAL,
    NoColorOption,
    SettingsOption,
    TextOrJson,
    TextOrJsonOption,
    console_of,
    world_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pgvillage.core.job_run import RunRecord, StepRecord
    from pgvillage.running.contract import RunListener
    from pgvillage.running.means import Stop
    from pgvillage.usecases.job_run import Asked, Prepared, Ran
    from pgvillage.wiring import RealWorld

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The Job's name in its manifest.")]
ClusterOption = Annotated[list[str] | None, typer.Option("-C", "--cluster", help="Only there; repeatable.")]
DatabaseOption = Annotated[list[str] | None, typer.Option("-D", "--database", help="Only there; repeatable.")]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="The run of this time of its schedule: 2026-03-01T02:00:00Z.")
]
NowOption = Annotated[bool, typer.Option("--now", help="A run by hand, beside the schedule.")]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Also when it has ended; transactions that it committed are not repeated.")
]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Show what would run where, and run nothing.")]


def command(
    name: NameArgument,
    cluster: ClusterOption = None,
    database: DatabaseOption = None,
    at: AtOption = None,
    now: NowOption = False,
    again: AgainOption = False,
    dry_run: DryOption = False,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
) -> int:
    """Run a Job: the newest run that is due by its schedule, unless somebody runs it or has."""
    import asyncio

    from pgvillage.cli.asking import somebody
    from pgvillage.core.errors import UsageError
    from pgvillage.usecases.job_run import Asked

    if at is not None and now:
        raise UsageError("--at and --now are two times: write one of them")
    asked = Asked(name, somebody(), tuple(cluster or ()), tuple(database or ()), _time(at), now, again)
    console = console_of(no_color=no_color) if output is TextOrJson.TEXT else None
    return asyncio.run(_Command(world_of(settings), asked, console).go(dry_run=dry_run))


def _time(text: str | None) -> datetime | None:
    from pgvillage.core.errors import UsageError

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(f"--at {text[:60]!r}: expected a time with its zone, such as 2026-03-01T02:00:00Z")
    return found


class _Command:
    """One start of it; without a console it answers in JSON."""

    def __init__(self, world: RealWorld, asked: Asked, console: Console | None) -> None:
        self._world, self._asked, self._console = world, asked, console

    async def go(self, *, dry_run: bool) -> int:
        from pgvillage.running.means import Stop
        from pgvillage.usecases.job_run import prepare

        prepared = await prepare(self._world, self._asked)
        if dry_run:
            self._dry(prepared)
            return 0
        stop = Stop()
        with _signals(stop):
            ran = await self._run(prepared, stop)
        self._tell(prepared, ran)
        return _code(ran, stopped=stop.asked.is_set())

    def _dry(self, prepared: Prepared) -> None:
        from pgvillage.report.job_run import dry_document, print_dry

        document = dry_document(prepared.job, prepared.scheduled, prepared.keys, prepared.root)
        if self._console is None:
            _print_json(document)
        else:
            print_dry(self._console, document)

    async def _run(self, prepared: Prepared, stop: Stop) -> list[Ran]:
        from pgvillage.usecases.job_run import run_all

        jobs = self._world.settings.jobs
        async with self._world.run_means(prepared.job, prepared.views, self._listener(len(prepared.keys))) as means:
            return await run_all(means, prepared, self._asked, (jobs.parallel, jobs.per_cluster), stop)

    def _listener(self, runs: int) -> RunListener | None:
        return Printing(self._console, many=runs > 1) if self._console is not None else None

    def _tell(self, prepared: Prepared, ran: Sequence[Ran]) -> None:
        from pgvillage.report.job_run import print_end, run_document

        if self._console is None:
            runs = [run_document(each.key, each.record, taken=each.taken, error=each.error) for each in ran]
            _print_json({"job": self._asked.job, "scheduled": prepared.scheduled.isoformat(), "runs": runs})
            return
        self._console.print(f"Job {self._asked.job} of {prepared.scheduled:%Y-%m-%d %H:%M:%S} UTC", style="bold")
        for each in ran:
            print_end(self._console, each.key, each.record, taken=each.taken, error=each.error)


def _print_json(document: object) -> None:
    import json

    typer.echo(json.dumps(document, indent=2, ensure_ascii=True))


def _code(ran: Sequence[Ran], *, stopped: bool) -> int:
    if stopped:
        return 130
    fine = [each.fine for each in ran]
    return 0 if all(fine) else EXIT_PARTIAL if any(fine) else 1


class Printing:
    """Shows runs as they go."""

    def __init__(self, console: Console, *, many: bool) -> None:
        self._console, self._many = console, many

    def begun(self, record: RunRecord) -> None:
        again = f", try {record.attempt}: {record.why}" if record.attempt > 1 and record.why else ""
        self._say(record, f"begun{again}")

    def output(self, record: RunRecord, step: str, number: int, text: str) -> None:  # noqa: ARG002
        for line in text.splitlines():
            self._say(record, f"  {step} | {line}", dim=True)

    def step(self, record: RunRecord, step: StepRecord) -> None:
        from pgvillage.report.job_run import step_line

        self._say(record, step_line(step))

    def ended(self, record: RunRecord) -> None:
        if record.not_before is not None:
            self._say(record, f"tried again from {record.not_before:%H:%M:%S} UTC on: {record.why}")

    def _say(self, record: RunRecord, text: str, *, dim: bool = False) -> None:
        from pgvillage.report.job_run import place
        from pgvillage.report.words import show_text

        where = f"{place(record.key)}: " if self._many else ""
        self._console.print(f"{where}{show_text(text, 4_000)}", style="dim" if dim else None, soft_wrap=True)


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT cancel the runs and let them be recorded."""
    import asyncio
    import signal

    loop, both = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
    for number in both:
        loop.add_signal_handler(number, stop.ask, number.name)
    try:
        yield
    finally:
        for number in both:
            loop.remove_signal_handler(number)
