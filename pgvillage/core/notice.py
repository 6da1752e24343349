"""Notices: what people are told, once a transition, before any service's form; and what merging two of them leaves."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any


class Told(enum.StrEnum):
    """What happened to the state of things. Corrected: it ended because we undid it."""

    OPENED = "opened"
    CHANGED = "changed"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class Notice:
    """One message. `kind` names its template: drift, unreachable, failed, approval, health, estate, group, test.

    `key` is target + hash of what it is about (no time in it); `held` is the key that the channel knows after it, ""
    when all is well; `base` the one that it knew before. `severity` is info, warning, error or resolved. `lines` are
    facts in one line each, `more` counts those left out of `count`. `step` says what happens next.
    """

    kind: str
    told: Told
    severity: str
    key: str
    target: str = ""
    held: str = ""
    base: str = ""
    count: int = 0
    lines: tuple[str, ...] = ()
    more: int = 0
    owner: str = ""
    step: str = ""
    link: str = ""
    detail: str = ""
    again: bool = False
    targets: tuple[str, ...] = ()

    def as_body(self) -> dict[str, Any]:
        return asdict(self) | {"told": str(self.told), "lines": list(self.lines), "targets": list(self.targets)}


def notice_of(body: Mapping[str, Any]) -> Notice:
    """What `as_body` made; a field that this version does not know is left out."""
    names = {f.name for f in fields(Notice)}
    known = {name: value for name, value in body.items() if name in names}
    known |= {"told": Told(body["told"]), "lines": tuple(body["lines"]), "targets": tuple(body["targets"])}
    return Notice(**known)


def merged(waiting: Notice, later: Notice) -> Notice | None:
    """One notice instead of two of which the first was never delivered; None when there is nothing to tell any more."""
    base = waiting.base
    if later.told is Told.CORRECTED:
        return replace(later, base=base)
    if later.held == base:
        return None
    told = later.told
    if not base:
        told = Told.OPENED
    elif not later.held:
        told = Told.RESOLVED
    elif Told.ESCALATED in (waiting.told, later.told):
        told = Told.ESCALATED
    else:
        told = Told.CHANGED
    return replace(later, base=base, told=told)


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """What a channel was told last about one concern: `key` is "" when all is well, `reference` the service's name."""

    channel: str
    thread: str
    at: datetime
    key: str = ""
    reference: str = ""
    open: bool = False
    state: Mapping[str, Any] = field(default_factory=dict)
