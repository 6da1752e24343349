"""pgvillage who-can."""

from __future__ import annotations

from typing import Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    EXIT_PARTIAL,
    ExcludeOption,
    NoColorOption,
    SelectorOption,
    SettingsOption,
    TargetOption,
    TextOrJson,
    TextOrJsonOption,
    TimeoutOption,
    console_of,
    scope_of,
    world_of,
)

AllOption = Annotated[bool, typer.Option("--all", help="Name every role, however many have the same way.")]


def command(
    privilege: Annotated[
        str,
        typer.Argument(
            help="select, insert, usage, execute, set, 'alter system' …, or 'select with grant option'.",
            metavar="PRIVILEGE",
        ),
    ],
    name: Annotated[
        str,
        typer.Argument(
            help="DATABASE, DATABASE.SCHEMA, DATABASE.SCHEMA.OBJECT, DATABASE.SCHEMA.TABLE.COLUMN or "
            "DATABASE.SCHEMA.FUNCTION(TYPES), for example orders.app.customers; or with its class tablespace:NAME, "
            "parameter:NAME, language:DATABASE.NAME, foreign-data-wrapper:DATABASE.NAME, foreign-server:DATABASE.NAME, "
            "large-object:DATABASE.OID.",
            metavar="OBJECT",
        ),
    ],
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    target: TargetOption = None,
    exclude: ExcludeOption = None,
    selector: SelectorOption = None,
    every: AllOption = False,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Say who has a privilege on an object right now, by which way, and what still hinders them."""
    import asyncio
    import json

    from pgvillage.usecases.who_can import who_can

    found = asyncio.run(who_can(world_of(settings, timeout), scope_of(target, exclude, selector), privilege, name))
    if output is TextOrJson.JSON:
        from pgvillage.report.access_json import answers_document

        typer.echo(json.dumps(answers_document(found), indent=2, ensure_ascii=False))
    else:
        from pgvillage.report.access_text import print_answers

        print_answers(console_of(no_color=no_color), found, every=every)
    return 0 if found.complete else EXIT_PARTIAL
