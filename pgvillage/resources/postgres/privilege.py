"""Kind privilege: what roles and PUBLIC may do, on every class of objects that has privileges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Change, Resource, Risk
from pgvillage.core.plan import Finding, Unread
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.view import ClusterView
from pgvillage.resources.postgres.acl import WITH_GRANT_OPTION
from pgvillage.resources.postgres.privilege_columns import taken_along
from pgvillage.resources.postgres.privilege_inventory import (
    IN_SCHEMAS,
    Inventory,
    Place,
    PrivilegeState,
    address_of,
    entries_of,
    groups,
    held_by,
    inventory_of,
    place_of,
)
from pgvillage.resources.postgres.privilege_queries import privilege_queries
from pgvillage.resources.postgres.privilege_reach import not_ours_to_grant
from pgvillage.resources.postgres.privilege_resolve import Resolver, at_creation
from pgvillage.resources.postgres.privilege_sql import Difference, privilege_steps
from pgvillage.resources.postgres.privilege_wishes import wishes
from pgvillage.resources.postgres.sql import PUBLIC

ORDER = 70
_IN_DATABASES = ("schema", *sorted(IN_SCHEMAS), "language", "foreignDataWrapper", "foreignServer", "largeObject")


class Privilege(Kind):
    name = "privilege"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        for wish in wishes(view):
            state = PrivilegeState(wish.entries)
            yield Resource(address_of(view.name, wish.place, wish.grantee), state, wish.source, wish=state)

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        return privilege_queries(view, capabilities.major)

    def parse(self, live: Live) -> Parsed:
        found = list(groups(live))
        inventory = inventory_of(found, live)
        states: dict[Address, State] = {
            address_of(live.target, place, role): state for place, role, state in held_by(found, inventory)
        }
        return Parsed(states, inventory=inventory)

    def unread_in(self, database: str, reason: str) -> Iterable[Unread]:
        for object_class in _IN_DATABASES:
            yield Unread(self.name, (object_class, database), reason)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        return Resolver(context, _inventory(context)).resolve(desired)

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        _, database, schema = place_of(address)
        if (role := address.name[-1]) != PUBLIC:
            yield Address(address.target, "role", (role,))
        if database:
            yield Address(address.target, "database", (database,))
        if schema:
            yield Address(address.target, "schema", (database, schema))
        yield from _made_by_kinds(address, state)

    def subject(self, address: Address) -> Address:
        if address.name[-1] == PUBLIC:
            return address  # no role: what we shut for PUBLIC before is ours to shut again
        return Address(address.target, "role", (address.name[-1],))

    def weight(self, address: Address, state: State) -> int:
        return sum(map(len, state.entries.values())) if isinstance(state, PrivilegeState) else 0

    def judge(self, change: Change, context: Context) -> Judgement:
        pairs = list(differences(entries_of(change.before), change.after))
        revoked = sum(len(before - after) for _, before, after in pairs)
        # Losing only the option is still a loss; gaining it with the privilege is none.
        kept = sum(
            len((before - after) & entries_of(change.after).get(name + WITH_GRANT_OPTION, frozenset()))
            for name, before, after in pairs
            if not name.endswith(WITH_GRANT_OPTION)
        )
        lost = revoked - kept
        refused = _out_of_reach(change.address, pairs, context) if lost else ""
        refused = refused or not_ours_to_grant(change.address, pairs, context)
        return Judgement(Risk.ACCESS if lost else Risk.ADDITIVE, revokes=lost, refused=refused)

    def hindered(self, change: Change, others: Mapping[Address, Change], context: Context) -> str:
        """PostgreSQL refuses to take a grant option that its holder made use of."""
        before, after = entries_of(change.before), entries_of(change.after)
        place, role = place_of(change.address), change.address.name[-1]
        for grantee, privilege, objects in context.once(_given_by).get((place, role), ()):
            option = privilege + WITH_GRANT_OPTION
            lost = objects & (before.get(option, frozenset()) - after.get(option, frozenset()))
            address = change.address._replace(name=(*change.address.name[:-1], grantee))
            other = others.get(address)
            if other is not None:
                stays = entries_of(other.after)
                lost &= stays.get(privilege, frozenset()) | stays.get(option, frozenset())
            if lost:
                return _passed_on_words(place, role, grantee, privilege, sorted(lost))
        return ""

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        inventory = _inventory(context)
        major = context.capabilities.major if context.capabilities else 0
        found: dict[Address, tuple[Mapping[str, frozenset[str]], State | None]] = {}
        for change in changes:
            before = entries_of(change.before) or at_creation(change.address, inventory, major)
            found[change.address] = before, change.after
        on_behalf_of = taken_along(found, context.snapshot.live)

        def given_by_others(address: Address, privilege: str) -> Mapping[str, frozenset[str]]:
            return inventory.passed_on.get((place_of(address), address.name[-1], privilege), {})

        wanted = ((a, list(differences(before, after)), entries_of(after)) for a, (before, after) in found.items())
        return privilege_steps(wanted, given_by_others, on_behalf_of)


KIND = Privilege()
_MOST_NAMES = 3


def _given_by(context: Context) -> Mapping[tuple[Place, str], Sequence[tuple[str, str, frozenset[str]]]]:
    """What was passed on, by place and grantor: grantee, privilege, objects."""
    found: dict[tuple[Place, str], list[tuple[str, str, frozenset[str]]]] = {}
    for (place, grantee, privilege), by_grantor in _inventory(context).passed_on.items():
        for grantor, objects in by_grantor.items():
            found.setdefault((place, grantor), []).append((grantee, privilege, objects))
    return found


def _passed_on_words(place: Place, role: str, grantee: str, privilege: str, objects: Sequence[str]) -> str:
    whom = "PUBLIC" if grantee == PUBLIC else quote_part(grantee)
    giver = quote_part(role)
    names = [name if place[0] in ("function", "column") else quote_part(name) for name in objects[:_MOST_NAMES]]
    more = f" and {len(objects) - _MOST_NAMES} more" if len(objects) > _MOST_NAMES else ""
    return (
        f"{whom} got {privilege} on {', '.join(names)}{more} from {giver}, and PostgreSQL refuses while it has that: "
        f"declare {whom} without it, or revoke it by hand (REVOKE {privilege} … FROM {giver} CASCADE)"
    )


# Classes whose objects are made by a kind of their own, and may be made in the same plan.
_KINDS_OF = {
    "tablespace": ("tablespace",),
    "foreignDataWrapper": ("foreign-data-wrapper", "extension"),
    "foreignServer": ("server",),
    "language": ("extension",),
}


def _made_by_kinds(address: Address, state: State) -> Iterable[Address]:
    object_class, database, _ = place_of(address)
    kinds = _KINDS_OF.get(object_class, ())
    for name in frozenset[str]().union(*entries_of(state).values()) if kinds else ():
        yield from (Address(address.target, kind, (database, name) if database else (name,)) for kind in kinds)


def differences(before: Mapping[str, frozenset[str]], after: State | None) -> Iterator[Difference]:
    """(privilege, objects before, objects after) for each privilege that differs."""
    now = entries_of(after)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield name, before.get(name, frozenset()), now.get(name, frozenset())


def _inventory(context: Context) -> Inventory:
    found = context.snapshot.inventory.get("privilege")
    assert isinstance(found, Inventory)
    return found


def _out_of_reach(address: Address, pairs: Iterable[Difference], context: Context) -> str:
    """Why it can't be taken: only who gave a privilege, one of its members, or a superuser takes it back."""
    me = context.capabilities
    if me is None or me.superuser:
        return ""
    given = _inventory(context).passed_on
    for name, before, after in pairs:
        privilege = name.removesuffix(WITH_GRANT_OPTION)
        by_grantor = given.get((place_of(address), address.name[-1], privilege), {})
        for grantor, objects in sorted(by_grantor.items()):
            member = Address(address.target, "membership", (grantor, me.role)) in context.snapshot.live
            if objects & (before - after) and grantor != me.role and not member:
                who = quote_part(grantor)
                return f"{privilege} was given by {who}: only {who}, its members and superusers take it back"
    return ""
