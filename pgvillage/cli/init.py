"""pgvillage init."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgvillage.cli.options import NoColorOption, console_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from pgvillage.usecases.init import Connection, Written


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

    from pgvillage.clients.git_init import repository_around, start_repository
    from pgvillage.usecases.init import Repositories, scaffold
    from pgvillage.usecases.init import from_live as write_from_live
    from pgvillage.wiring import RealWorld

    git = Repositories(repository_around, start_repository)
    if from_live is None:
        written = scaffold(folder, git)
    else:
        written = asyncio.run(write_from_live(folder, name, _connection(from_live), RealWorld, git))
    console = console_of(no_color=no_color)
    for file in written.files:
        console.print(f"wrote {folder / file}", soft_wrap=True)
    if written.plan is None:
        console.print(f"next: put your own names in, `pgvillage validate`, then commit {folder / 'estate'}")
        return 0
    return _report(console, written, folder)


def _report(console: Console, written: Written, folder: Path) -> int:
    from pgvillage.report.text import print_plan
    from pgvillage.report.words import show_text
    from pgvillage.usecases.outcome import exit_of_plan

    assert written.plan is not None
    for what, why in sorted(written.outside.items()):
        console.print(f"left outside the estate: {what}: {show_text(why)}", soft_wrap=True)
    print_plan(console, written.plan)
    # Changes only: an earlier estate may have left its ledger, and that gate is the plan's to tell.
    if written.plan.changes or not written.plan.complete:
        console.print("the manifests don't say quite what is there: correct them before anything is applied")
        return exit_of_plan(written.plan, detailed=True)
    for variable, what in sorted(written.secrets.items()):
        text = f"to fill in: {show_text(what)}, in the environment as {variable} (see pgvillage.yaml)"
        console.print(text, soft_wrap=True)
    console.print(f"next: read the manifests, commit {folder / 'estate'}, then `pgvillage plan`")
    console.print("`policy: {correct: off}` in estate.yaml holds every correction until you say otherwise")
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
    hosts = _hosts(found)
    local = all(host.startswith(("localhost:", "127.0.0.1:", "[::1]:", "/")) for host in hosts)
    return Connection(
        hosts=hosts,
        user=str(found.get("user") or os.environ.get("PGUSER") or "postgres"),
        database=str(found.get("dbname") or os.environ.get("PGDATABASE") or "postgres"),
        sslmode=str(found.get("sslmode") or os.environ.get("PGSSLMODE") or ("prefer" if local else "verify-full")),
        password={"env": "PGPASSWORD"} if "PGPASSWORD" in os.environ else None,
        sslrootcert=found.get("sslrootcert") or os.environ.get("PGSSLROOTCERT"),
    )


def _hosts(found: Mapping[str, Any]) -> list[str]:
    """HOST:PORT of each; as libpq has it, one port may serve all hosts."""
    import os

    from pgvillage.core.errors import UsageError

    names = str(found.get("host") or found.get("hostaddr") or os.environ.get("PGHOST") or "localhost").split(",")
    ports = str(found.get("port") or os.environ.get("PGPORT") or "5432").split(",")
    if len(ports) not in (1, len(names)):
        raise UsageError(f"--from-live: {len(names)} hosts and {len(ports)} ports")
    pairs = zip(names, ports * (len(names) if len(ports) == 1 else 1), strict=True)
    return [f"[{name}]:{port or 5432}" if ":" in name else f"{name}:{port or 5432}" for name, port in pairs]
