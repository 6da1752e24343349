"""The state database as one object, a part a concern; every call is short and blocks: `asyncio.to_thread` it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from pgvillage.clients.state.database import open_postgres, open_sqlite
from pgvillage.clients.state.decisions import Decisions
from pgvillage.clients.state.events import Events
from pgvillage.clients.state.history import History
from pgvillage.clients.state.sessions import Sessions
from pgvillage.clients.state.statuses import Statuses
from pgvillage.clients.state.views import Views


class State:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def in_file(cls, file: Path) -> State:
        return cls(open_sqlite(file))

    @classmethod
    def in_postgres(cls, url: str) -> State:
        return cls(open_postgres(url))

    def close(self) -> None:
        self.engine.dispose()

    @cached_property
    def statuses(self) -> Statuses:
        return Statuses(self.engine)

    @cached_property
    def history(self) -> History:
        return History(self.engine)

    @cached_property
    def decisions(self) -> Decisions:
        return Decisions(self.engine)

    @cached_property
    def events(self) -> Events:
        return Events(self.engine)

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(self.engine)

    @cached_property
    def views(self) -> Views:
        return Views(self.engine)
