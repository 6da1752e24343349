"""Whose the objects of living schemas are, as rules of `ownership`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgvillage.estate.manifest.row_security import OWNED_CLASSES
from pgvillage.report.words import counted, show_name
from pgvillage.usecases.live_cluster import Document, LiveCluster

_EXCEPTIONS = 10
_SHARE = 5  # one in so many objects may be an exception


@dataclass
class _Schema:
    """Classes by the role that owns them, the names that are exceptions, and the classes of many owners."""

    classes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    exceptions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    mixed: dict[str, Mapping[str, int]] = field(default_factory=dict)


def ownership(live: LiveCluster, database: str) -> list[Document]:
    """One rule where one role owns all of a schema, or all of some classes in it, but for a few objects.

    Schemas of the same owner share a rule; classes of many owners are left out.
    """
    schemas_of: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for (place, schema), counts in sorted(live.owners.counts.items()):
        if place != database or ("ownership", (database, schema)) in live.outside.objects:
            continue
        found = _by_owner(live, (place, schema), counts)
        if found.mixed:
            live.left[f"owners in schema {show_name(schema)} of {show_name(database)}"] = _shares(found.mixed)
        for owner, classes in sorted(found.classes.items()):
            if not owner.startswith("pg_"):
                whole = len(found.classes) == 1 and not found.mixed
                kept = tuple(sorted(found.exceptions[owner]))
                schemas_of[owner, () if whole else tuple(classes), kept].append(schema)
    return [
        {"owner": owner, "schemas": schemas}
        | ({"objects": list(classes)} if classes else {})
        | ({"except": list(kept)} if kept else {})
        for (owner, classes, kept), schemas in sorted(schemas_of.items())
    ]


def _by_owner(live: LiveCluster, place: tuple[str, str], counts: Mapping[str, Mapping[str, int]]) -> _Schema:
    found = _Schema()
    for each in OWNED_CLASSES:
        owners = counts.get(each, {})
        if not owners:
            continue
        first = max(sorted(owners), key=lambda owner: owners[owner])
        others = {owner: count for owner, count in owners.items() if owner != first}
        count = sum(others.values())
        if count > _EXCEPTIONS or count * _SHARE > sum(owners.values()):
            found.mixed[each] = owners
            continue
        found.classes[first].append(each)
        found.exceptions[first].update(name for owner in others for name in live.owners.few[(*place, each, owner)])
    return found


def _shares(mixed: Mapping[str, Mapping[str, int]]) -> str:
    """`tables belong to 3 roles: a 12, b 3, c 1`."""
    words = []
    for each, owners in mixed.items():
        first = sorted(owners.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ", ".join(f"{show_name(owner)} {count}" for owner, count in first[:3])
        more = f" and {len(first) - 3} more" if len(first) > 3 else ""
        words.append(f"{each}s belong to {counted(len(first), 'role')} ({shown}{more})")
    return "; ".join(words) + ": no rule is written"
