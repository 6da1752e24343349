"""Leavers: roles that a directory asked for once and asks for no longer."""

from __future__ import annotations

from datetime import timedelta

from pgvillage.core.ledger import LedgerEntry
from pgvillage.engine.kind import Context


def leavers(context: Context) -> dict[str, LedgerEntry]:
    """Who left, by role. A directory that did not answer in full makes nobody a leaver.

    Without a usable ledger nobody is known to have come from a directory, so nobody leaves.
    """
    people, ledger = context.view.people, context.snapshot.ledger
    declared = context.view.declared_roles
    return {
        address.name[0]: entry
        for address, entry in ledger.entries.items()
        if address.kind == "role"
        and entry.directory
        and address.name[0] not in declared
        and entry.directory not in people.unanswered_directories
    }


def is_due(entry: LedgerEntry, context: Context) -> bool:
    """Has this leaver been disabled for as long as the manifest that made it asked for?"""
    if entry.drop_after_days is None or entry.disabled_since is None or not entry.made:
        return False
    return context.now >= entry.disabled_since + timedelta(days=entry.drop_after_days)
