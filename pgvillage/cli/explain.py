"""pgvillage explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from rich.console import Console

    from pgvillage.core.state import State
    from pgvillage.usecases.explain import Explanation


def command(
    address: Annotated[str, typer.Argument(help="CLUSTER/KIND/NAME, as plans show it, for example orders/role/etl.")],
    settings: SettingsOption = DEFAULT_SETTINGS,
    revision: RevisionOption = None,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Say who asks for an object and where, what is live, what was applied last, and what differs."""
    import asyncio

    from pgvillage.usecases.explain import explain

    found = asyncio.run(explain(world_of(settings, timeout), address, revision))
    _print(console_of(no_color=no_color), found)
    return 0


def _print(console: Console, found: Explanation) -> None:
    from rich.text import Text

    from pgvillage.report.words import title

    console.print(Text(title(found.address), style="bold"))
    for name, text in _lines(found):
        console.print(Text.assemble((f"  {name:<12}", "dim"), text), soft_wrap=True)


def _lines(found: Explanation) -> list[tuple[str, str]]:
    from pgvillage.report.words import field_line, show_text

    resource, entry = found.resource, found.entry
    lines: list[tuple[str, str]] = []
    if resource is None:
        lines.append(("declared", "nowhere: PgVillage leaves it alone"))
    else:
        word = "must not be" if resource.state is None else "must be as declared"
        lines.append(("declared", f"{resource.source}: {word}" + (f" ({resource.reason})" if resource.reason else "")))
    if found.groups:
        lines.append(("through", ", ".join(map(show_text, found.groups))))
    if resource is not None and resource.state is not None:
        lines += _state("desired", resource.state)
    if found.unread:
        lines.append(("live", f"not read: {found.unread}"))
    else:
        lines += _state("live", found.live) if found.live is not None else [("live", "does not exist")]
    lines.append(("read", f"{found.observed_at:%Y-%m-%d %H:%M:%S} UTC"))
    if entry is not None:
        made = "made by PgVillage" if entry.made else "adopted"
        lines.append(("ledger", f"{made}, last applied from revision {entry.revision[:12] or '(none)'}"))
        if entry.disabled_since:
            lines.append(("disabled", f"since {entry.disabled_since:%Y-%m-%d %H:%M} UTC"))
    else:
        lines.append(("ledger", "never applied by PgVillage"))
    change = found.change
    lines.append(("now", f"{change.action} ({change.origin}, {change.risk})" if change else "as desired"))
    if change:
        lines += [("", field_line(change, each)) for each in change.fields]
        lines += [("held", change.held)] if change.held else []
    lines += [(finding.severity, finding.message) for finding in found.findings]
    return lines


def _state(name: str, state: State) -> list[tuple[str, str]]:
    from pgvillage.report.words import show_value
    from pgvillage.usecases.explain import without_sensitive

    fields = [f"{key} = {show_value(value)}" for key, value in without_sensitive(state).as_fields().items()]
    return [(name if index == 0 else "", text) for index, text in enumerate(fields or ["(exists)"])]
