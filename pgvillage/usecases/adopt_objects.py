"""Adopting what hangs on tables and databases: row security, ownership, PUBLIC, user mappings, subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgvillage.estate.manifest.qualified_name import join_name
from pgvillage.resources.postgres.ownership import Owners
from pgvillage.resources.postgres.privilege_inventory import place_of
from pgvillage.resources.postgres.row_policy import PolicyState
from pgvillage.resources.postgres.row_security import RowSecurityState
from pgvillage.resources.postgres.subscription import SubscriptionState
from pgvillage.resources.postgres.user_mapping import UserMappingState
from pgvillage.usecases.adopt_case import Case, Refused
from pgvillage.usecases.adopt_edits import Edit, item, key
from pgvillage.usecases.adopt_gone import entry_of, table_index
from pgvillage.usecases.live_objects import mapping_item, policy_item, row_security
from pgvillage.usecases.live_public import said_of_public
from pgvillage.usecases.live_subscriptions import Unsaid, connection_item, subscription_item

_EXCEPTIONS = 10  # more objects of others than this are no exceptions from a rule
_POLICY = {"using": "using", "with_check": "withCheck", "comment": "comment", "command": "command",
           "permissive": "permissive"}  # fmt: skip


def public_privilege(case: Case) -> list[Edit]:
    database = case.database(case.address.name[1])
    try:
        keys, held = said_of_public(case.live, place_of(case.address))
    except ValueError as error:
        raise Refused(str(error)) from None
    return [key(database.located, (*database.path, "public", *keys), held)]


def row_security_of(case: Case) -> list[Edit]:
    """What the table's entry lacks or has otherwise; a table without an entry gets one with all its policies."""
    index = table_index(case)
    if index is None:
        return _new_table(case)
    database, state = case.database(case.address.name[0]), case.state
    assert isinstance(state, RowSecurityState)
    place = (*database.path, "rowSecurity", index)
    fields = case.change.fields if case.change is not None else ()
    return [key(database.located, (*place, field.name), field.before) for field in fields]


def _new_table(case: Case) -> list[Edit]:
    database_name, *table = case.address.name[:3]
    database = case.database(database_name)
    wanted = join_name(*table)
    entries = [each for each in row_security(case.live, database_name) if each["table"] == wanted]
    if not entries:
        raise Refused("; ".join(case.live.left.values()) or "it has no row security")
    return [item(database.located, (*database.path, "rowSecurity"), entries[0])]


def policy(case: Case) -> list[Edit]:
    index, state = table_index(case), case.state
    assert isinstance(state, PolicyState)
    if index is None:
        return _new_table(case)
    if not case.declared:
        database = case.database(case.address.name[0])
        path = (*database.path, "rowSecurity", index, "policies")
        return [item(database.located, path, policy_item(case.address.name[3], state))]
    located, path, _ = entry_of(case)
    edits = []
    for field in case.change.fields if case.change is not None else ():
        value = sorted(field.before) if field.name == "roles" else field.before
        edits.append(key(located, (*path, _POLICY.get(field.name, field.name)), value))
    return edits


def ownership(case: Case) -> list[Edit]:
    """Objects of others become exceptions of the rule."""
    database_name, schema, owner = case.address.name
    database, inventory = case.database(database_name), case.seen.context.snapshot.inventory["ownership"]
    assert isinstance(inventory, Owners)
    found = inventory.strangers.get(case.address, {})
    names = sorted({each.name for objects in found.values() for each in objects})
    rules = database.spec.ownership
    index = next(i for i, rule in enumerate(rules) if rule.owner == owner and schema in rule.schemas)
    path = (*database.path, "ownership", index)
    if len(names) > _EXCEPTIONS:
        raise Refused(
            f"{len(names)} objects belong to {', '.join(sorted(found))}, which is more than a few exceptions: change "
            f"`owner` or `schemas` of the rule at {database.located.at(*path)} by hand"
        )
    return [item(database.located, (*path, "except"), name) for name in names]


def user_mapping(case: Case) -> list[Edit]:
    state, (database_name, server, _) = case.state, case.address.name
    assert isinstance(state, UserMappingState)
    if case.declared:
        source = case.seen.desired[case.address].source
        raise Refused(
            f"its options' values are never read: where another is right, put it at {source}, or into the secret "
            "that is named there"
        )
    if state.options == "unknown":
        raise Refused("only a superuser and the server's owner see its options")
    database = case.database(database_name)
    servers = [each.name for each in database.spec.foreign_servers]
    if server not in servers:
        address = case.address._replace(kind="server", name=(database_name, server))
        raise Refused(f"no manifest declares its server: adopt {address} first")
    path = (*database.path, "foreignServers", servers.index(server), "userMappings")
    return [item(database.located, path, mapping_item(case.address.name, state, case.secrets))]


def subscription(case: Case) -> list[Edit]:
    state = case.state
    assert isinstance(state, SubscriptionState)
    try:
        entry = subscription_item(case.address.name, state, case.secrets)
    except Unsaid as error:
        raise Refused(str(error)) from None
    if case.declared:
        case.secrets.clear()  # it names its own
        located, path, spec = entry_of(case)
        return [
            key(located, (*path, _camel(field.name)), _drifted(case, field.name, entry, spec))
            for field in (case.change.fields if case.change is not None else ())
        ]
    database = case.database(case.address.name[0])
    return [item(database.located, (*database.path, "subscriptions"), entry)]


def _drifted(case: Case, name: str, entry: dict[str, Any], spec: Any) -> Any:
    if name != "connection":
        value = getattr(case.state, name)
        return sorted(value) if isinstance(value, frozenset) else value
    assert isinstance(case.state, SubscriptionState)
    there = connection_item(dict(case.state.place))
    said = (
        spec.connection.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) if spec.connection else {}
    )
    if there == said:
        secret = f"secret {spec.password.secret!r}" if spec.password else "`password`"
        raise Refused(f"its password differs and is never read: put the right one into {secret}")
    return entry["connection"]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


MAKERS: dict[str, Any] = {
    "row-security": row_security_of, "policy": policy, "ownership": ownership, "user-mapping": user_mapping,
    "subscription": subscription,
}  # fmt: skip
__all__: Sequence[str] = ["MAKERS", "public_privilege"]
