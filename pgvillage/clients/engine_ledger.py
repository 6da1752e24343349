"""The ledger beside a stolon cluster: one JSON document under a key of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pgvillage.clients.pg_ledger import FORMAT, READABLE, ledger_key, unknown_format
from pgvillage.core.address import parse_address
from pgvillage.core.errors import StepFailed
from pgvillage.core.fence import Fence
from pgvillage.core.ledger import Ledger, LedgerEntry, LedgerUpdate
from pgvillage.core.status import Suspension

Document = dict[str, Any]


def parse_store_ledger(cluster: str, uid: str, data: bytes | None) -> Ledger:
    """The ledger beside a stolon cluster; it belongs to the cluster with this uid alone."""
    if data is None:
        return Ledger()
    try:
        document = json.loads(data)
        if document["system"] != uid:
            return Ledger(why_not="the ledger was written for another cluster of this name")
        fence, suspension = int(document.get("fence", 0)), _suspension(document.get("suspension"))
        if document["format"] not in READABLE:
            why = unknown_format(document["format"])
            return Ledger(why_not=why, renewable=False, fence=fence, suspension=suspension)
        entries = {parse_address(f"{cluster}/{key}"): _entry(row) for key, row in document["entries"].items()}
        revision = document["revision"]
        if not entries and not revision:
            return Ledger(fence=fence, suspension=suspension)  # made, and nothing applied yet
        return Ledger(True, "", revision, entries, fence=fence, suspension=suspension)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Ledger(why_not=f"the ledger can't be read: {error!r}")


def _entry(row: Mapping[str, Any]) -> LedgerEntry:
    since = row.get("disabled_since")
    return LedgerEntry(
        wish=str(row["wish"]),
        made=bool(row["made"]),
        revision=str(row.get("revision", "")),
        directory=str(row.get("directory", "")),
        disabled_since=datetime.fromisoformat(since) if since else None,
    )


def _suspension(row: Mapping[str, Any] | None) -> Suspension | None:
    if row is None:
        return None
    until = row.get("until")
    return Suspension(str(row["by"]), str(row["reason"]), _instant(row["since"]), _instant(until) if until else None)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def document_of(cluster: str, uid: str, data: bytes | None) -> Document:
    """What an update starts from: a new document where there is none for this cluster, or none that can be read.

    Raises StepFailed for one that a later PgVillage wrote: it would lose what we do not know.
    """
    new: Document = {"format": FORMAT, "system": uid, "revision": "", "entries": {}}
    try:
        found = json.loads(data) if data else new
    except ValueError:
        return new
    if not isinstance(found, dict) or found.get("system") != uid or not isinstance(found.get("entries"), dict):
        return new
    if not isinstance(found.get("fence", 0), int):
        return new
    if found.get("format") not in READABLE:
        raise StepFailed(f"{cluster}: {unknown_format(found.get('format'))}; nothing written here")
    return {**found, "format": FORMAT}


def recorded(document: Document, update: LedgerUpdate) -> Document:
    entries = dict(document["entries"])
    for address, entry in update.rows.items():
        if entry is None:
            entries.pop(ledger_key(address), None)
        else:
            entries[ledger_key(address)] = {"wish": entry.wish, "made": entry.made, "revision": entry.revision}
    return {**document, "revision": update.revision, "entries": entries}


def suspended(document: Document, found: Suspension | None) -> Document:
    rest = {key: value for key, value in document.items() if key != "suspension"}
    if found is None:
        return rest
    until = found.until.isoformat() if found.until else None
    return {
        **rest,
        "suspension": {"by": found.by, "reason": found.reason, "since": found.since.isoformat(), "until": until},
    }


def with_fence(document: Document, fence: Fence) -> Document:
    return {**document, "fence": fence.token, "fenceHolder": fence.holder}
