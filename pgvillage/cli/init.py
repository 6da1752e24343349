"""pgvillage init."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import NoColorOption, console_of

if TYPE_CHECKING:
    from pgvillage.usecases.init import Connection


def command(
    folder: Annotated[Path, typer.Argument(help="Where to write; must hold no estate yet.")] = Path(),
    from_live: Annotated[
        str | None, typer.Option("--from-live", metavar="DSN", help="Write manifests of this living cluster.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="The cluster's name in the estate.")] = "main",
    no_color: NoColorOption = False,
) -> int:
    """Start an estate: a scaffold, or with --from-live manifests of a cluster that lives already."""
    import asyncio

    from pgvillage.usecases.init import from_live as write_from_live
    from pgvillage.usecases.init import scaffold
    from pgvillage.wiring import RealWorld

    if from_live is None:
        written = scaffold(folder)
    else:
        written = asyncio.run(write_from_live(folder, name, _connection(from_live), RealWorld))
    console = console_of(no_color=no_color)
    for file in written.files:
        console.print(f"wrote {folder / file}", soft_wrap=True)
    if written.plan is None:
        console.print("next: put your own names in, `git init` the folder estate/, then `pgvillage plan`")
        return 0
    from pgvillage.report.text import print_plan

    print_plan(console, written.plan)
    console.print("next: read the manifests, `git init` and commit the folder estate/, then `pgvillage plan`")
    return 0


def _connection(dsn: str) -> Connection:
    """Raises UsageError. A password in the DSN is refused: it would stand in the shell's history and in `ps`."""
    import os

    from pgvillage.clients.pg_dsn import parse_dsn
    from pgvillage.core.errors import UsageError
    from pgvillage.usecases.init import Connection

    found = parse_dsn(dsn)
    if found.get("password"):
        raise UsageError("--from-live: put the password into the environment variable PGPASSWORD, not into the DSN")
    host = str(found.get("host") or "localhost")
    return Connection(
        host=f"{host}:{found.get('port') or 5432}",
        user=str(found.get("user") or os.environ.get("PGUSER") or "postgres"),
        database=str(found.get("dbname") or "postgres"),
        sslmode=str(found.get("sslmode") or ("prefer" if host in ("localhost", "127.0.0.1", "::1") else "verify-full")),
        password={"env": "PGPASSWORD"} if "PGPASSWORD" in os.environ else None,
    )
