"""Columns beside their tables: taking a privilege from a table takes it from all of its columns too."""

from __future__ import annotations

from collections.abc import Mapping

from pgvillage.core.address import Address
from pgvillage.core.state import State
from pgvillage.resources.postgres.acl import ALL, WITH_GRANT_OPTION
from pgvillage.resources.postgres.privilege_inventory import entries_of, merged, settled
from pgvillage.resources.postgres.signature import column_parts

Found = dict[Address, tuple[Mapping[str, frozenset[str]], State | None]]


def taken_along(found: Found, live: Mapping[Address, State]) -> dict[Address, Address]:
    """Change in `found` what columns hold to what the statements on their tables will leave of it.

    What was to stay of it is granted again; the result tells for whose change that is.
    """
    on_behalf_of: dict[Address, Address] = {}
    for address, (before, after) in list(found.items()):
        column = address._replace(name=("column", *address.name[1:]))
        if address.name[0] != "table" or not (column in live or column in found):
            continue
        held = found[column][0] if column in found else entries_of(live.get(column))
        left = _left(held, before, entries_of(after))
        if left != held:
            wanted = found[column][1] if column in found else live.get(column)
            if column not in found:
                on_behalf_of[column] = address
            found[column] = left, wanted
    return on_behalf_of


def _left(
    held: Mapping[str, frozenset[str]], before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]
) -> Mapping[str, frozenset[str]]:
    left = dict(held)
    for privilege in ALL["column"]:
        option = privilege + WITH_GRANT_OPTION
        kept = after.get(privilege, frozenset()) | after.get(option, frozenset())
        lost = (before.get(privilege, frozenset()) | before.get(option, frozenset())) - kept
        left_option = (before.get(option, frozenset()) & kept) - after.get(option, frozenset())
        for name in (privilege, option):
            if name in left:
                left[name] = frozenset(n for n in left[name] if column_parts(n)[0] not in lost)
        if option in left and left_option:
            bare = frozenset(n for n in left[option] if column_parts(n)[0] in left_option)
            left[option] -= bare
            left = merged(left, {privilege: bare})
    return settled(left)
