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
    import json

    from pgvillage.core.errors import UsageError
    from pgvillage.estate.schema import schemas

    found = schemas()
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        for name, schema in found.items():
            (write / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
        typer.echo(f"{len(found)} schemas written to {write}")
        return 0
    file = f"{kind.lower()}.json"
    if file not in found:
        raise UsageError(f"no schema {kind!r}; there are {', '.join(sorted(n.removesuffix('.json') for n in found))}")
    typer.echo(json.dumps(found[file], indent=2, ensure_ascii=False))
    return 0
