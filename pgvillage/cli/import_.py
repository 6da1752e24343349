"""pgvillage import."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import NoColorOption, TextOrJson, TextOrJsonOption, console_of

if TYPE_CHECKING:
    from rich.console import Console

    from pgvillage.usecases.import_ import Imported


class Format(enum.StrEnum):
    PGFGA = "pgfga"
    LDAP2PG = "ldap2pg"
    PGBEDROCK = "pgbedrock"
    PGROUTE66 = "pgroute66"
    TERRAFORM = "terraform"


def command(
    file: Annotated[Path, typer.Argument(help="The other tool's file.", metavar="FILE")],
    format_: Annotated[
        Format | None, typer.Option("--format", help="The tool; told by the file's shape when left out.")
    ] = None,
    to: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", help="Where to write; must hold no estate yet.")
    ] = Path(),
    cluster: Annotated[str, typer.Option("--cluster", help="The cluster's name in the estate.")] = "main",
    host: Annotated[
        list[str] | None, typer.Option("--host", metavar="HOST:PORT", help="A server of the cluster; repeatable.")
    ] = None,
    database: Annotated[
        list[str] | None, typer.Option("--database", help="What the file means by all databases; repeatable.")
    ] = None,
    schema: Annotated[
        list[str] | None, typer.Option("--schema", help="What the file means by all schemas; repeatable.")
    ] = None,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
) -> int:
    """Write manifests from another tool's configuration, and name every key that is not in them. Asks no server."""
    from pgvillage.clients.git_init import repository_around, start_repository
    from pgvillage.imports.scope import Scope
    from pgvillage.usecases.import_ import import_file
    from pgvillage.usecases.init import Repositories

    scope = Scope(cluster, tuple(database or ()), tuple(schema or ()), tuple(host or ()))
    git = Repositories(repository_around, start_repository)
    done = import_file(file, to, scope, format_.value if format_ else None, git)
    if output is TextOrJson.JSON:
        typer.echo(_json(done))
    else:
        _report(console_of(no_color=no_color), done, to)
    return 0


def _json(done: Imported) -> str:
    import json

    notes = [
        {"file": n.position.file, "line": n.position.line, "key": n.key, "why": n.why, "advice": n.advice}
        for n in done.notes
    ]
    found = {"format": done.format, "source": done.source, "files": list(done.files)}
    return json.dumps({**found, "made": dict(done.counts), "notCarriedOver": notes}, ensure_ascii=False, indent=2)


def _report(console: Console, done: Imported, folder: Path) -> None:
    from pgvillage.report.words import visible

    for file in done.files:
        console.print(f"wrote {folder / file}", soft_wrap=True)
    made = ", ".join(f"{n} {kind.lower()}{'' if n == 1 else 's'}" for kind, n in done.counts.items() if n)
    console.print(f"made of {visible(done.source)} ({done.format}): {made or 'nothing'}", soft_wrap=True)
    if done.notes:
        console.print(f"\nNot carried over ({len(done.notes)}):")
        for note in done.notes:
            console.print(f"  {visible(str(note))}", soft_wrap=True)
    console.print(f"\nnext: read the manifests, commit {folder / 'estate'}, then `pgvillage plan`")
    console.print("`policy: {correct: off}` in estate.yaml holds every correction until you say otherwise")
