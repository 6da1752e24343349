"""Whose the objects of living schemas are, as rules of `ownership`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from pgvillage.estate.manifest.row_security import OWNED_CLASSES
from pgvillage.report.words import counted, show_name
from pgvillage.usecases.live_cluster import Document, LiveCluster


def ownership(live: LiveCluster, database: str) -> list[Document]:
    """One rule where one role owns all of a schema, or all of some classes in it; the others are left out."""
    schemas_of: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (place, schema), counts in sorted(live.owners.counts.items()):
        if place != database:
            continue
        classes, mixed = _classes_by_owner(counts)
        if ("ownership", (database, schema)) in live.outside.objects:
            continue
        if mixed:
            live.left[f"owners in schema {show_name(schema)} of {show_name(database)}"] = _shares(mixed)
        for owner, found in sorted(classes.items()):
            if not owner.startswith("pg_"):
                whole = len(classes) == 1 and not mixed
                schemas_of[owner, () if whole else found].append(schema)
    return [
        {"owner": owner, "schemas": schemas, **({"objects": list(classes)} if classes else {})}
        for (owner, classes), schemas in sorted(schemas_of.items())
    ]


def _classes_by_owner(
    counts: Mapping[str, Mapping[str, int]],
) -> tuple[dict[str, tuple[str, ...]], dict[str, Mapping[str, int]]]:
    """Classes that one role owns alone, by owner; and how many of the other classes each role owns."""
    alone: dict[str, list[str]] = defaultdict(list)
    mixed: dict[str, Mapping[str, int]] = {}
    for each in OWNED_CLASSES:
        owners = counts.get(each, {})
        if len(owners) == 1:
            alone[next(iter(owners))].append(each)
        elif owners:
            mixed[each] = owners
    return {owner: tuple(found) for owner, found in alone.items()}, mixed


def _shares(mixed: Mapping[str, Mapping[str, int]]) -> str:
    """`tables belong to 3 roles: a 12, b 3, c 1`."""
    words = []
    for each, owners in mixed.items():
        first = sorted(owners.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ", ".join(f"{show_name(owner)} {count}" for owner, count in first[:3])
        more = f" and {len(first) - 3} more" if len(first) > 3 else ""
        words.append(f"{each}s belong to {counted(len(first), 'role')} ({shown}{more})")
    return "; ".join(words) + ": no rule is written"
