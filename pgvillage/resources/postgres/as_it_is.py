"""What a manifest leaves alone, filled in from what is live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import TypeVar

from pgvillage.core.address import Address
from pgvillage.core.change import Change
from pgvillage.core.state import UNMANAGED, State
from pgvillage.core.step import SqlStep
from pgvillage.resources.postgres.sql import ident, literal, step

S = TypeVar("S", bound=State)


def filled_in(wish: S, live: State | None) -> S:
    """The wish with the live value in every UNMANAGED field; the field's default where there is nothing live."""
    known = live if isinstance(live, type(wish)) else None
    unsaid = {
        f.name: f.default if known is None else getattr(known, f.name)
        for f in fields(wish)
        if getattr(wish, f.name) is UNMANAGED
    }
    return replace(wish, **unsaid) if unsaid else wish


def comment_steps(change: Change, what: str, database: str | None = None) -> Iterable[SqlStep]:
    """COMMENT ON `what`, when the change is about its comment."""
    if any(f.name == "comment" for f in change.fields):
        yield step(change.address, comment_on(what, getattr(change.after, "comment", None)), database=database)


def comment_on(what: str, comment: object) -> str:
    """`what` is the SQL that names the object; None takes the comment away."""
    return f"COMMENT ON {what} IS {'NULL' if comment is None else literal(str(comment))}"


def owner_to(what: str, owner: object) -> str:
    return f"ALTER {what} OWNER TO {ident(str(owner))}"


def owned_by(address: Address, owner: object) -> list[Address]:
    """What an object in a database needs by itself: the database and its owner."""
    database = Address(address.target, "database", address.name[:1])
    return [database, *([Address(address.target, "role", (owner,))] if isinstance(owner, str) else [])]
