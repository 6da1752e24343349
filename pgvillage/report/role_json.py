"""A role as JSON; the schema is in `access_schema.py`."""

from __future__ import annotations

from typing import Any

from pgvillage.access.role_account import Accounts, RoleAccount
from pgvillage.access.role_rights import Right
from pgvillage.report.access_json import ACCESS_VERSION, way_document
from pgvillage.report.words import change_line

Document = dict[str, Any]


def accounts_document(accounts: Accounts) -> Document:
    """The role on every cluster that knows it."""
    return {
        "format_version": ACCESS_VERSION,
        "role": accounts.role,
        "complete": not accounts.failed,
        "clusters": [_account(account) for account in accounts.accounts],
        "failed": [{"cluster": cluster, "message": why} for cluster, why in accounts.failed],
    }


def _account(account: RoleAccount) -> Document:
    state, resource = account.state, account.resource
    shown = state.as_fields() if state is not None else None
    return {
        "cluster": account.cluster,
        "read_at": account.read_at.isoformat(),
        "attributes": {k: v for k, v in shown.items() if k not in state.SENSITIVE} if shown and state else None,
        "declared": str(resource.source) if resource is not None else None,
        "memberships": [_membership(account, *pair) for pair in _edges(account)],
        "owns": [_place(place) | {"names": sorted(names)} for place, names in sorted(account.owns.items())],
        "rights": [_right(right) for right in account.rights],
        "profiles": [
            {"database": database, "schema": schema, "profile": word}
            for (database, schema), word in sorted(account.profiles.items())
        ],
        "may_set_role": [{"role": role, "through": list(chain[:-1])} for role, chain in account.becomes],
        "settings": {str(address): dict(state.as_fields()) for address, state in sorted(account.settings.items())},
        "future": [
            {"address": str(address), "privileges": sorted(state.privileges)}
            for address, state in sorted(account.future.items())
        ],
        "changes": [{"address": str(change.address), "message": change_line(change)} for change in account.changes],
        "unread": [{"database": name, "message": why} for name, why in sorted(account.unread.items())],
    }


def _edges(account: RoleAccount) -> list[tuple[str, str]]:
    """Every membership that the role has or comes to by others, nearest first."""
    found: list[tuple[str, str]] = []
    members, seen = [account.role], {account.role}
    for member in members:
        for group in sorted(account.roles.groups.get(member, {})):
            found.append((group, member))
            if group not in seen:
                seen.add(group)
                members.append(group)
    return found


def _membership(account: RoleAccount, group: str, member: str) -> Document:
    options = account.roles.groups[member][group]
    feed = account.feeds.of(group, member)
    return {
        "role": group,
        "member": member,
        "inherit": options.inherit,
        "set": options.set,
        "admin": options.admin,
        "directory": {"directory": feed.directory, "group": feed.group} if feed else None,
        "entry": account.feeds.entry(member) or None if feed else None,
        "via": list(account.feeds.between(group, member)) if feed else [],
    }


def _place(place: tuple[str, str, str]) -> Document:
    return {"class": place[0], "database": place[1] or None, "schema": place[2] or None}


def _right(right: Right) -> Document:
    return {
        **_place(right.place),
        "names": sorted(right.names),
        "total": right.total,
        "privileges": {privilege: way_document(right.ways[privilege]) for privilege in right.privileges},
    }
