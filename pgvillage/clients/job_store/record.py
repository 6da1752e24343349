"""A run's record as plain values and back: for JSON in etcd and for rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from pgvillage.core.job_run import RunRecord, RunStatus
from pgvillage.core.run_key import RunKey

_KEY = ("job", "scheduled", "cluster", "database", "node")
_TIMES = ("scheduled", "noted", "not_before", "begun", "ended")
FIELDS = (*_KEY, *(f.name for f in fields(RunRecord) if f.name != "key"))


def values_of(record: RunRecord) -> dict[str, Any]:
    """By FIELDS; times are aware datetimes."""
    found: dict[str, Any] = {name: getattr(record.key, name) for name in _KEY}
    found |= {f.name: getattr(record, f.name) for f in fields(record) if f.name != "key"}
    return found | {"status": record.status.value}


def record_of(values: Mapping[str, Any]) -> RunRecord:
    """Raises ValueError, KeyError or TypeError for what was not written by `values_of`."""
    key = RunKey(**{name: values[name] for name in _KEY})
    rest = {name: values[name] for name in FIELDS if name not in _KEY}
    return RunRecord(key=key, **(rest | {"status": RunStatus(values["status"])}))


def as_json(record: RunRecord) -> dict[str, Any]:
    found = values_of(record)
    return found | {name: found[name].astimezone(UTC).isoformat() for name in _TIMES if found[name] is not None}


def from_json(found: Mapping[str, Any]) -> RunRecord:
    """Raises ValueError, KeyError or TypeError."""
    times = {name: datetime.fromisoformat(found[name]) for name in _TIMES if found[name] is not None}
    return record_of({**found, **times})
