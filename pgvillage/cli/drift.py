"""pgvillage drift."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    ExcludeOption,
    NoColorOption,
    SelectorOption,
    SettingsOption,
    TargetOption,
    TimeoutOption,
    console_of,
    scope_of,
    world_of,
)


class DriftOutput(enum.StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    CHAT = "chat"


def command(
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: Annotated[
        DriftOutput, typer.Option("-o", "--output", help="How to print; chat is what chat would get.")
    ] = (DriftOutput.TEXT),
    target: TargetOption = None,
    exclude: ExcludeOption = None,
    selector: SelectorOption = None,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Show what somebody changed by hand: live differs from what was applied. Exit 2 when there is any."""
    import asyncio
    import json

    from pgvillage.usecases.drift import only_drift
    from pgvillage.usecases.outcome import exit_of_drift
    from pgvillage.usecases.plan import make_plan

    planned = asyncio.run(make_plan(world_of(settings, timeout), scope_of(target, exclude, selector)))
    plan = only_drift(planned.plan)
    if output is DriftOutput.JSON:
        from pgvillage.report.json import plan_document

        typer.echo(json.dumps(plan_document(plan), indent=2, ensure_ascii=False))
    elif output is DriftOutput.MARKDOWN:
        from pgvillage.report.markdown import plan_markdown

        typer.echo(plan_markdown(plan))
    elif output is DriftOutput.CHAT:
        from pgvillage.report.chat import as_text, drift_message

        typer.echo(as_text(drift_message(plan)))
    else:
        from pgvillage.report.text import print_plan

        print_plan(console_of(no_color=no_color), plan, heading="Drift")
    return exit_of_drift(plan)
