"""pgvillage reconcile and approve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.asking import (
    CaOption,
    Server,
    ServerOption,
    TokenFileOption,
    client_of,
    no_history,
    somebody,
    state_of,
)
from pgvillage.cli.options import DEFAULT_SETTINGS, NoColorOption, SettingsOption, world_of

if TYPE_CHECKING:
    from pgvillage.core.history import Approval
    from pgvillage.wiring import RealWorld

_SHORTEST = 12
_DIGEST = 64


def reconcile(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="Targets, as `get targets` names them.")],
    settings: SettingsOption = DEFAULT_SETTINGS,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    no_color: NoColorOption = False,
) -> int:
    """Look at targets now and apply by policy: a daemon is asked to; without one it is `apply --auto` of them."""
    from pgvillage.cli.apply import command as apply

    with client_of(Server(server, token_file, ca)) as client:
        if client is not None:
            for target in targets:
                client.post("targets", target, "reconcile")
                typer.echo(f"{_shown(target)}: asked to look now; `pgvillage events --watch` shows what comes of it")
            return 0
    return apply(auto=True, settings=settings, target=targets, no_color=no_color)


def approve(
    target: Annotated[str, typer.Argument(help="A target, as `get targets` names it.")],
    digest: Annotated[str, typer.Argument(help="Of its plan, 12 digits or more; `describe` shows it.")],
    comment: Annotated[str, typer.Option("--comment", help="Why, for the audit.")] = "",
    settings: SettingsOption = DEFAULT_SETTINGS,
    server: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
) -> int:
    """Let the newest plan of a target pass its gates, and no other plan: a daemon applies it then."""
    from pgvillage.core.errors import UsageError

    if not _SHORTEST <= len(digest) <= _DIGEST or set(digest) - set("0123456789abcdef"):
        raise UsageError(f"a digest has {_SHORTEST} to {_DIGEST} of 0-9 and a-f; `pgvillage describe TARGET` shows it")
    with client_of(Server(server, token_file, ca)) as client:
        if client is not None:
            whole = _whole(target, digest, str(client.get("targets", target)["digest"]))
            until = str(client.post("targets", target, "approve", digest=whole, comment=comment)["until"])
        else:
            found = _approve_here(world_of(settings), target, digest, comment)
            whole, until = found.digest, found.until.isoformat()
    typer.echo(f"{_shown(target)}: plan {whole[:12]} is approved until {until[:16].replace('T', ' ')} UTC")
    return 0


def _approve_here(world: RealWorld, target: str, digest: str, comment: str) -> Approval:
    """Into the state database, where a daemon that shares it finds it. Raises UsageError."""
    from pgvillage.daemon.actions import Actions, Role, Who
    from pgvillage.report.words import approved_apply

    with state_of(world) as state:
        if state is None:
            raise no_history(f"; without a daemon: {approved_apply(target, digest)}")
        status = state.statuses.get(target)
        # Whoever may write to the state database could write an approval by other means as well.
        actions = Actions(state, world.now, lambda _: None)
        whole = _whole(target, digest, status.digest) if status is not None else digest
        return actions.approve(target, whole, comment, Who(somebody(), Role.APPROVER, "command line"))


def _whole(target: str, digest: str, newest: str) -> str:
    from pgvillage.core.errors import UsageError

    if not newest or not newest.startswith(digest):
        standing = f"stands at {newest[:12]} by now" if newest else "has no plan"
        raise UsageError(f"{_shown(target)} {standing}, not at {digest[:12]}: look at that before you approve")
    return newest


def _shown(target: str) -> str:
    from pgvillage.report.words import show_text

    return show_text(target, 100)
