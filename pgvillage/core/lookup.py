"""What lookups answer: directory groups with their members, or why there is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """One question to a directory: who is in this group? Or, without a group: whom does this search find?

    `attributes` are the attributes that the role's name template needs, in lower case. `filter` (RFC 4515) must be met
    by people of the group; it is what a search is for. `base` is where a search starts; the directory's base when ''.
    """

    directory: str
    group: str
    nested: bool = False
    attributes: tuple[str, ...] = ()
    filter: str = ""
    base: str = ""

    @property
    def title(self) -> str:
        return f"group {self.group}" if self.group else f"search {self.filter}"


@dataclass(frozen=True, slots=True)
class Member:
    """A person found in a group. `attributes` holds single values by lower-case name; `via` the groups between.

    `disabled` says why the account may not be used any more, or is ''.
    """

    dn: str
    attributes: Mapping[str, str]
    via: tuple[str, ...] = ()
    disabled: str = ""


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """A complete answer: the entry was found and every member was read.

    `skipped` says in words which members were left out and why (outside the base, no such attribute, gone);
    `unfit` counts those that the question's filter left out.
    """

    dn: str
    members: tuple[Member, ...]
    skipped: tuple[str, ...] = ()
    unfit: int = 0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer: refused, cut, missing, referred. Nothing may be concluded from it.

    `mistake` is True where the question itself is wrong, so that only another manifest will ever have an answer.
    """

    reason: str
    mistake: bool = False


@dataclass(frozen=True, slots=True)
class Lookups:
    """Everything that was asked outside the targets before planning."""

    groups: Mapping[GroupQuery, GroupAnswer | Unanswered] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """TLS as it was negotiated; `expires` as the certificate spells it."""

    version: str
    subject: str
    names: tuple[str, ...]
    expires: str


@dataclass(frozen=True, slots=True)
class DirectoryVisit:
    """One call to a directory: who answered, how, and what. `uri` is the file for an LDIF directory.

    `failed` lists the servers that were asked before, with reasons; `identity` is whom the server takes us for;
    `discovered` is what the DNS said where the servers are looked up there.
    """

    answers: Mapping[GroupQuery, GroupAnswer | Unanswered]
    uri: str = ""
    product: str = ""
    active_directory: bool = False
    tls: TlsFacts | None = None
    identity: str = ""
    failed: tuple[str, ...] = ()
    round_trips: int = 0
    seconds: float = 0
    discovered: str = ""
