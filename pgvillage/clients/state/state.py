"""The state database as one object, a part a concern; every call is short and blocks: `asyncio.to_thread` it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from pgvillage.clients.state.database import open_postgres, open_sqlite
from pgvillage.clients.state.decisions import Decisions
from pgvillage.clients.state.events import Events
from pgvillage.clients.state.export import exported
from pgvillage.clients.state.faults import Faults
from pgvillage.clients.state.history import History
from pgvillage.clients.state.intake import Intake
from pgvillage.clients.state.job_runs import JobRuns
from pgvillage.clients.state.migrate import newest_version
from pgvillage.clients.state.outbox import Outbox
from pgvillage.clients.state.pages import Pages
from pgvillage.clients.state.retention import prune
from pgvillage.clients.state.sessions import Sessions
from pgvillage.clients.state.statuses import Statuses
from pgvillage.clients.state.views import Views
from pgvillage.settings import Retention


class State:
    """Every call of every part raises StateError, and nothing else, when the database fails; `faults` counts them."""

    def __init__(self, engine: Engine, faults: Faults | None = None) -> None:
        self.engine, self.faults = engine, faults or Faults()

    @classmethod
    def in_file(cls, file: Path) -> State:
        faults = Faults()
        return cls(open_sqlite(file, faults), faults)

    @classmethod
    def in_postgres(cls, url: str) -> State:
        faults = Faults()
        return cls(open_postgres(url, faults), faults)

    def prune(self, now: datetime, retention: Retention) -> dict[str, int]:
        """Forget what is older than the settings say; how many rows went, by table."""
        return prune(self.engine, retention, now)

    def exported(self, name: str, since: datetime | None = None) -> Iterator[dict[str, Any]]:
        """Rows of plans, runs, drifts, events, audit or approvals, the oldest first, not all at once in memory."""
        return exported(self.engine, name, since)

    @property
    def version(self) -> str:
        """Of its tables."""
        return newest_version()

    def close(self) -> None:
        self.engine.dispose()

    @cached_property
    def statuses(self) -> Statuses:
        return Statuses(self.engine)

    @cached_property
    def history(self) -> History:
        return History(self.engine)

    @cached_property
    def pages(self) -> Pages:
        return Pages(self.engine)

    @cached_property
    def decisions(self) -> Decisions:
        return Decisions(self.engine)

    @cached_property
    def events(self) -> Events:
        return Events(self.engine)

    @cached_property
    def intake(self) -> Intake:
        return Intake(self.engine)

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(self.engine)

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(self.engine)

    @cached_property
    def job_runs(self) -> JobRuns:
        return JobRuns(self.engine)

    @cached_property
    def views(self) -> Views:
        return Views(self.engine)
