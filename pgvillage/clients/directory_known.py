"""What was read of a directory during one call, shared by all its questions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pgvillage.clients.ldap_dn import DnKey, InvalidDn, dn_key, fold, is_within, without_uid
from pgvillage.clients.ldap_entry import Entries, Entry, Found, Unread
from pgvillage.clients.ldap_groups import is_group
from pgvillage.core.lookup import GroupQuery
from pgvillage.settings import Directory


@dataclass(frozen=True, slots=True)
class Reference:
    """A member value of a group: a DN, or a user's name; neither when it is no DN."""

    text: str
    key: DnKey | None = None
    user: str = ""


@dataclass(slots=True)
class Known:
    """Entries and member lists, read level by level."""

    settings: Directory
    entries: Entries
    base: DnKey
    dns: dict[DnKey, Found] = field(default_factory=dict)
    users: dict[str, Found] = field(default_factory=dict)
    members: dict[DnKey, tuple[Reference, ...]] = field(default_factory=dict)
    backlinks: dict[DnKey, tuple[Reference, ...] | Unread] = field(default_factory=dict)

    def read_all(self, queries: Collection[GroupQuery]) -> None:
        """Read level by level: the groups, all their members, the members of the groups among these, and so on."""
        if not queries:
            return
        roots = {dn_key(query.group): query.group for query in queries}
        self.dns.update(self.entries.by_dn(roots))
        nested = {dn_key(query.group): query.group for query in queries if query.nested}
        direct = {key: dn for key, dn in roots.items() if key not in nested}
        self.dns = {**self.entries.ahead(direct, nested), **self.dns}
        # A group that one question follows may be asked for by another without: both ways count as seen by themselves.
        level = {(dn_key(query.group), query.nested) for query in queries}
        seen = set(level)
        while level:
            self._read_backlinks({key for key, _ in level})
            self._read({reference for key, _ in level for reference in self.references(key)})
            level = {(key, True) for group, nested in level if nested for key in self._groups_in(group)} - seen
            seen |= level

    def _read_backlinks(self, groups: Collection[DnKey]) -> None:
        if "memberOf" not in self.settings.member_attributes:
            return
        new = {key: self.dns.get(key) for key in groups if key not in self.backlinks}
        wanted = {key: entry.dn for key, entry in new.items() if isinstance(entry, Entry)}
        for key, found in (self.entries.by_membership(wanted) if wanted else {}).items():
            if isinstance(found, Unread):
                self.backlinks[key] = found
                continue
            self.backlinks[key] = tuple(Reference(entry.dn, entry.key) for entry in found)
            self.dns = {**{entry.key: entry for entry in found}, **self.dns}

    def _read(self, references: Collection[Reference]) -> None:
        dns = {r.key: r.text for r in references if r.key and r.key not in self.dns and is_within(r.key, self.base)}
        users = {r.user for r in references if r.user} - self.users.keys()
        if dns:
            self.dns.update(self.entries.by_dn(dns))
        if users:
            self.users.update(self.entries.by_user(users))

    def _groups_in(self, group: DnKey) -> Iterator[DnKey]:
        for reference in self.references(group):
            found = self.find(reference)
            if reference.key and isinstance(found, Entry) and is_group(found):
                yield reference.key

    def find(self, reference: Reference) -> Found:
        found = self.dns.get(reference.key) if reference.key else self.users.get(reference.user)
        return found or Unread("was not looked up; this is a fault of PgVillage")

    def references(self, group: DnKey) -> tuple[Reference, ...]:
        if group not in self.members:
            found = self.dns.get(group)
            linked = self.backlinks.get(group, ())
            listed = tuple(self._parse(found)) if isinstance(found, Entry) else ()
            self.members[group] = (*listed, *(linked if isinstance(linked, tuple) else ()))
        return self.members[group]

    def backlink_fault(self, group: DnKey) -> str:
        found = self.backlinks.get(group)
        return found.reason if isinstance(found, Unread) else ""

    def _parse(self, entry: Entry) -> Iterator[Reference]:
        for name in self.settings.member_attributes:
            if name == "memberOf":
                continue  # says which groups this one is in
            for raw in sorted(entry.attributes.get(name.lower(), ())):
                text = raw.decode(errors="backslashreplace")
                if name == "memberUid":
                    yield Reference(text, user=fold(text.strip()))
                    continue
                dn = without_uid(text) if name == "uniqueMember" else text
                try:
                    yield Reference(dn, dn_key(dn))
                except InvalidDn:
                    yield Reference(dn)
