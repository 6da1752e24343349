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
    from collections.abc import Iterator

    from rich.console import Console

    from pgvillage.core.rotation import Rotation
    from pgvillage.core.secret import InUse
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
    from pgvillage.report.words import show_text

    resource, entry, change = found.resource, found.entry, found.change
    if resource is None:
        lines = [("declared", "nowhere: PgVillage leaves it alone")]
    else:
        word = "must not be" if resource.state is None else "must be as declared"
        lines = [("declared", f"{resource.source}: {word}" + (f" ({resource.reason})" if resource.reason else ""))]
    if found.groups:
        lines.append(("through", ", ".join(map(show_text, found.groups))))
    if found.logins:
        lines += [("logins", text) for text in _logins(*found.logins)]
    lines += _states(found)
    lines.append(("read", f"{found.observed_at:%Y-%m-%d %H:%M:%S} UTC"))
    if entry is None:
        lines.append(("ledger", "never applied by PgVillage"))
    else:
        made = "made by PgVillage" if entry.made else "adopted"
        lines.append(("ledger", f"{made}, last applied from revision {entry.revision[:12] or '(none)'}"))
        if entry.disabled_since:
            lines.append(("disabled", f"since {entry.disabled_since:%Y-%m-%d %H:%M} UTC"))
    settled = "as declared" if resource else "nothing is done about it"
    lines.append(("now", f"{change.action} ({change.origin}, {change.risk})" if change else settled))
    if change and change.held:
        lines.append(("held", change.held))
    return [*lines, *((finding.severity, finding.message) for finding in found.findings)]


def _logins(rotation: Rotation, use: InUse | None) -> Iterator[str]:
    """Which of the two is in use, and no password."""
    from pgvillage.report.words import show_text

    first, second = map(show_text, rotation.roles)
    if use is None:
        yield f"{first} and {second} by turns; which one is in use is not known here"
        return
    active, pending = show_text(use.username), show_text(use.pending)
    if use.since is None:
        yield f"{first} and {second} by turns; none is in use yet"
    else:
        until = use.since + rotation.every
        yield f"{active} is in use since {use.since:%Y-%m-%d %H:%M} UTC; due for rotation {until:%Y-%m-%d %H:%M} UTC"
    if use.pending:
        yield f"{pending} has a new password stored, and takes over when every cluster has it"


def _states(found: Explanation) -> list[tuple[str, str]]:
    """Live and desired in one list: what differs as `live -> desired`."""
    desired = found.resource.state if found.resource else None
    if found.unread:
        return [*_listed("desired", _shown(desired)), ("live", f"not read: {found.unread}")]
    if found.live is None:
        return [*_listed("desired", _shown(desired)), ("live", "does not exist")]
    live, wanted = _shown(found.live), _shown(desired)
    if desired is None:
        return _listed("live", live)
    both = {
        name: f"{live.get(name, '(none)')} -> {wanted.get(name, '(none)')}"
        if live.get(name) != wanted.get(name)
        else live[name]
        for name in {**live, **wanted}
    }
    changed = {field.name for field in found.change.fields} if found.change else set()
    both |= dict.fromkeys(sorted(found.live.SENSITIVE & changed), "changed")
    return _listed("live", both)


def _shown(state: State | None) -> dict[str, str]:
    """Every field but the sensitive ones."""
    from pgvillage.report.words import show_value

    if state is None:
        return {}
    return {name: show_value(value) for name, value in state.as_fields().items() if name not in state.SENSITIVE}


def _listed(label: str, fields: dict[str, str]) -> list[tuple[str, str]]:
    texts = [f"{name} = {text}" for name, text in fields.items()]
    return [(label if index == 0 else "", text) for index, text in enumerate(texts or ["(exists)"])]
