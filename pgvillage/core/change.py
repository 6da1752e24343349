"""Resources, changes and what is known about them: origin, source, risk, impact."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from pgvillage.core.address import Address
from pgvillage.core.secret import SecretRef
from pgvillage.core.state import State, canonical, state_fingerprint


@dataclass(frozen=True, slots=True)
class Source:
    """Who asks for a resource: a place in a manifest, or an entry of a directory (then `directory` is its name)."""

    file: str = ""
    line: int = 0
    directory: str = ""
    entry: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else ""
        if not self.directory:
            return place
        entry = f"{self.directory}: {self.entry}"
        return f"{entry} (by {place})" if place else entry


class Origin(enum.StrEnum):
    """Why there is a difference: merged in git, changed by hand on the target, or changed in a directory."""

    GIT = "git"
    DRIFT = "drift"
    DIRECTORY = "directory"


class Action(enum.StrEnum):
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"


class Risk(enum.StrEnum):
    """What a change can cost; the published table is in docs/policy.md. In rising order."""

    ADDITIVE = "additive"  # something new; nobody loses anything
    CHANGE = "change"  # a setting or attribute takes another value
    ACCESS = "access"  # somebody loses access they have now
    RESTART = "restart"  # takes effect at a restart
    DROP = "drop"  # an object goes
    LOSS = "loss"  # data goes with it


@dataclass(frozen=True, slots=True)
class Impact:
    """What applying does besides: `lock` names a lock that others will notice."""

    reload: bool = False
    restart: bool = False
    lock: str = ""


NO_IMPACT = Impact()


@dataclass(frozen=True, slots=True)
class Leaver:
    """What the ledger keeps of a role that may leave: its clock, and what is to happen when it runs out."""

    disabled_since: datetime | None
    drop_after_days: int | None
    heir: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """What is asked for has changed although the manifest has not: the value behind a secret's name.

    A change of these `fields` alone is as good as merged, and `reason` says why.
    """

    fields: frozenset[str]
    reason: str


class Resource(NamedTuple):
    """One desired object. `state` None means that it must not exist.

    A tuple because there are tens of thousands: it is made in a fraction of a frozen dataclass's time.
    `wish` is the state as asked for, before it met what exists: its fingerprint tells a change of mind from drift.
    `declared` is False for what nobody asked for and authority says must not be there.
    `secret` is one that it holds; `remembered` is False when the ledger's mark does not fit the secret's value.
    """

    address: Address
    state: State | None
    source: Source
    reason: str = ""
    heir: str | None = None
    wish: State | None = None
    leaver: Leaver | None = None
    declared: bool = True
    secret: SecretRef | None = None
    remembered: bool = True
    moved: Moved | None = None

    @property
    def wish_fingerprint(self) -> str:
        state = self.wish if self.wish is not None else self.state
        return state_fingerprint(state) if state is not None else "absent"

    def with_state(self, state: State | None) -> Resource:
        """The same wish, settled; `_replace` takes five times as long and this runs for every resource."""
        return Resource(
            self.address, state, self.source, self.reason, self.heir, self.wish, self.leaver, self.declared,
            self.secret, self.remembered, self.moved,
        )  # fmt: skip


class FieldChange(NamedTuple):
    name: str
    before: Any
    after: Any
    sensitive: bool = False


class Change(NamedTuple):
    """One difference between desired and live, with everything a person needs to judge it.

    `revokes` and `drops` count what policy limits: privileges, memberships and logins taken; objects dropped.
    """

    address: Address
    action: Action
    before: State | None
    after: State | None
    fields: tuple[FieldChange, ...]
    origin: Origin
    source: Source
    reason: str = ""
    risk: Risk = Risk.CHANGE
    impact: Impact = NO_IMPACT
    revokes: int = 0
    drops: int = 0
    heir: str | None = None
    held: str = ""
    refused: str = ""

    @property
    def only_sensitive(self) -> bool:
        """Nothing of it can be seen by an account that may see no secrets."""
        return self.action is Action.UPDATE and all(f.sensitive for f in self.fields)

    def digest_part(self) -> str:
        """What a plan's digest covers of this change: no sensitive field, no origin, no time."""
        # The address as a plain tuple shows itself: as unequivocal as canonical(), in a tenth of the time.
        return f"{tuple.__repr__(self.address)} {self.action.value} {self.heir!r} {_digest_of(self.fields)}"


def _digest_of(fields: tuple[FieldChange, ...]) -> str:
    try:
        return _remembered_digest(fields)
    except TypeError:  # a value that is a mapping
        return _fields_digest(fields)


def _fields_digest(fields: tuple[FieldChange, ...]) -> str:
    return canonical({f.name: (f.before, f.after) for f in fields if not f.sensitive})


# The thousands of people that a directory brings are alike, and so are their changes.
_remembered_digest = lru_cache(maxsize=4096)(_fields_digest)


def field_changes(before: State | None, after: State | None) -> tuple[FieldChange, ...]:
    """Every field that differs; a missing side counts as None throughout."""
    try:
        return _remembered_changes(before, after)
    except TypeError:  # a state that holds a mapping
        return _compared(before, after)


def _compared(before: State | None, after: State | None) -> tuple[FieldChange, ...]:
    old: Mapping[str, Any] = before.as_fields() if before is not None else {}
    new: Mapping[str, Any] = after.as_fields() if after is not None else {}
    sensitive = (after or before or State()).SENSITIVE
    return tuple(
        FieldChange(name, old.get(name), new.get(name), name in sensitive)
        for name in [*new, *(n for n in old if n not in new)]
        if old.get(name) != new.get(name)
    )


_remembered_changes = lru_cache(maxsize=4096)(_compared)
