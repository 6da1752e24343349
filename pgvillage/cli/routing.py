"""pgvillage routing."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import DEFAULT_SETTINGS, SettingsOption, world_of

if TYPE_CHECKING:
    from pgvillage.wiring import RealWorld


class Action(enum.StrEnum):
    SERVE = "serve"
    FORGET = "forget"


def command(
    action: Annotated[
        Action, typer.Argument(help="`serve` runs; `forget` has it forget timelines and split brains of a group.")
    ] = Action.SERVE,
    group: Annotated[str, typer.Argument(help="What to forget: a cluster's name.")] = "",
    clusters: Annotated[
        list[str] | None, typer.Option("--clusters", help="Only this cluster; repeatable. All when unset.")
    ] = None,
    node: Annotated[
        str,
        typer.Option("--node", metavar="CLUSTER/NODE", help="Stand for one node: /primary and the like are about it."),
    ] = "",
    settings: SettingsOption = DEFAULT_SETTINGS,
) -> int:
    """Run the routing API: which node is the primary, which standbys may be read; for HAProxy and programs."""
    import asyncio

    from pgvillage.core.errors import UsageError
    from pgvillage.routing.service import serve_routing

    if (action is Action.FORGET) != bool(group):
        raise UsageError("`pgvillage routing forget GROUP` needs the group's name, and nothing else takes one")
    world = world_of(settings)
    if action is Action.FORGET:
        return _forget(world, group, node)
    asyncio.run(serve_routing(world, tuple(clusters or ()), node))
    return 0


def _forget(world: RealWorld, group: str, node: str) -> int:
    import difflib
    import time

    from pgvillage.core.errors import PgVillageError, UsageError
    from pgvillage.routing.service import memory_file

    file = memory_file(world, node)
    known = file.read()
    if group not in known:
        near = difflib.get_close_matches(group, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{file.path} remembers nothing of {group!r}{hint}")
    try:
        place = file.wish_to_forget(group)
    except OSError as error:
        raise PgVillageError(
            f"can't write beside {file.path}: {error.strerror}; run it as the routing API's user"
        ) from None
    deadline = time.monotonic() + 3
    while place.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    if place.exists():
        typer.echo(f"the routing API does not run with {file.path}; it will forget {group} when it starts")
    else:
        typer.echo(f"forgotten: {group}; every node of it is asked anew")
    return 0
