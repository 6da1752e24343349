"""Webhook deliveries that were taken, so that none is taken twice."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, delete

from pgvillage.clients.state.rows import insert_new
from pgvillage.clients.state.tables import delivery


class Intake:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def take(self, hook: str, identity: str, at: datetime) -> bool:
        """False when it was taken before. `identity` has 200 characters at most."""
        with self._engine.begin() as connection:
            return insert_new(connection, delivery, {"hook": hook, "delivery": identity, "at": at})

    def forget(self, before: datetime) -> int:
        """How many deliveries older than `before` there were; they are gone then."""
        with self._engine.begin() as connection:
            return connection.execute(delete(delivery).where(delivery.c.at < before)).rowcount
