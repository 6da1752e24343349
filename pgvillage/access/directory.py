"""Where a way goes on to a directory: the group there that feeds a role's members, and a member's entry."""

from __future__ import annotations

from dataclasses import dataclass

from pgvillage.estate.people import query_of
from pgvillage.estate.view import ClusterView


@dataclass(frozen=True, slots=True)
class Feed:
    """A directory's name in the settings, and the DN of its group or the filter of its search."""

    directory: str
    group: str


@dataclass(frozen=True)
class Feeds:
    """What directories say about members, by the role of the group they feed."""

    by_group: dict[str, Feed]
    view: ClusterView | None = None

    def of(self, group: str, member: str) -> Feed | None:
        """The directory's group that makes `member` one of `group`; None where no directory does."""
        feed = self.by_group.get(group)
        if feed is None or self.view is None:
            return None
        person = self.view.people.by_role.get(member)
        return feed if person is not None and group in person.groups else None

    def entry(self, member: str) -> str:
        """The DN of who this role is, or ''."""
        person = self.view.people.by_role.get(member) if self.view else None
        return person.dn if person else ""

    def between(self, group: str, member: str) -> tuple[str, ...]:
        """Groups of the directory that lie between its group and the entry."""
        person = self.view.people.by_role.get(member) if self.view else None
        return tuple(person.via.get(group, ())) if person else ()


def feeds_of(view: ClusterView) -> Feeds:
    found: dict[str, Feed] = {}
    for group in view.groups:
        query = query_of(group.document)
        if query is not None:
            found[group.document.role] = Feed(query.directory, query.group or query.filter)
    return Feeds(found, view)
