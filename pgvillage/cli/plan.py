"""pgvillage plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def command(
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: OutputOption = Output.TEXT,
    target: TargetOption = None,
    exclude: ExcludeOption = None,
    selector: SelectorOption = None,
    revision: RevisionOption = None,
    correct: CorrectOption = None,
    approve: ApproveOption = None,
    acknowledge: AcknowledgeOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Save the plan here for `apply FILE`.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when there are changes.")
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Show the statements.")] = False,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Show what differs between Git and your clusters, and what apply would do. Changes nothing."""
    import asyncio

    from pgvillage.usecases.outcome import exit_of_plan
    from pgvillage.usecases.plan import Consent, make_plan

    world = world_of(settings, timeout)
    consent = Consent(approve or (), correct.value if correct else None, acknowledge or ())
    plan = asyncio.run(make_plan(world, scope_of(target, exclude, selector, revision), consent)).plan
    if output is Output.JSON or out is not None:
        import json

        from pgvillage.report.json import plan_document

        text = json.dumps(plan_document(plan), indent=2, ensure_ascii=False)
        if out is not None:
            out.write_text(text + "\n")
    if output is Output.JSON:
        typer.echo(text)
    elif output is Output.MARKDOWN:
        from pgvillage.report.markdown import plan_markdown

        typer.echo(plan_markdown(plan))
    else:
        from pgvillage.report.text import print_plan

        print_plan(console_of(no_color=no_color), plan, sql=sql)
    return exit_of_plan(plan, detailed=detailed_exitcode)
