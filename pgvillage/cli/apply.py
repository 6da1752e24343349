"""pgvillage apply."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    AcknowledgeOption,
    ApproveOption,
    CorrectOption,
    ExcludeOption,
    NoColorOption,
    Output,
    OutputOption,
    RevisionOption,
    SelectorOption,
    SettingsOption,
    TargetOption,
    TimeoutOption,
    console_of,
    scope_of,
    world_of,
)

if TYPE_CHECKING:
    from pgvillage.core.run import Run
    from pgvillage.usecases.plan import Planned


def command(
    planfile: Annotated[Path | None, typer.Argument(help="A plan saved with `plan --out`.")] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Plan and apply at once.")] = False,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: OutputOption = Output.TEXT,
    target: TargetOption = None,
    exclude: ExcludeOption = None,
    selector: SelectorOption = None,
    revision: RevisionOption = None,
    correct: CorrectOption = None,
    approve: ApproveOption = None,
    acknowledge: AcknowledgeOption = None,
    sql: Annotated[bool, typer.Option("--sql", help="Show the statements.")] = False,
    only_result: Annotated[bool, typer.Option("--only-result", help="Don't show the plan first.")] = False,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Make your clusters what Git says: a saved plan exactly as it was shown, or --auto."""
    import asyncio

    from pgvillage.core.errors import UsageError
    from pgvillage.usecases.apply import apply_plan
    from pgvillage.usecases.outcome import exit_of_run
    from pgvillage.usecases.plan import Consent, make_plan

    if (planfile is None) == (not auto):
        raise UsageError("apply needs either a saved plan (pgvillage plan --out FILE) or --auto")
    world = world_of(settings, timeout)
    scope = scope_of(target, exclude, selector, revision)
    saved = None
    if planfile is not None:
        from pgvillage.usecases.saved import read_plan_file, scope_of_saved

        if target or exclude or selector or revision:
            raise UsageError(
                "a saved plan has its own scope: --target, --exclude, --selector and --revision go with plan"
            )
        document = read_plan_file(planfile)
        saved, scope = document.digests, scope_of_saved(document)
    consent = Consent(approve or (), correct.value if correct else None, acknowledge or ())
    console = console_of(no_color=no_color)

    async def work() -> tuple[Planned, Run]:
        planned = await make_plan(world, scope, consent)
        if output is Output.TEXT and saved is None and not only_result:
            from pgvillage.report.text import print_plan

            print_plan(console, planned.plan, sql=sql)
        return planned, await apply_plan(world, planned, consent, saved)

    _, run = asyncio.run(work())
    _print(run, output, no_color=no_color)
    return exit_of_run(run)


def _print(run: Run, output: Output, *, no_color: bool) -> None:
    if output is Output.JSON:
        import json

        from pgvillage.report.json import run_document

        typer.echo(json.dumps(run_document(run), indent=2, ensure_ascii=False))
    elif output is Output.MARKDOWN:
        from pgvillage.report.markdown import run_markdown

        typer.echo(run_markdown(run))
    else:
        from pgvillage.report.text import print_run

        print_run(console_of(no_color=no_color), run)
