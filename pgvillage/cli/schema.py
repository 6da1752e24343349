"""pgvillage schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    kind: Annotated[str, typer.Argument(help="estate, cluster, database, user, group, job, or any.")] = "any",
    write: Annotated[Path | None, typer.Option("--write", help="Write every schema into this folder.")] = None,
) -> int:
    """Print the JSON Schema of a manifest kind, for editors and other tools."""
    from pgvillage.core.errors import UsageError
    from pgvillage.core.schema_files import write_schemas, written
    from pgvillage.estate.schema import schemas

    found = schemas()
    if write is not None:
        write_schemas(write, found)
        typer.echo(f"{len(found)} schemas written to {write}")
        return 0
    file = f"{kind.lower()}.json"
    if file not in found:
        raise UsageError(f"no schema {kind!r}; there are {', '.join(sorted(n.removesuffix('.json') for n in found))}")
    typer.echo(written(found[file]), nl=False)
    return 0
