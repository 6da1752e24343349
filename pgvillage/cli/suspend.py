"""pgvillage suspend and resume: nothing is applied to a target for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    NoColorOption,
    SettingsOption,
    TextOrJson,
    TextOrJsonOption,
    TimeoutOption,
    console_of,
    world_of,
)

if TYPE_CHECKING:
    from pgvillage.core.errors import PgVillageError
    from pgvillage.core.plan import TargetId
    from pgvillage.core.status import Suspension
    from pgvillage.usecases.suspend import Noted
    from pgvillage.wiring import RealWorld

    Found = list[tuple[TargetId, Noted | PgVillageError]]

TargetsArgument = Annotated[list[str], typer.Argument(metavar="TARGET...", help="Clusters, as plans name them.")]


def suspend(
    targets: TargetsArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why, for everybody who will ask.")],
    until: Annotated[
        str | None, typer.Option("--until", help="2026-12-01T10:00, UTC unless it says otherwise.")
    ] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="How long instead, as 90m, 2h, 3d or 1d12h.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who, instead of you on this machine.")] = None,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Let nothing be applied to these targets: no command and no daemon does, until it ends. Plans go on."""
    from pgvillage.cli.times import end_of
    from pgvillage.usecases.suspend import new_suspension

    world = world_of(settings, timeout)
    now = world.now().replace(microsecond=0)
    end = end_of(until, lasts, now)
    found = new_suspension(by if by is not None else _somebody(), reason, now, end)
    return _set(world, targets, found, output, no_color=no_color)


def resume(
    targets: TargetsArgument,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """End the suspension of these targets."""
    return _set(world_of(settings, timeout), targets, None, output, no_color=no_color)


def _somebody() -> str:
    import getpass
    import socket

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        import os

        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def _set(
    world: RealWorld, names: list[str], suspension: Suspension | None, output: TextOrJson, *, no_color: bool
) -> int:
    import asyncio

    from pgvillage.usecases.estate import Scope
    from pgvillage.usecases.suspend import set_suspensions

    found = asyncio.run(set_suspensions(world, Scope(tuple(names)), suspension))
    if output is TextOrJson.JSON:
        import json

        typer.echo(json.dumps([_document(*each) for each in found], indent=2, ensure_ascii=False))
    else:
        _print(found, no_color=no_color)
    return _exit_code(found)


def _print(found: Found, *, no_color: bool) -> None:
    from rich.text import Text

    from pgvillage.report.words import visible

    console = console_of(no_color=no_color)
    width = max((len(str(target)) for target, _ in found), default=0)
    for target, noted in found:
        problem = _problem(noted)
        mark, style = ("✗", "red") if problem else ("✓", "green")
        words = problem or _words(noted)  # type: ignore[arg-type]
        name = (f"{target!s:<{width}}", "bold cyan")
        console.print(Text.assemble((f"{mark} ", style), name, f"  {visible(words)}"), soft_wrap=True)


def _problem(noted: Noted | PgVillageError) -> str:
    from pgvillage.core.errors import PgVillageError

    if isinstance(noted, PgVillageError):
        return str(noted)
    return f"{noted.problem}; nothing else could keep the suspension for a command" if noted.problem else ""


def _words(noted: Noted) -> str:
    from pgvillage.engine.standing_still import suspension_words

    if noted.suspension is not None:
        before = f" (in the place of: {suspension_words(noted.before)})" if noted.before else ""
        return suspension_words(noted.suspension) + before
    return f"goes on; it was {suspension_words(noted.before)}" if noted.before else "was not suspended"


def _document(target: TargetId, noted: Noted | PgVillageError) -> dict[str, object]:
    from pgvillage.core.errors import PgVillageError

    found = None if isinstance(noted, PgVillageError) or noted.problem else noted.suspension
    until = found.until.isoformat() if found and found.until else None
    facts = (
        {"by": found.by, "reason": found.reason, "since": found.since.isoformat(), "until": until} if found else None
    )
    return {"target": str(target), "suspension": facts, "error": _problem(noted) or None}


def _exit_code(found: Found) -> int:
    """Nothing done at all is 1, somewhere not is 6, a lock that was not had is 7."""
    from pgvillage.core.errors import LockNotAcquired
    from pgvillage.usecases.outcome import weightiest

    failed = [noted for _, noted in found if _problem(noted)]
    codes = [7 if isinstance(noted, LockNotAcquired) else 6 for noted in failed]
    if failed and len(failed) == len(found) and 7 not in codes:
        codes.append(1)
    return weightiest(codes)
