"""Kind membership: who is a member of which role, and with which options."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change, Resource, Risk, Source
from pgvillage.core.plan import Finding
from pgvillage.core.state import UNMANAGED, State, Unmanaged
from pgvillage.core.step import Step
from pgvillage.engine.kind import Capabilities, Context, Desired, Judgement, Kind, Live, Parsed, Query
from pgvillage.estate.manifest.common import MemberOf, MembershipOptions
from pgvillage.estate.view import ClusterView, source_of
from pgvillage.resources.postgres.leavers import leavers, out_of_bounds
from pgvillage.resources.postgres.membership_grantors import (
    Granted,
    grantor_out_of_reach,
    in_their_name,
    needs_their_name,
    others_of,
    takes,
)
from pgvillage.resources.postgres.rights import DATABASE_OWNER, cannot_administer, lesser
from pgvillage.resources.postgres.sql import chunks, ident, idents, step

ORDER = 20
_OPTIONS_SINCE = 16
_NAMES_A_STATEMENT = 500

_SQL = """
SELECT g.rolname, m.rolname, bool_or(a.admin_option), {options}
FROM pg_catalog.pg_auth_members a
JOIN pg_catalog.pg_roles g ON g.oid = a.roleid
JOIN pg_catalog.pg_roles m ON m.oid = a.member
{grantors}
GROUP BY g.rolname, m.rolname
"""
# Who granted it, apart from the one in whose name our own statements are: a superuser's are the bootstrap superuser's.
_GRANTED = """bool_or(a.inherit_option), bool_or(a.set_option),
       pg_catalog.array_agg(o.rolname::text) FILTER (WHERE a.grantor <> u.oid), bool_or(a.grantor = u.oid)"""
_GRANTORS = """LEFT JOIN pg_catalog.pg_roles o ON o.oid = a.grantor
CROSS JOIN (SELECT CASE WHEN rolsuper THEN 10 ELSE oid END AS oid
            FROM pg_catalog.pg_roles WHERE rolname = current_user) u"""


@dataclass(frozen=True, slots=True)
class MembershipState(State):
    """`inherit` and `set` are None before PostgreSQL 16, which has no such options."""

    admin: bool = False
    inherit: bool | Unmanaged | None = None
    set: bool | Unmanaged | None = None


class Membership(Kind):
    name = "membership"
    holds_objects = False

    def expand(self, view: ClusterView) -> Iterable[Resource]:
        absent = {d.document.role for d in view.role_documents if d.document.spec.ensure == "absent"}
        claims: dict[tuple[str, str], Resource] = {}
        for group, member, state, source in _claims(view):
            if group in absent or member in absent:
                continue
            resource = Resource(Address(view.name, self.name, (group, member)), state, source, wish=state)
            first = claims.setdefault((group, member), resource)
            if state.admin and isinstance(first.state, MembershipState) and not first.state.admin:
                claims[group, member] = resource
        return claims.values()

    def queries(self, capabilities: Capabilities, view: ClusterView) -> Iterable[Query]:
        if capabilities.major >= _OPTIONS_SINCE:
            text = _SQL.format(options=_GRANTED, grantors=_GRANTORS)
        else:
            text = _SQL.format(options="NULL::boolean, NULL::boolean", grantors="")
        yield Query("membership", text)

    def parse(self, live: Live) -> Parsed:
        # A handful of distinct states serve thousands of memberships.
        shared: dict[tuple[bool, bool | None, bool | None], MembershipState] = {}
        states: dict[Address, State] = {}
        others: dict[Address, Granted] = {}
        for group, member, *options in live.rows["membership"]:
            key = (options[0], options[1], options[2])
            state = shared.get(key) or shared.setdefault(key, MembershipState(*key))
            address = Address(live.target, self.name, (group, member))
            states[address] = state
            if len(options) > len(key) and (granted := others_of(*options[len(key) :])):
                others[address] = granted
        return Parsed(states, inventory=others)

    def resolve(self, desired: Desired, context: Context) -> tuple[Desired, list[Finding]]:
        snapshot, view = context.snapshot, context.view
        modern = context.capabilities is not None and context.capabilities.major >= _OPTIONS_SINCE
        taboo = context.once(out_of_bounds)
        inherits = context.once(_inherits)
        resolved: Desired = {}
        for address, resource in desired.items():
            if address.name[1] in taboo:
                continue
            live = snapshot.live.get(address)
            state = _settle(resource.state, live, modern, inherits.get(address.name[1], True))
            resolved[address] = resource if state is resource.state else resource.with_state(state)
        if view.authority.memberships == "listed":
            resolved.update(_undeclared(desired, context))
        return resolved, _foreign_members(resolved, context)

    def needs(self, address: Address, state: State) -> Iterable[Address]:
        return (Address(address.target, "role", (name,)) for name in address.name)

    def waits_for(self, change: Change, others: Mapping[Address, Change]) -> Iterable[Address]:
        """Whoever is shut out is shut out first: no trouble with a membership may hold up that."""
        if change.action is not Action.DELETE:
            return
        member = others.get(Address(change.address.target, "role", (change.address.name[1],)))
        if member is None or member.action is not Action.UPDATE:
            return
        if any(f.name == "login" and f.before and not f.after for f in member.fields):
            yield member.address

    def subject(self, address: Address) -> Address:
        return Address(address.target, "role", (address.name[1],))

    def weight(self, address: Address, state: State) -> int:
        return 1

    def judge(self, change: Change, context: Context) -> Judgement:
        refused = _beyond_us(change, context)
        if change.action is Action.CREATE:
            return Judgement(Risk.ADDITIVE, refused=refused)
        if change.action is Action.DELETE:
            return Judgement(Risk.ACCESS, revokes=1, refused=refused)
        loses = any(f.before and not f.after for f in change.fields)
        return Judgement(Risk.ACCESS if loses else Risk.CHANGE, revokes=int(loses), refused=refused)

    def compile(self, changes: Sequence[Change], context: Context) -> Iterable[Step]:
        inherits = context.once(_inherits)
        grants: dict[tuple[str, str], list[Change]] = defaultdict(list)
        revokes: dict[str, list[Change]] = defaultdict(list)
        coming = {change.address: change.after for change in changes}
        for change in changes:
            group = change.address.name[0]
            if needs_their_name(change, context):
                yield from in_their_name(change, context, coming)
            elif change.action is Action.DELETE:
                revokes[group].append(change)
            elif _loses_admin(change) and _no_options(change.after):
                yield step(
                    change.address, f"REVOKE ADMIN OPTION FOR {ident(group)} FROM {ident(change.address.name[1])}"
                )
            else:
                grants[group, _with(change, inherits.get(change.address.name[1], True))].append(change)
        for group, found in revokes.items():
            yield from _merged(found, f"REVOKE {ident(group)} FROM ", "")
        for (group, options), found in grants.items():
            yield from _merged(found, f"GRANT {ident(group)} TO ", options)


KIND = Membership()


def _beyond_us(change: Change, context: Context) -> str:
    group, member = change.address.name
    if group == DATABASE_OWNER and change.after is not None:
        return f"{group} has one member, which is the owner of the database: set the owner instead"
    me = lesser(context)
    if me and member == me.role and takes(change):
        return f"{quote_part(member)} is protected: it is the role PgVillage connects as"
    return cannot_administer(group, context) or grantor_out_of_reach(change, context)


_PLAIN = MembershipState(admin=False, inherit=UNMANAGED, set=UNMANAGED)


def _claims(view: ClusterView) -> Iterator[tuple[str, str, MembershipState, Source]]:
    """Every (group, member) that somebody asks for."""
    for document in view.role_documents:
        source = source_of(document, "spec", "memberOf")
        for role, state in _wished(document.document.spec.member_of):
            yield role, document.document.role, state, source
    for group in view.groups:
        members = group.document.spec.members
        for role in (members.roles or ()) if members else ():
            yield group.document.role, role, _PLAIN, source_of(group, "spec", "members", "roles")
    for person in view.people.by_role.values():
        for name in person.groups:
            yield name, person.role, _PLAIN, person.source
        for role, state in _wished(person.member_of):
            yield role, person.role, state, person.source


def _wished(wishes: MemberOf) -> Iterator[tuple[str, MembershipState]]:
    for wish in wishes:
        if isinstance(wish, MembershipOptions):
            inherit = UNMANAGED if wish.inherit is None else wish.inherit
            yield wish.role, MembershipState(wish.admin, inherit, UNMANAGED if wish.set is None else wish.set)
        else:
            yield wish, _PLAIN


def _inherits(context: Context) -> dict[str, bool]:
    """Does a member inherit where nothing is said? As its manifest has it, else as it is, else yes."""
    kept = context.view.authority.roles == "none"
    found = {d.document.role: d.document.spec.inherit for d in context.view.role_documents}
    for address, state in context.snapshot.live.items():
        if address.kind == "role" and (kept or address.name[0] not in found):
            found[address.name[0]] = bool(getattr(state, "inherit", True))
    return found


@lru_cache(maxsize=4096)
def _settle(wish: State | None, live: State | None, modern: bool, inherits: bool) -> State | None:
    """PostgreSQL 16 fills in what is not said: INHERIT as the member has it, SET on."""
    if not isinstance(wish, MembershipState):
        return wish
    if not modern:
        return replace(wish, inherit=None, set=None)
    old = live if isinstance(live, MembershipState) else MembershipState(inherit=inherits, set=True)
    return replace(
        wish,
        inherit=old.inherit if wish.inherit is UNMANAGED else wish.inherit,
        set=old.set if wish.set is UNMANAGED else wish.set,
    )


def _undeclared(desired: Desired, context: Context) -> Desired:
    """Live memberships that nobody asks for, where the estate is complete about the group or the member."""
    view = context.view
    gone = context.once(leavers)
    exact_groups = {g.document.role for g in view.groups if g.document.spec.members is not None}
    # A member whose groups are not all known may be in one of them: nothing of theirs is taken there.
    unknown = _unknown_groups(view)
    members = (view.declared_roles | set(gone)) - context.once(out_of_bounds)
    taboo = view.declared_roles - members
    me = context.capabilities
    ours = me.role if me and not me.superuser else ""
    found: Desired = {}
    for address in context.snapshot.live:
        if address.kind != "membership" or address in desired:
            continue
        group, member = address.name
        if member == ours:
            continue  # from 16 on who makes a role is a member of it, to administer it
        if group in unknown or member in taboo or group == member:
            continue
        if member not in members and group not in exact_groups:
            continue
        entry = gone.get(member) or context.snapshot.ledger.entries.get(address)
        directory = entry.directory if entry else ""
        position = view.located.at("spec")
        found[address] = Resource(
            address,
            None,
            Source(position.file, position.line, directory, member if directory else ""),
            reason=f"directory {directory} names it no more" if directory else "no manifest asks for it",
            declared=False,
        )
    return found


def _unknown_groups(view: ClusterView) -> set[str]:
    """Groups whose members are not all known: those not answered, and what they would have given besides."""
    unknown = set(view.people.unanswered)
    for group in view.groups:
        members = group.document.spec.members
        if members is not None and group.document.role in view.people.unanswered:
            unknown |= {role for role, _ in _wished(members.member_of)}
    return unknown


def _foreign_members(resolved: Desired, context: Context) -> list[Finding]:
    """Members of our groups that no manifest names: left alone, but a person should know."""
    ours = {g.document.role for g in context.view.groups} - set(context.view.people.unanswered)
    connected = context.capabilities.role if context.capabilities else ""
    foreign: dict[str, list[str]] = defaultdict(list)
    for address in context.snapshot.live:
        stays = address.kind == "membership" and address not in resolved and address.name[0] in ours
        if stays and address.name[1] != connected:
            foreign[address.name[0]].append(quote_part(address.name[1]))
    return [
        Finding(
            "info",
            f"{quote_part(group)} has members no manifest names, left alone: {', '.join(sorted(names)[:5])}"
            + (f" and {len(names) - 5} more" if len(names) > 5 else ""),
            Address(context.view.name, "role", (group,)),
        )
        for group, names in sorted(foreign.items())
    ]


def _loses_admin(change: Change) -> bool:
    return any(f.name == "admin" and f.before and not f.after for f in change.fields)


def _no_options(state: State | None) -> bool:
    return isinstance(state, MembershipState) and state.inherit is None


def _with(change: Change, inherits: bool) -> str:
    state = change.after
    assert isinstance(state, MembershipState)
    names = {f.name for f in change.fields}
    defaults = {"admin": False, "inherit": inherits, "set": True}
    if state.inherit is None:
        return " WITH ADMIN OPTION" if state.admin else ""
    words = [
        f"{name.upper()} {'TRUE' if getattr(state, name) else 'FALSE'}"
        for name in ("admin", "inherit", "set")
        if name in names and (change.action is not Action.CREATE or getattr(state, name) is not defaults[name])
    ]
    return f" WITH {', '.join(words)}" if words else ""


def _merged(changes: Sequence[Change], verb: str, options: str) -> Iterator[Step]:
    """`GRANT g TO u1, u2, …`: many memberships, one statement."""
    for part in chunks(list(changes), _NAMES_A_STATEMENT):
        yield step([c.address for c in part], f"{verb}{idents(c.address.name[1] for c in part)}{options}")
