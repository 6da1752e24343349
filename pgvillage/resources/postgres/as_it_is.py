"""What a manifest leaves alone, filled in from what is live."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

from pgvillage.core.address import Address
from pgvillage.core.state import UNMANAGED, State
from pgvillage.resources.postgres.sql import ident, literal

S = TypeVar("S", bound=State)


def filled_in(wish: S, live: State | None) -> S:
    """The wish with the live value in every UNMANAGED field; None where there is nothing live."""
    known = live if isinstance(live, type(wish)) else None
    open_fields = [f.name for f in fields(wish) if getattr(wish, f.name) is UNMANAGED]
    return replace(wish, **{name: getattr(known, name, None) for name in open_fields}) if open_fields else wish


def comment_on(what: str, comment: object) -> str:
    """`what` is the SQL that names the object; None takes the comment away."""
    return f"COMMENT ON {what} IS {'NULL' if comment is None else literal(str(comment))}"


def owner_to(what: str, owner: object) -> str:
    return f"ALTER {what} OWNER TO {ident(str(owner))}"


def owned_by(address: Address, owner: object) -> list[Address]:
    """What an object in a database needs by itself: the database and its owner."""
    database = Address(address.target, "database", address.name[:1])
    return [database, *([Address(address.target, "role", (owner,))] if isinstance(owner, str) else [])]
