"""Desired against live: the differences, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping

from pgvillage.core.address import Address
from pgvillage.core.change import Action, Change, Origin, Resource, field_changes
from pgvillage.core.ledger import Ledger, LedgerEntry
from pgvillage.core.plan import Snapshot


def diff(desired: Mapping[Address, Resource], snapshot: Snapshot) -> list[Change]:
    """One change for each desired resource that live does not match. What was not read yields nothing."""
    changes = []
    for address, resource in desired.items():
        live = snapshot.live.get(address)
        if live == resource.state or snapshot.is_unread(address):
            continue
        fields = field_changes(live, resource.state)
        if not fields and live is not None and resource.state is not None:
            continue
        action = Action.CREATE if live is None else Action.DELETE if resource.state is None else Action.UPDATE
        moved = resource.moved if resource.moved and {f.name for f in fields} <= resource.moved.fields else None
        changes.append(
            Change(
                address=address,
                action=action,
                before=live,
                after=resource.state,
                fields=fields,
                origin=Origin.GIT if moved else origin_of(resource, action, snapshot.ledger),
                source=resource.source,
                reason=moved.reason if moved else resource.reason,
                heir=resource.heir,
            )
        )
    return changes


def origin_of(resource: Resource, action: Action, ledger: Ledger) -> Origin:
    """Tell a merged change from drift by what was last applied.

    Without a usable ledger all that exists counts as drift; what is missing can only be new.
    """
    entry = ledger.entries.get(resource.address)
    directory = resource.source.directory or (entry.directory if entry else "")
    merged = Origin.DIRECTORY if directory else Origin.GIT
    if not ledger.usable:
        return merged if action is Action.CREATE else Origin.DRIFT
    if entry is None:
        return merged if resource.declared else Origin.DRIFT
    return Origin.DRIFT if _same_wish(entry, resource) else merged


def _same_wish(entry: LedgerEntry, resource: Resource) -> bool:
    return entry.wish.removeprefix(LedgerEntry.HELD) == resource.wish_fingerprint
