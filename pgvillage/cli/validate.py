"""pgvillage validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pgvillage.cli.options import DEFAULT_SETTINGS, RevisionOption, SettingsOption


def command(
    path: Annotated[
        Path | None, typer.Argument(help="A folder of manifests; the settings' repository when left out.")
    ] = None,
    settings: SettingsOption = DEFAULT_SETTINGS,
    revision: RevisionOption = None,
) -> int:
    """Check every manifest: all errors of all files at once, each with its place. Asks no server."""
    from pgvillage.usecases.validate import validate_estate

    names = None
    limit = 1 << 20
    if path is None or settings.exists():
        from pgvillage.cli.options import world_of

        world = world_of(settings)
        names, limit = world.names(), world.settings.repository.max_file_size
        folder = path if path is not None else world.checkout(revision).root
    else:
        folder = path
    summary = validate_estate(folder, names, limit)
    for warning in summary.warnings:
        typer.echo(str(warning), err=True)
    typer.echo(str(summary))
    return 0
