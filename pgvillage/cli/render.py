"""pgvillage render."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from pgvillage.cli.options import DEFAULT_SETTINGS, RevisionOption, SettingsOption, world_of


class Program(enum.StrEnum):
    HAPROXY = "haproxy"
    KEEPALIVED = "keepalived"


def command(
    program: Annotated[Program, typer.Argument(help="Whose configuration.")],
    cluster: Annotated[str, typer.Argument(help="A cluster of the estate.")],
    node: Annotated[str, typer.Option("--node", help="keepalived: the machine that the file is for.")] = "",
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", metavar="NAME=ADDRESS", help="keepalived: a machine it runs on; the nodes when unset."),
    ] = None,
    token_variable: Annotated[
        str, typer.Option("--token-variable", help="HAProxy: environment variable with the routing API's token.")
    ] = "",
    ca: Annotated[
        str, typer.Option("--ca", help="HAProxy: CA file for the routing API's certificate; the system's when unset.")
    ] = "@system-ca",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there, whole or not at all.")] = None,
    settings: SettingsOption = DEFAULT_SETTINGS,
    revision: RevisionOption = None,
) -> int:
    """Print the configuration of HAProxy or keepalived before a cluster, made of its manifest's `connect`."""
    import asyncio

    from pgvillage.usecases.render import RenderWishes, haproxy_of, keepalived_of

    wishes = RenderWishes(revision, token_variable, ca, node, tuple(peer or ()))
    render = haproxy_of if program is Program.HAPROXY else keepalived_of
    text = asyncio.run(render(world_of(settings), cluster, wishes))
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text)
        typer.echo(f"wrote {out}", err=True)
    return 0


def _write(out: Path, text: str) -> None:
    """The old file stays whole until the new one is on disk; its mode is kept."""
    import os
    import tempfile

    from pgvillage.core.errors import PgVillageError

    fresh = ""
    try:
        mode = out.stat().st_mode & 0o777 if out.exists() else 0o644
        number, fresh = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.absolute().parent)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(fresh).chmod(mode)
        Path(fresh).replace(out)
    except OSError as error:
        if fresh:
            Path(fresh).unlink(missing_ok=True)
        raise PgVillageError(f"can't write {out}: {error.strerror}") from None
