"""Publications, subscriptions, triggers, row security, ownership: each declared once, and the roles they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.manifest.replication import PublicationSpec, SubscriptionSpec
from pgvillage.estate.manifest.row_security import EventTriggerSpec
from pgvillage.estate.scopes import DatabaseClaim
from pgvillage.estate.source_text import DocPath


def logical_lists(database: DatabaseClaim) -> Iterator[tuple[DocPath, str, list[str]]]:
    """Lists in which a name may stand once: the path in the database, what they list, the names."""
    spec = database.spec
    yield ("publications",), "publication", [each.name for each in spec.publications]
    yield ("subscriptions",), "subscription", [each.name for each in spec.subscriptions]
    yield ("eventTriggers",), "event trigger", [each.name for each in spec.event_triggers]
    yield ("rowSecurity",), "row security of", [each.table for each in spec.row_security]
    for index, table in enumerate(spec.row_security):
        yield ("rowSecurity", index, "policies"), "policy", [policy.name for policy in table.policies]
    for index, publication in enumerate(spec.publications):
        tables = [each if isinstance(each, str) else each.table for each in publication.tables]
        yield ("publications", index, "tables"), "table", tables


def logical_roles(database: DatabaseClaim) -> Iterator[tuple[str | None, DocPath]]:
    """Owners, and the roles of policies; None where nobody is named."""
    spec = database.spec
    owned: dict[str, Sequence[PublicationSpec | SubscriptionSpec | EventTriggerSpec]] = {
        "publications": spec.publications, "subscriptions": spec.subscriptions, "eventTriggers": spec.event_triggers
    }  # fmt: skip
    for key, objects in owned.items():
        for index, each in enumerate(objects):
            if each.ensure == "present":
                yield each.owner, (*database.path, key, index, "owner")
    for index, rule in enumerate(spec.ownership):
        yield rule.owner, (*database.path, "ownership", index, "owner")
    for index, table in enumerate(spec.row_security):
        for number, policy in enumerate(table.policies):
            path = (*database.path, "rowSecurity", index, "policies", number, "roles")
            for place, role in enumerate(policy.roles if policy.ensure == "present" else ()):
                yield None if role == "public" else role, (*path, place)


def two_owners(database: DatabaseClaim) -> Iterator[Diagnostic]:
    """Two rules of `ownership` about the same objects of one schema, or two for the same owner in it."""
    located, path = database.claim.located, (*database.path, "ownership")
    seen: dict[tuple[str, str], int] = {}
    for index, rule in enumerate(database.spec.ownership):
        for schema in dict.fromkeys(rule.schemas):
            keys = [(schema, each) for each in rule.objects]
            other = next((seen[key] for key in keys if seen.get(key, index) != index), None)
            if other is None:
                other = next((n for n in range(index) if _same_owner(database, n, index, schema)), None)
            if other is not None:
                message = f"whose the objects of schema {schema} are is declared twice; see {located.at(*path, other)}"
                yield located.fault(message, *path, index, hint="join the two, or give each its own `objects`")
            seen.update(dict.fromkeys(keys, index))


def _same_owner(database: DatabaseClaim, one: int, other: int, schema: str) -> bool:
    rules = database.spec.ownership
    return rules[one].owner == rules[other].owner and schema in rules[one].schemas
