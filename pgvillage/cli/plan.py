"""pgvillage plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.merge_request import CommentOn, merge_request_of, told
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
    from pgvillage.core.plan import Plan


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
    base: Annotated[
        str | None,
        typer.Option("--base", help="Plan the merge into this branch or commit, by the policy that it has."),
    ] = None,
    comment: Annotated[
        CommentOn | None, typer.Option("--comment", help="In a pipeline: write the plan to its merge request.")
    ] = None,
    sql: Annotated[bool, typer.Option("--sql", help="Show the statements.")] = False,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Show what differs between Git and your clusters, and what apply would do. Changes nothing."""
    import asyncio

    from pgvillage.core.errors import PgVillageError, UsageError
    from pgvillage.usecases.outcome import exit_of_plan, weightiest
    from pgvillage.usecases.plan import Consent, make_plan

    if out is not None and (base or comment):
        raise UsageError("--out saves a plan for `apply`; what a merge would give is applied after the merge: leave it")
    world = world_of(settings, timeout)
    request = merge_request_of(world, comment) if comment else None
    if request is not None:
        revision, base = revision or request.head, base or request.target
    consent = Consent(approve or (), correct.value if correct else None, acknowledge or ())
    scope = replace(scope_of(target, exclude, selector, revision), base=base)
    try:
        plan = asyncio.run(make_plan(world, scope, consent)).plan
    except PgVillageError as error:
        if request is not None:
            told(world, request, base or "", scope.words(), error)
        raise
    _save(plan, out)
    _show(plan, output, sql=sql, no_color=no_color)
    code = exit_of_plan(plan, detailed=detailed_exitcode)
    if request is None:
        return code
    return weightiest([code, told(world, request, base or "", scope.words(), plan)])


def _save(plan: Plan, out: Path | None) -> None:
    if out is not None:
        out.write_text(_json(plan) + "\n")


def _json(plan: Plan) -> str:
    import json

    from pgvillage.report.json import plan_document

    return json.dumps(plan_document(plan), indent=2, ensure_ascii=False)


def _show(plan: Plan, output: Output, *, sql: bool, no_color: bool) -> None:
    if output is Output.JSON:
        typer.echo(_json(plan))
    elif output is Output.MARKDOWN:
        from pgvillage.report.markdown import plan_markdown

        typer.echo(plan_markdown(plan))
    else:
        from pgvillage.report.text import print_plan

        print_plan(console_of(no_color=no_color), plan, sql=sql)
