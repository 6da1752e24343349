"""Who a directory has a say in: leavers, whom it asks for no longer, and roles that are out of its bounds."""

from __future__ import annotations

from datetime import timedelta

from pgvillage.core.address import Address
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


_MIGHTY = ("superuser", "createrole", "replication", "bypassrls")


def out_of_bounds(context: Context) -> frozenset[str]:
    """Roles with power that directories name and did not make: their entries are not ours to trust.

    All of such a role is left alone: attributes, memberships, settings and privileges.
    """
    view, snapshot = context.view, context.snapshot
    ours = context.capabilities.role if context.capabilities else ""
    found = set()
    for role in set(view.people.by_role) - {d.document.role for d in view.role_documents}:
        address = Address(view.name, "role", (role,))
        live = snapshot.live.get(address)
        if live is None or address in snapshot.ledger.entries:
            continue
        if role in ("postgres", ours) or any(getattr(live, flag, False) for flag in _MIGHTY):
            found.add(role)
    return frozenset(found)


def is_due(entry: LedgerEntry, context: Context) -> bool:
    """Has this leaver been disabled for as long as the manifest that made it asked for?"""
    if entry.drop_after_days is None or entry.disabled_since is None or not entry.made:
        return False
    return context.now >= entry.disabled_since + timedelta(days=entry.drop_after_days)
