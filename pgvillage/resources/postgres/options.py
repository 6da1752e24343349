"""Options of foreign objects: as PostgreSQL stores them, and the words that change them one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pgvillage.core.change import Change
from pgvillage.core.state import UNMANAGED, State
from pgvillage.core.step import SecretPlace
from pgvillage.resources.postgres.sql import ident, literal

Text = str | SecretPlace
PREFIX = "options."  # of an option's field in a change


def parse_options(stored: Sequence[str] | None) -> dict[str, str]:
    """`['host=a', 'port=5432']` by name; an option that has no value has an empty one."""
    return {name: value for name, _, value in (each.partition("=") for each in stored or ())}


def option_fields(options: object) -> Mapping[str, Any]:
    """Each option as a field of its own, so that a plan names what differs."""
    if isinstance(options, Mapping):
        return {PREFIX + name: value for name, value in options.items()}
    return {"options": options} if options is UNMANAGED else {}  # only in a wish: "as it is" is not "none"


def changes_option(change: Change) -> bool:
    return any(f.name.startswith(PREFIX) for f in change.fields)


def new_options(options: Mapping[str, Text]) -> tuple[Text, ...]:
    """` OPTIONS (name 'value', ...)` of what is made; nothing without options."""
    return _clause([(f"{ident(name)} ", value) for name, value in sorted(options.items())])


def option_changes(before: Iterable[str], after: Mapping[str, Text], changed: Iterable[str]) -> tuple[Text, ...]:
    """` OPTIONS (ADD name 'value', SET name 'value', DROP name)`: `before` are the names there are now."""
    old, differ = set(before), set(changed)
    pieces: list[tuple[str, Text | None]] = [(f"DROP {ident(name)}", None) for name in sorted(old - set(after))]
    pieces += [(f"SET {ident(name)} ", after[name]) for name in sorted(old & set(after) & differ)]
    pieces += [(f"ADD {ident(name)} ", after[name]) for name in sorted(set(after) - old)]
    return _clause(pieces)


def _clause(pieces: Sequence[tuple[str, Text | None]]) -> tuple[Text, ...]:
    if not pieces:
        return ()
    text: list[Text] = [" OPTIONS ("]
    for index, (words, value) in enumerate(pieces):
        text.append(f"{', ' if index else ''}{words}")
        if value is not None:
            text.append(literal(value) if isinstance(value, str) else value)
    return (*text, ")")


def plain_option_changes(change: Change) -> tuple[Text, ...]:
    """The clause that brings the options of a wrapper or a server from one state to the other."""
    before, after = _options(change.before), _options(change.after)
    return option_changes(before, after, (name for name in after if before.get(name) != after[name]))


def _options(state: State | None) -> Mapping[str, str]:
    found = getattr(state, "options", None)
    return found if isinstance(found, Mapping) else {}
