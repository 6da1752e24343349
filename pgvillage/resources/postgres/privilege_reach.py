"""Which privileges an account without superuser can give and take: those of its own objects, or with the option."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pgvillage.core.address import Address, quote_part
from pgvillage.core.live import Capabilities
from pgvillage.engine.kind import Context
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION
from pgvillage.resources.postgres.privilege_inventory import Inventory, Place, address_of, entries_of, place_of
from pgvillage.resources.postgres.privilege_sql import Difference
from pgvillage.resources.postgres.rights import belongs_to, can_act_as, lesser
from pgvillage.resources.postgres.signature import column_parts


def not_ours_to_grant(address: Address, pairs: Iterable[Difference], context: Context) -> str:
    """Why the account can't do it, or empty. PostgreSQL itself would only warn, or stop in the middle."""
    me, inventory = lesser(context), context.snapshot.inventory.get("privilege")
    if me is None or not isinstance(inventory, Inventory):
        return ""
    place = place_of(address)
    for name, before, after in pairs:
        objects = (before - after) | (after - before)
        for owner, theirs in _others(place, objects, inventory, context):
            if left := theirs - _with_option(place, name.removesuffix(WITH_GRANT_OPTION), me, context):
                if place[0] == "parameter":
                    return f"only a superuser grants {name} on {min(left)}, or who has it with the grant option"
                first = quote_part(min(left)) if place[0] not in ("function", "column") else min(left)
                return f"{place[0]} {first}: {belongs_to(owner, me)}"
    return ""


def _others(
    place: Place, objects: frozenset[str], inventory: Inventory, context: Context
) -> Iterator[tuple[str, frozenset[str]]]:
    """Objects whose owner we can't act as, by owner. What this plan makes has no owner yet."""
    if place[0] == "parameter":
        yield "", objects
        return
    of_tables = place[0] == "column"
    owned = inventory.owned.get(("table", *place[1:]) if of_tables else place, {})
    for owner, names in owned.items():
        theirs = frozenset(o for o in objects if column_parts(o)[0] in names) if of_tables else objects & names
        if theirs and not can_act_as(owner, place[1], context):
            yield owner, theirs


def _with_option(place: Place, privilege: str, me: Capabilities, context: Context) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for role in (me.role, *me.acts_as):
        held = entries_of(context.snapshot.live.get(address_of(context.view.name, place, role)))
        found |= held.get(privilege + WITH_GRANT_OPTION, frozenset())
    return found
