"""pgvillage adopt."""

from __future__ import annotations

from typing import Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    NoColorOption,
    RevisionOption,
    SettingsOption,
    TimeoutOption,
    console_of,
    world_of,
)


def command(
    addresses: Annotated[
        list[str], typer.Argument(help="CLUSTER/KIND/NAME, as plans show it, for example orders/role/etl.")
    ],
    write: Annotated[bool, typer.Option("--write", help="Change the files of the estate's work tree.")] = False,
    settings: SettingsOption = DEFAULT_SETTINGS,
    revision: RevisionOption = None,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """What is live is right: show the change of the manifests that says so, as a diff, or make it with --write."""
    import asyncio

    from pgvillage.report.words import show_text, title
    from pgvillage.usecases.adopt import adopt

    found = asyncio.run(adopt(world_of(settings, timeout), addresses, write=write, revision=revision))
    console = console_of(no_color=no_color)
    console.print("\n".join(map(show_text, found.diff().splitlines())), soft_wrap=True)
    for address, why in found.refused.items():
        console.print(f"not adopted: {title(address)}: {show_text(why)}", soft_wrap=True)
    for address, note in found.notes.items():
        console.print(f"{title(address)}: {show_text(note)}", soft_wrap=True)
    for secret, what in sorted(found.secrets.items()):
        console.print(f"to fill in: secret {secret!r} in `secrets` of the settings: {show_text(what)}", soft_wrap=True)
    for path in found.written:
        console.print(f"wrote {path}", soft_wrap=True)
    if found.files:
        console.print("next: commit, then `pgvillage plan`" if found.written else "next: the same with --write")
    return 1 if found.refused else 0
