"""Who a directory has a say in: leavers, whom it asks for no longer, and roles that are out of its bounds."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from pgvillage.core.address import Address
from pgvillage.core.ledger import LedgerEntry
from pgvillage.core.plan import Snapshot
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
    named = view.people.by_role.keys() - {d.document.role for d in view.role_documents}
    for role in named & mighty_roles(snapshot, {"postgres", ours}):
        if Address(view.name, "role", (role,)) not in snapshot.ledger.entries:
            found.add(role)
    return frozenset(found)


def mighty_roles(snapshot: Snapshot, named: Collection[str]) -> set[str]:
    """Live roles with power, and those of `named` that are there; few of the many there may be."""
    return {
        address.name[0]
        for address, state in snapshot.live.items()
        if address.kind == "role" and (address.name[0] in named or any(getattr(state, flag, False) for flag in _MIGHTY))
    }


def is_due(entry: LedgerEntry, context: Context) -> bool:
    """Has this leaver been disabled for as long as the manifest that made it asked for?"""
    if entry.drop_after_days is None or entry.disabled_since is None or not entry.made:
        return False
    return context.now >= entry.disabled_since + timedelta(days=entry.drop_after_days)


def clock_words(entry: LedgerEntry) -> str:
    """Since when a leaver is disabled, and when it will be dropped, or why never."""
    since = f"disabled since {entry.disabled_since:%Y-%m-%d}" if entry.disabled_since else "not disabled yet"
    if entry.drop_after_days is None:
        return f"{since}, kept: `onLeave` says no drop"
    if not entry.made:
        return f"{since}, kept: PgVillage did not make it"
    if entry.disabled_since is None:
        return f"{since}, dropped {entry.drop_after_days} days after it is"
    due = entry.disabled_since + timedelta(days=entry.drop_after_days)
    return f"{since}, dropped from {due:%Y-%m-%d %H:%M} UTC on"
