"""What waits to be sent to chat, and what each channel was told last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, case, delete, func, insert, select, update

from pgvillage.clients.state.rows import as_record, as_row, insert_new
from pgvillage.clients.state.tables import outbox, thread
from pgvillage.core.history import Message
from pgvillage.core.notice import ThreadRecord, merged, notice_of

# How an error begins that leaves open whether the message arrived.
UNSURE = "unsure: "
_WAITS = outbox.c.delivered_at.is_(None)


class Outbox:
    """Every call is one short transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def threads(self, channel: str, names: Collection[str]) -> dict[str, ThreadRecord]:
        """Those there are, by their names."""
        found = select(thread).where(thread.c.channel == channel, thread.c.thread.in_(list(names)))
        with self._engine.connect() as connection:
            return {row["thread"]: as_record(ThreadRecord, row) for row in connection.execute(found).mappings()}

    def open_threads(self, channel: str) -> list[ThreadRecord]:
        found = select(thread).where(thread.c.channel == channel, thread.c.open).order_by(thread.c.thread)
        with self._engine.connect() as connection:
            return [as_record(ThreadRecord, row) for row in connection.execute(found).mappings()]

    def tell(
        self, records: Sequence[tuple[ThreadRecord, str]], messages: Sequence[Message], unsaid: Collection[str] = ()
    ) -> bool:
        """Move threads on, each from the key it had, and queue messages; all or nothing.

        Messages of the threads `unsaid` that were never tried go. False: another replica was faster.
        """
        try:
            with self._engine.begin() as connection:
                for record, before in records:
                    _move(connection, record, before)
                for message in messages:
                    _queue(connection, message)
                if unsaid:
                    channel = records[0][0].channel
                    never = (outbox.c.channel == channel, outbox.c.thread.in_(list(unsaid)), outbox.c.tries == 0)
                    connection.execute(delete(outbox).where(_WAITS, *never))
        except _Moved:
            return False
        return True

    def claim(self, channel: str, now: datetime, lease: timedelta) -> Message | None:
        """The next one to send, ours until now + lease; None when none is due, or when the one before is not through.

        A message that was tried stands before all others: the channel waits for it.
        """
        with self._engine.begin() as connection:
            row = connection.execute(_head(channel)).mappings().first()
            if row is None or row["due"] > now:
                return None
            ours = update(outbox).where(outbox.c.id == row["id"], outbox.c.tries == row["tries"], _WAITS)
            done = connection.execute(ours.values(due=now + lease, tries=row["tries"] + 1, error=""))
            return _message(row) if done.rowcount else None

    def next_due(self, channel: str) -> datetime | None:
        with self._engine.connect() as connection:
            row = connection.execute(_head(channel)).mappings().first()
        return row["due"] if row is not None else None

    def delivered(self, message: Message, reference: str, at: datetime) -> None:
        """`reference` is what the service calls the message; "" keeps the one there is."""
        with self._engine.begin() as connection:
            connection.execute(update(outbox).where(outbox.c.id == message.id).values(delivered_at=at, error=""))
            if reference:
                of = (thread.c.channel == message.channel, thread.c.thread == message.thread)
                connection.execute(update(thread).where(*of).values(reference=reference))

    def postponed(self, message: Message, error: str, due: datetime) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(outbox).where(outbox.c.id == message.id, _WAITS).values(error=error, due=due))

    def dropped(self, message: Message) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(outbox).where(outbox.c.id == message.id))

    def reference(self, channel: str, name: str) -> str:
        found = self.threads(channel, [name]).get(name)
        return found.reference if found is not None else ""

    def waiting(self) -> dict[str, tuple[int, datetime]]:
        """Of each channel with undelivered messages: how many, and when the oldest was made."""
        counts = select(outbox.c.channel, func.count(), func.min(outbox.c.made_at)).where(_WAITS)
        with self._engine.connect() as connection:
            rows = connection.execute(counts.group_by(outbox.c.channel)).all()
        return {channel: (number, oldest) for channel, number, oldest in rows}

    def history(self, limit: int = 100) -> list[Message]:
        """The newest first, delivered or not."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(outbox).order_by(outbox.c.id.desc()).limit(limit)).mappings()
            return [as_record(Message, row) for row in rows]

    def prune(self, before: datetime) -> None:
        """Forget what was delivered, and threads that ended, before a time."""
        with self._engine.begin() as connection:
            connection.execute(delete(outbox).where(outbox.c.delivered_at < before))
            connection.execute(delete(thread).where(thread.c.at < before, ~thread.c.open))


class _Moved(Exception):
    """The thread is not where it was when it was read."""


def _head(channel: str) -> Select[Any]:
    tried_first = case((outbox.c.tries > 0, 0), else_=1)
    waiting = select(outbox).where(outbox.c.channel == channel, _WAITS)
    return waiting.order_by(tried_first, outbox.c.due, outbox.c.id).limit(1)


def _message(row: RowMapping) -> Message:
    """As it is after its claim."""
    return as_record(Message, {**row, "tries": row["tries"] + 1})


def _move(connection: Connection, record: ThreadRecord, before: str) -> None:
    values = as_row(record, "channel", "thread", "reference")
    same = (thread.c.channel == record.channel, thread.c.thread == record.thread)
    if connection.execute(update(thread).where(*same, thread.c.key == before).values(values)).rowcount:
        return
    if before or connection.execute(select(thread.c.key).where(*same)).first() is not None:
        raise _Moved
    if not insert_new(connection, thread, as_row(record)):
        raise _Moved


def _queue(connection: Connection, message: Message) -> None:
    """Put it behind what waits, or in the place of what its thread has waiting and surely never arrived."""
    of = (outbox.c.channel == message.channel, outbox.c.thread == message.thread, _WAITS)
    row = connection.execute(select(outbox).where(*of).order_by(outbox.c.id.desc()).limit(1)).mappings().first()
    if row is not None and _never_arrived(row):
        left = merged(notice_of(row["body"]), notice_of(message.body))
        same = (outbox.c.id == row["id"], outbox.c.tries == row["tries"], outbox.c.error == row["error"], _WAITS)
        sooner = row["due"] if row["tries"] else min(row["due"], message.due)
        fresh = {"key": message.key, "body": left.as_body(), "due": sooner} if left is not None else {}
        change = update(outbox).where(*same).values(fresh) if left is not None else delete(outbox).where(*same)
        if connection.execute(change).rowcount:
            return
    connection.execute(insert(outbox).values(as_row(message)))


def _never_arrived(row: RowMapping) -> bool:
    """Never tried, or its last try has surely failed; while it is being sent nobody knows."""
    return not row["tries"] or (bool(row["error"]) and not row["error"].startswith(UNSURE))
