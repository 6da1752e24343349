"""From PostgreSQL 16 on a membership belongs to who granted it: what others granted is taken back in their name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pgvillage.core.address import Address, quote_part
from pgvillage.core.change import Action, Change
from pgvillage.core.state import State
from pgvillage.core.step import Step
from pgvillage.engine.kind import Context
from pgvillage.resources.postgres.rights import lesser
from pgvillage.resources.postgres.sql import ident, step


class Granted(NamedTuple):
    """`others` granted it besides or instead of us: the account we connect as, or for a superuser the bootstrap one."""

    others: tuple[str, ...]
    by_us: bool


Grants = Mapping[Address, Granted]


def grants_of(context: Context) -> Grants:
    """Only memberships that somebody else granted are in it."""
    found = context.snapshot.inventory.get("membership")
    return found if isinstance(found, dict) else {}


def passed_on(address: Address, context: Context) -> list[Address]:
    """Memberships in the same role that this member granted, and that would go with its own."""
    group, member = address.name
    return sorted(a for a, g in grants_of(context).items() if a.name[0] == group and member in g.others)


def takes(change: Change) -> bool:
    """Does somebody lose something that another grantor's row would keep?"""
    return change.action is Action.DELETE or any(f.before and not f.after for f in change.fields)


def grantor_out_of_reach(change: Change, context: Context) -> str:
    """A lesser account takes back what it granted, or a role whose privileges it has."""
    me, granted = lesser(context), grants_of(context).get(change.address)
    if me is None or granted is None or not takes(change):
        return ""
    for grantor in granted.others:
        if grantor not in me.acts_as:
            who = quote_part(grantor)
            return f"the membership was granted by {who}: only {who}, its members and superusers take it back"
    return ""


def in_their_name(change: Change, context: Context, coming: Mapping[Address, State | None]) -> Iterator[Step]:
    """The statements of a loss that plain REVOKE and GRANT would not bring about; nothing where they do.

    `coming` is what the changes of this plan make of memberships. What the member passed on is granted by us first,
    unless it goes too: CASCADE then takes nothing away that stays.
    """
    address, granted = change.address, grants_of(context).get(change.address)
    options = all_options(change.after)
    stay = {a: coming.get(a, context.snapshot.live.get(a)) for a in passed_on(address, context)}
    cascade = " CASCADE" if stay else ""
    group, member = map(ident, address.name)
    for other, state in stay.items():
        if state is not None:
            yield step(address, f"GRANT {group} TO {ident(other.name[1])}{all_options(state)}")
    goes = change.action is Action.DELETE
    if not goes and granted is not None:
        yield step(address, f"GRANT {group} TO {member}{options}")
    if granted is None or granted.by_us:
        if goes:
            yield step(address, f"REVOKE {group} FROM {member}{cascade}")
        elif granted is None:
            lost = [f.name for f in change.fields if f.before and not f.after]
            for name in lost:
                yield step(address, f"REVOKE {name.upper()} OPTION FOR {group} FROM {member}{cascade}")
            yield step(address, f"GRANT {group} TO {member}{options}")
    for grantor in granted.others if granted else ():
        yield step(address, f"REVOKE {group} FROM {member} GRANTED BY {ident(grantor)}{cascade}")


def all_options(state: State | None) -> str:
    """Every option with its value, as a new grantor's row needs them."""
    words = [
        f"{name.upper()} {'TRUE' if getattr(state, name) else 'FALSE'}"
        for name in ("admin", "inherit", "set")
        if isinstance(getattr(state, name, None), bool)
    ]
    return f" WITH {', '.join(words)}" if words else ""


def needs_their_name(change: Change, context: Context) -> bool:
    """Is this one of the few whose grantor matters?"""
    return takes(change) and (change.address in grants_of(context) or bool(passed_on(change.address, context)))


def others_of(names: Sequence[str] | None, by_us: bool | None) -> Granted | None:
    """From a row: None where nobody else granted."""
    return Granted(tuple(sorted(names)), bool(by_us)) if names else None
