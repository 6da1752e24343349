"""pgvillage explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgvillage.cli.options import (
    DEFAULT_SETTINGS,
    EXIT_PARTIAL,
    NoColorOption,
    RevisionOption,
    SettingsOption,
    TargetOption,
    TextOrJson,
    TextOrJsonOption,
    TimeoutOption,
    console_of,
    scope_of,
    world_of,
)
from pgvillage.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from pgvillage.core.rotation import Rotation
    from pgvillage.core.secret import InUse
    from pgvillage.core.state import State
    from pgvillage.usecases.estate import Scope
    from pgvillage.usecases.explain import Explanation


def command(
    address: Annotated[str, typer.Argument(help="CLUSTER/KIND/NAME, as plans show it, or `role` and a NAME.")],
    name: Annotated[str | None, typer.Argument(help="The role, after `role`: everything it can do, and why.")] = None,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: TextOrJsonOption = TextOrJson.TEXT,
    target: TargetOption = None,
    revision: RevisionOption = None,
    no_color: NoColorOption = False,
    timeout: TimeoutOption = None,
) -> int:
    """Say who asks for an object and where, what is live, what was applied last, and what differs.

    `explain role NAME` says what a role can do instead, and by which way.
    """
    import asyncio

    if name is not None:
        _check_word(address)
        return _explain_role(name, settings, scope_of(target, None, None, revision), output, no_color, timeout)
    if output is not TextOrJson.TEXT or target:
        raise UsageError("-o and -t are for `explain role NAME`; an address names its cluster itself")
    from pgvillage.usecases.explain import explain

    found = asyncio.run(explain(world_of(settings, timeout), address, revision))
    _print(console_of(no_color=no_color), found)
    return 0


def _check_word(word: str) -> None:
    if word != "role":
        raise UsageError(f"explain {word!r} with a second word: expected `explain role NAME`, or one CLUSTER/KIND/NAME")


def _explain_role(
    name: str, settings: Path, scope: Scope, output: TextOrJson, no_color: bool, timeout: float | None
) -> int:
    import asyncio
    import json

    from pgvillage.usecases.explain_role import explain_role

    found = asyncio.run(explain_role(world_of(settings, timeout), scope, name))
    if output is TextOrJson.JSON:
        from pgvillage.report.role_json import accounts_document

        typer.echo(json.dumps(accounts_document(found), indent=2, ensure_ascii=False))
    else:
        from pgvillage.report.role_text import print_accounts

        print_accounts(console_of(no_color=no_color), found)
    return EXIT_PARTIAL if found.failed else 0


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
