"""The statements that make, change and drop a subscription."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgvillage.core.change import Change
from pgvillage.core.step import Step
from pgvillage.resources.postgres.as_it_is import comment_steps, owner_to
from pgvillage.resources.postgres.sql import ident, idents, literal, step

if TYPE_CHECKING:
    from pgvillage.resources.postgres.subscription import SubscriptionState

# The major version that an option came with.
SINCE = {
    "synchronous_commit": 13, "binary": 14, "streaming": 14, "two_phase": 15, "disable_on_error": 15,
    "password_required": 16, "run_as_owner": 16, "origin": 16, "failover": 17,
}  # fmt: skip
_AT_REST = ("two_phase", "failover", "slot_name")  # changed only while the subscription is disabled


def subscription_steps(change: Change) -> Iterator[Step]:
    """What talks to the publisher, or makes a slot there, can't be in a transaction."""
    from pgvillage.resources.postgres.subscription import SubscriptionState

    database, bare = change.address.name
    what, before, after = f"SUBSCRIPTION {ident(bare)}", change.before, change.after
    if isinstance(after, SubscriptionState):
        if isinstance(before, SubscriptionState):
            yield from _altered(change, what, before, after)
        else:
            yield _created(change, what, after)
        names = {f.name for f in change.fields}
        if "owner" in names and isinstance(after.owner, str):
            yield step(change.address, owner_to(what, after.owner), database=database)
        yield from comment_steps(change, what, database)
        return
    if isinstance(before, SubscriptionState) and before.enabled:
        yield step(change.address, f"ALTER {what} DISABLE", database=database)
    yield step(change.address, f"DROP {what}", database=database, transactional=False)


def _created(change: Change, what: str, state: SubscriptionState) -> Step:
    assert state.conninfo is not None
    options = {
        "enabled": state.enabled,
        "create_slot": state.create_slot,
        "copy_data": state.copy_data,
        "slot_name": state.slot_name,
        **{name: getattr(state, name) for name in SINCE},
    }
    tail = f" PUBLICATION {idents(sorted(state.publications))} WITH ({_written(options)})"
    text = (f"CREATE {what} CONNECTION ", state.conninfo.place(), tail)
    return step(change.address, *text, database=change.address.name[0], transactional=False)


def _altered(change: Change, what: str, before: SubscriptionState, after: SubscriptionState) -> Iterator[Step]:
    names = {f.name for f in change.fields}
    database = change.address.name[0]
    at_rest = {name: getattr(after, name) for name in _AT_REST if name in names}
    on = before.enabled
    if on and (at_rest or not after.enabled):
        yield step(change.address, f"ALTER {what} DISABLE", database=database)
        on = False
    if "connection" in names and after.conninfo is not None:
        yield step(change.address, f"ALTER {what} CONNECTION ", after.conninfo.place(), database=database)
    options = {name: getattr(after, name) for name in SINCE if name in names and name not in at_rest}
    if options:
        yield step(change.address, f"ALTER {what} SET ({_written(options)})", database=database)
    for name, value in at_rest.items():
        yield step(
            change.address, f"ALTER {what} SET ({_written({name: value})})", database=database, transactional=False
        )
    if after.enabled and not on:
        yield step(change.address, f"ALTER {what} ENABLE", database=database)
    if "publications" in names:
        # A refresh asks the publisher, which a subscription that is switched off must not.
        refresh = f"refresh = {'true' if after.enabled else 'false'}"
        text = f"ALTER {what} SET PUBLICATION {idents(sorted(after.publications))} WITH ({refresh})"
        yield step(change.address, text, database=database, transactional=not after.enabled)


def _written(options: dict[str, object]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in options.items() if value is not None)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "NONE" if value == "none" else literal(str(value))
