"""Who made whom a member: since PostgreSQL 16 a membership belongs to its grantor, and goes with what that one has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change

FIRST_SUPERUSER = ""  # the one that initdb made: what superusers grant is granted by it
GRANTORS_SINCE_16 = """pg_catalog.array_agg(
  CASE WHEN a.grantor = 10 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantor)::text END)"""


@dataclass(frozen=True, slots=True)
class Grantors:
    """By group and member; what the first superuser alone gave is not listed."""

    by_membership: Mapping[tuple[str, str], tuple[str, ...]]

    def of(self, address: Address) -> tuple[str, ...]:
        return self.by_membership.get((address.name[0], address.name[1]), (FIRST_SUPERUSER,))

    def depth(self, group: str, grantor: str) -> int:
        """How many hands a grant has gone through: the last ones have to be revoked first."""
        hands, seen = 0, {grantor}
        while grantor != FIRST_SUPERUSER:
            hands += 1
            # PostgreSQL allows no circle; a role that was dropped meanwhile ends the chain
            upwards = [g for g in self.by_membership.get((group, grantor), (FIRST_SUPERUSER,)) if g not in seen]
            grantor = upwards[0] if upwards else FIRST_SUPERUSER
            seen.add(grantor)
        return hands

    def in_the_way_of(self, address: Address, others: Mapping[Address, Change]) -> str:
        """Who was made a member by this member, and stays one: PostgreSQL refuses to take the right from it then."""
        group, member = address.name
        for (other_group, other), grantors in sorted(self.by_membership.items()):
            if other_group != group or member not in grantors:
                continue
            change = others.get(address._replace(name=(group, other)))
            if change is None or change.action is not Action.DELETE:
                names = quote_part(other), quote_part(member), quote_part(group)
                return (
                    "{0} was made a member of {2} by {1}, and PostgreSQL refuses while it is one: grant it anew by "
                    "hand, or revoke it (REVOKE {2} FROM {1} CASCADE)"
                ).format(*names)
        return ""
