"""pgvillage notify."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import DEFAULT_SETTINGS, SettingsOption, world_of

if TYPE_CHECKING:
    from pgvillage.core.notice import Notice
    from pgvillage.settings import Channel, Settings
    from pgvillage.wiring import RealWorld


class Action(enum.StrEnum):
    TEST = "test"


def command(
    action: Annotated[Action, typer.Argument(help="`test` tries a channel.")],  # noqa: ARG001 - there is one
    channel: Annotated[str, typer.Argument(help="A channel of the settings.")],
    preview: Annotated[bool, typer.Option("--preview", help="Show what would be sent, and send nothing.")] = False,
    target: Annotated[
        str | None, typer.Option("-t", "--target", help="Show what there is to say of this cluster now.")
    ] = None,
    settings: SettingsOption = DEFAULT_SETTINGS,
) -> int:
    """Send a test message to a chat channel and say what the service answered, or show the message alone."""
    import asyncio

    world = world_of(settings)
    found = _channel(world.settings, channel)
    notice = asyncio.run(_notice(world, channel, found, target))
    if preview:
        _show(found, notice)
        return 0
    from pgvillage.daemon.chat_delivery import deliver

    done = asyncio.run(deliver(channel, found, _marked(notice), f"test {world.now().timestamp()}"))
    typer.echo(f"delivered to {channel}; {found.service} answered: {done.answer}")
    return 0


def _channel(settings: Settings, name: str) -> Channel:
    from difflib import get_close_matches

    from pgvillage.core.errors import UsageError

    found = settings.channels.get(name)
    if found is not None:
        return found
    close = get_close_matches(name, settings.channels, 1)
    there_are = ", ".join(sorted(settings.channels)) or "none; add it under `channels:`"
    hint = f"did you mean {close[0]}?" if close else f"there are {there_are}"
    raise UsageError(f"the settings have no channel {name!r}: {hint}")


async def _notice(world: RealWorld, name: str, channel: Channel, target: str | None) -> Notice:
    """What there is to say of `target` now, else a test message."""
    from pgvillage.core.notice import Notice, Told

    how = "bot" if channel.token is not None else "incoming webhook"
    link = world.settings.serve.url or ""
    lines: tuple[str, ...] = (f"channel {name}: {channel.service}, {how}",)
    if target is not None:
        told = await _about(world, target)
        if told is not None:
            return told
        lines = (*lines, f"{target}: there is nothing to say now")
    return Notice(
        "test", Told.OPENED, "info", f"test:{name}", lines=lines, step="this is where PgVillage will write", link=link
    )


async def _about(world: RealWorld, target: str) -> Notice | None:
    from pgvillage.core.notice import Told
    from pgvillage.core.status import TargetStatus
    from pgvillage.daemon.chat_sights import concerns
    from pgvillage.daemon.look import Look
    from pgvillage.usecases.estate import Scope
    from pgvillage.usecases.plan import make_plan

    planned = await make_plan(world, Scope((target,)))
    for each in planned.plan.targets:
        labels = planned.estate.views[each.target.cluster].cluster.metadata.labels
        look = Look(str(each.target), planned.plan, TargetStatus(str(each.target), labels), labels)
        for concern in concerns(look, world.settings.serve.url):
            if concern.sight is not None and concern.sight.key:
                return concern.notice(Told.OPENED)
    return None


def _marked(notice: Notice) -> Notice:
    """A test message that shows this one: nobody may take it for real."""
    from dataclasses import replace

    from pgvillage.report.chat_texts import chat_text

    if notice.kind == "test":
        return notice
    text = chat_text(notice)
    lines = ("this is how it would look:", text.title, *text.lines)
    return replace(notice, kind="test", severity="info", lines=lines, step="")


def _show(channel: Channel, notice: Notice) -> None:
    import json

    from pgvillage.daemon.chat_delivery import templates_of
    from pgvillage.report.chat_payload import payload_of
    from pgvillage.report.chat_plain import mark

    payload, text = payload_of(channel, notice, templates_of(channel))
    typer.echo(f"{mark(notice)} {text.title}")
    for line in text.lines:
        typer.echo(f"┃ {line}")
    if notice.link:
        typer.echo(f"┃ {notice.link}")
    typer.echo("")
    typer.echo(json.dumps(payload, indent=2, ensure_ascii=False))
