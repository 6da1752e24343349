"""Sessions of people who signed in: the database has the SHA-256 of what the browser holds, and never that itself."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select, update

from pgvillage.clients.state.tables import session

_BYTES = 32
_TOUCHED = timedelta(seconds=60)  # how exact "idle" is: not every request writes


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """`csrf` goes into forms; `data` is what the sign-in kept (a provider's `sid`, a login that is under way)."""

    who: str
    role: str
    until: datetime
    csrf: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Sessions:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, who: str, role: str, now: datetime, seconds: float, data: Mapping[str, Any] | None = None) -> str:
        """The new session's secret, which nothing else knows; what has run out is forgotten."""
        secret = secrets.token_urlsafe(_BYTES)
        kept = {"csrf": secrets.token_urlsafe(_BYTES), "seen": now.timestamp(), "more": dict(data or {})}
        row = {"id": _hashed(secret), "who": who, "role": role, "at": now, "until": now + timedelta(seconds=seconds)}
        with self._engine.begin() as connection:
            connection.execute(delete(session).where(session.c.until <= now))
            connection.execute(insert(session).values(**row, data=kept))
        return secret

    def find(self, secret: str, now: datetime, idle: float) -> Session | None:
        """None when there is no such session, or it was idle for so many seconds, or its end has come."""
        mine = session.c.id == _hashed(secret)
        with self._engine.connect() as connection:
            row = connection.execute(select(session).where(mine, session.c.until > now)).mappings().first()
        if row is None:
            return None
        kept = dict(row["data"])
        quiet = now.timestamp() - float(kept["seen"])
        if quiet >= idle:
            self.close(secret)
            return None
        if quiet >= _TOUCHED.total_seconds():
            with self._engine.begin() as connection:
                connection.execute(update(session).where(mine).values(data={**kept, "seen": now.timestamp()}))
        return Session(row["who"], row["role"], row["until"], kept["csrf"], kept["more"])

    def take(self, secret: str, now: datetime, idle: float) -> Session | None:
        """Found once and then gone, even when two ask at the same moment."""
        found = self.find(secret, now, idle)
        return found if found is not None and self.close(secret) else None

    def close(self, secret: str) -> bool:
        """False when it was closed before."""
        with self._engine.begin() as connection:
            return bool(connection.execute(delete(session).where(session.c.id == _hashed(secret))).rowcount)

    def count(self, now: datetime) -> int:
        """How many people's sessions are open."""
        with self._engine.connect() as connection:
            found = select(func.count()).select_from(session).where(session.c.until > now, session.c.role != "")
            return connection.execute(found).scalar_one()


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
