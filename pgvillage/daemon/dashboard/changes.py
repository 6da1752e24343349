"""Changes of stored plans (the JSON of `plan -o json`) as rows for a page. Pure; trusts nothing in a document."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pgvillage.core.address import parse_address
from pgvillage.core.errors import UsageError
from pgvillage.report.words import show_text, show_value, title, visible

_LONGEST = 400
_SIGNS = {"create": "+", "update": "~", "delete": "−", "replace": "±"}  # noqa: RUF001 - a minus sign as wide as a plus
RISKS = ("additive", "change", "access", "restart", "drop", "loss")


@dataclass(frozen=True, slots=True)
class FieldRow:
    """`before` and `after` are shown text; None: nothing on that side."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ChangeRow:
    address: str
    title: str
    action: str
    origin: str
    risk: str
    source: str
    reason: str
    held: str
    fields: tuple[FieldRow, ...]
    impact: tuple[str, ...] = ()

    @property
    def sign(self) -> str:
        return _SIGNS.get(self.action, "~")


def change_row(found: Mapping[str, Any]) -> ChangeRow:
    """One change of a plan, or the document of a drift."""
    actions = list(found.get("actions") or ["update"])
    action = "replace" if len(actions) > 1 else str(actions[0])
    address = str(found.get("address", ""))
    return ChangeRow(
        visible(address),
        title_of(address),
        action if action in _SIGNS else "update",
        show_text(str(found.get("origin") or "")),
        risk if (risk := str(found.get("risk") or "change")) in RISKS else "change",
        _source(found.get("source")),
        show_text(str(found.get("reason") or "")),
        show_text(str(found.get("held") or "")),
        tuple(_fields(found)),
        tuple(_impact(found.get("impact"))),
    )


def title_of(address: str) -> str:
    try:
        return title(parse_address(address))
    except UsageError:
        return show_text(address)


def _source(found: Any) -> str:
    if not isinstance(found, Mapping):
        return ""
    place = f"{found.get('file')}:{found.get('line')}" if found.get("file") else ""
    entry = f"{found.get('directory')}: {found.get('entry')}" if found.get("directory") else ""
    return show_text(" · ".join(filter(None, (entry, place))))


def _fields(found: Mapping[str, Any]) -> list[FieldRow]:
    before, after = found.get("before"), found.get("after")
    old: Mapping[str, Any] = before if isinstance(before, Mapping) else {}
    new: Mapping[str, Any] = after if isinstance(after, Mapping) else {}
    whole = not (old and new)  # an object that comes or goes: what it does not have is no news
    names = [n for n in dict.fromkeys([*new, *old]) if old.get(n) != new.get(n)]
    rows = [
        FieldRow(show_text(n), _shown(old, n), _shown(new, n)) for n in names if not whole or (old.get(n) or new.get(n))
    ]
    secret = found.get("sensitive_changed") or []
    return rows + [FieldRow(show_text(str(n)), "secret", "another secret") for n in secret]


def _shown(side: Mapping[str, Any], name: str) -> str | None:
    return show_value(side[name], _LONGEST) if name in side else None


def _impact(found: Any) -> list[str]:
    if not isinstance(found, Mapping):
        return []
    said = [word for word, key in (("needs a reload", "reload"), ("needs a restart", "restart")) if found.get(key)]
    return said + ([f"takes a lock: {show_text(str(found['lock']))}"] if found.get("lock") else [])


def ignore_snippet(address: str, today: date) -> str:
    """What goes into the Estate's manifest so that this drift is left alone for a fortnight."""
    until = today + timedelta(days=14)
    return (
        "policy:\n  ignore:\n"
        f"  - addresses: [{json.dumps(address)}]\n    owner: YOUR-TEAM\n    reason: WHY\n    until: {until}\n"
    )


def adopt_command(address: str) -> str:
    return f"pgvillage adopt {shlex.quote(visible(address))}"


def steps_of(target: Mapping[str, Any], limit: int = 500) -> list[tuple[str, str, bool]]:
    """Database, what is sent, and whether it is within a transaction; secrets are never in a step's text."""
    found = target.get("steps") or []
    return [
        (
            show_text(str(step.get("database") or "")),
            visible(_body(step), keep="\n\t"),
            bool(step.get("transactional")),
        )
        for step in found[:limit]
    ]


def _body(step: Mapping[str, Any]) -> str:
    return str(step["sql"]) if "sql" in step else json.dumps(step.get("patch"), indent=2, ensure_ascii=False)
