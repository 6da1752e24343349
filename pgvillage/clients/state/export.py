"""History as it is, row by row: for auditors, and for what keeps it longer than we do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select

from pgvillage.clients.state.tables import approval, audit, drift, event, job_run, job_step, plan, run
from pgvillage.core.errors import UsageError

_PAGE = 500
_TABLES = {
    "plans": (plan, plan.c.made_at),
    "runs": (run, run.c.started_at),
    "drifts": (drift, drift.c.last_seen),
    "events": (event, event.c.at),
    "audit": (audit, audit.c.at),
    "approvals": (approval, approval.c.at),
    "job-runs": (job_run, job_run.c.scheduled),
    "job-steps": (job_step, job_step.c.begun),
}
EXPORTED = tuple(_TABLES)


def exported(engine: Engine, name: str, since: datetime | None) -> Iterator[dict[str, Any]]:
    """Rows of one of EXPORTED, the oldest first, never more than a page of them in memory. Raises UsageError."""
    if name not in _TABLES:
        raise UsageError(f"there is no history of {name!r}; there is of {', '.join(EXPORTED)}")
    table, moment = _TABLES[name]
    found = select(table).order_by(moment, *table.primary_key)
    found = found if since is None else found.where(moment >= since)
    with engine.connect() as connection, connection.execution_options(yield_per=_PAGE).execute(found) as result:
        for row in result.mappings():
            yield dict(row)
