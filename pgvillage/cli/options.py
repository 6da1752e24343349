"""Options that commands share, and what they turn into."""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pgvillage.usecases.estate import Scope
    from pgvillage.wiring import RealWorld


class Output(enum.StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class TextOrJson(enum.StrEnum):
    TEXT = "text"
    JSON = "json"


class Correct(enum.StrEnum):
    OFF = "off"
    SAFE = "safe"
    ALL = "all"


SettingsOption = Annotated[
    Path, typer.Option("--settings", envvar="PGVILLAGE_SETTINGS", help="The settings file.", show_default=True)
]
DEFAULT_SETTINGS = Path("pgvillage.yaml")
EXIT_PARTIAL = 6
TextOrJsonOption = Annotated[TextOrJson, typer.Option("-o", "--output", help="How to print.")]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How to print.")]
TargetOption = Annotated[list[str] | None, typer.Option("-t", "--target", help="Only this cluster; repeatable.")]
ExcludeOption = Annotated[list[str] | None, typer.Option("--exclude", help="Not this cluster; repeatable.")]
SelectorOption = Annotated[list[str] | None, typer.Option("-l", "--selector", help="Only clusters with KEY=VALUE.")]
RevisionOption = Annotated[str | None, typer.Option("--revision", help="Another commit than the followed branch's.")]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="No colours; piped output never has any.")]
TimeoutOption = Annotated[float | None, typer.Option("--timeout", min=1, help="Seconds for reading one target.")]
ApproveOption = Annotated[
    list[str] | None,
    typer.Option("--approve", help="Digest of a target's plan (12 digits or more) that may pass its gates."),
]
AcknowledgeOption = Annotated[
    list[str] | None, typer.Option("--acknowledge", help="Last applied revision that may be left behind.")
]
CorrectOption = Annotated[
    Correct | None, typer.Option("--correct", help="What to do with drift, this once; settings set the ceiling.")
]


def world_of(settings: Path, timeout: float | None = None) -> RealWorld:
    """Raises SettingsError."""
    from pgvillage.core.errors import SettingsError
    from pgvillage.wiring import RealWorld, real_world

    if not settings.exists():
        raise SettingsError(f"no settings file {settings}: name one with --settings, or begin with `pgvillage init`")
    world = real_world(settings)
    if timeout is None:
        return world
    timeouts = world.settings.timeouts.model_copy(update={"read": timeout})
    return RealWorld(world.settings.model_copy(update={"timeouts": timeouts}))


def scope_of(
    targets: list[str] | None, exclude: list[str] | None, selector: list[str] | None, revision: str | None = None
) -> Scope:
    """Raises UsageError for a selector that is not KEY=VALUE."""
    from pgvillage.core.errors import UsageError
    from pgvillage.usecases.estate import Scope

    labels: dict[str, str] = {}
    for text in selector or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--selector {text!r}: expected KEY=VALUE, for example env=prod")
        labels[key] = value
    return Scope(tuple(targets or ()), tuple(exclude or ()), labels or None, revision)


def console_of(*, no_color: bool = False, stderr: bool = False) -> Console:
    """Colours on a terminal only, and not where NO_COLOR is set."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    plain = no_color or "NO_COLOR" in os.environ or not stream.isatty()
    # Piped output is read by programs: nothing is wrapped there.
    width = None if stream.isatty() else 1_000
    return Console(file=stream, no_color=plain, highlight=False, markup=False, emoji=False, width=width)
