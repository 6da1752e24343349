"""What lookups answer: directory groups with their members, or why there is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """One question to a directory: who is in this group?

    `attributes` are the attributes that the role's name template needs, in lower case.
    """

    directory: str
    group: str
    nested: bool = False
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A person found in a group. `attributes` holds single values by lower-case name; `via` the groups between."""

    dn: str
    attributes: Mapping[str, str]
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """A complete answer: the entry was found and every member was read.

    `skipped` says in words which members were left out and why (outside the base, no such attribute, gone).
    """

    dn: str
    members: tuple[Member, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer: refused, cut, missing, referred. Nothing may be concluded from it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lookups:
    """Everything that was asked outside the targets before planning."""

    groups: Mapping[GroupQuery, GroupAnswer | Unanswered] = field(default_factory=dict)
