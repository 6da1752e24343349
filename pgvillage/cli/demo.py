"""pgvillage demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgvillage.cli.options import NoColorOption, console_of


def command(
    context: typer.Context,
    folder: Annotated[Path, typer.Option("--folder", help="Where to play; made anew.")] = Path("pgvillage-demo"),
    no_color: NoColorOption = False,
) -> int:
    """See the main job on servers of its own: plan, apply, drift, correct. Needs no server and no root."""
    from pgvillage.demo.story import play

    console = console_of(no_color=no_color)
    return play(folder.absolute(), console, context.obj)
