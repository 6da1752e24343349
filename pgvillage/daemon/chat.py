"""Tells chat what changed: hears of every look, decides by channel, and leaves messages in the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from pgvillage.clients.state.outbox import Outbox
from pgvillage.core.history import Message
from pgvillage.core.notice import Notice, ThreadRecord, Told
from pgvillage.daemon import chat_groups as groups
from pgvillage.daemon.chat_sights import Concern, concerns, estate_concern, open_for
from pgvillage.daemon.chat_thread import Thread, corrected, step, thread_of, told_before
from pgvillage.daemon.look import Look
from pgvillage.estate.manifest.estate import Notification
from pgvillage.settings import Channel

log = structlog.get_logger("pgvillage.chat")

_TRIES = 5
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Gather:
    """Seconds that a first message waits for others of the same cause: urgent ones, drift, what can't be reached."""

    urgent: float = 2
    drift: float = 30
    unreachable: float = 60

    @classmethod
    def within(cls, observe: float) -> Gather:
        """Never longer than from one look to the next."""
        return cls(min(2, observe), min(30, observe), min(60, observe))

    def of(self, notice: Notice) -> float:
        if notice.kind == "unreachable":
            return self.unreachable
        return self.drift if notice.kind == "drift" and notice.severity != "error" else self.urgent


class Notifier:
    """A Listener. Nothing it does raises, and what it remembers is in the state database alone."""

    def __init__(  # noqa: PLR0913 - what it is made of, in one place
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        everything: Collection[str] = (),
        *,
        url: str | None = None,
        gather: Gather | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`everything` are the channels that hear of every target; `wake` is called when something was queued."""
        self._outbox, self._channels, self._everything = outbox, channels, tuple(everything)
        self._url, self._gather, self._now, self._wake = url, gather or Gather(), now, wake
        self._routes: tuple[Notification, ...] = ()

    async def looked(self, look: Look) -> None:
        self._routes = look.routes
        if look.status.suspended(self._now()):
            return
        found = list(concerns(look, self._url))
        await self._tell(routed(look.routes, look.labels, self._everything, self._channels), found)

    async def keep(self, targets: Collection[str]) -> None:
        """What was said of targets that are another's now is in the state database, where the other finds it."""

    async def estate_read(self, revision: str, problem: str = "") -> None:
        """A commit was read: `problem` says why it can't be applied anywhere, "" when it can."""
        everyone = [*self._everything, *(route.channel for route in self._routes if not route.labels)]
        channels = everyone or [route.channel for route in self._routes]
        await self._tell(_known(channels, self._channels), [estate_concern(revision, problem, self._url)])

    async def _tell(self, channels: Iterable[str], found: list[Concern]) -> None:
        try:
            for channel in channels:
                if await asyncio.to_thread(self._tell_one, channel, found):
                    self._wake()
        except Exception as error:  # noqa: BLE001 - chat may stop no loop, whatever is wrong with the state database
            log.error("chat was not told", type=type(error).__name__)

    def _tell_one(self, channel: str, found: list[Concern]) -> bool:
        """Whether anything was queued."""
        queued = False
        threads = self._outbox.threads(channel, [each.thread for each in found])
        for concern in found:
            record = threads.get(concern.thread)
            for _ in range(_TRIES):
                moved = self._move(channel, concern, record)
                if moved is not None:
                    queued = queued or moved
                    break
                record = self._outbox.threads(channel, [concern.thread]).get(concern.thread)  # another was faster
        return queued

    def _move(self, channel: str, concern: Concern, record: ThreadRecord | None) -> bool | None:
        """Take one concern on by one look: whether a message was queued, None when the thread had moved meanwhile."""
        now = self._now()
        before = thread_of(record.state) if record is not None else Thread()
        after, told = self._stepped(channel, before, concern, now)
        if after == before:
            return False
        turn = _Turn(channel, concern.thread, before, after, now)
        if told is None:
            return None if not self._outbox.tell([turn.record(after)], []) else False
        notice = self._worded(turn, concern.notice(told))
        ready = self._undone(turn, notice, concern.cause) or self._of_group(turn, notice) or self._alone(turn, notice)
        return True if self._outbox.tell(*ready) else None

    def _stepped(self, channel: str, before: Thread, concern: Concern, now: datetime) -> tuple[Thread, Told | None]:
        if concern.corrected:
            return corrected(before, concern.corrected, now.timestamp())
        if concern.sight is None:
            return before, None
        return step(before, concern.sight, now.timestamp(), self._channels[channel].escalate * _HOUR)

    def _worded(self, turn: _Turn, notice: Notice) -> Notice:
        told, before = notice.told, turn.before
        detail = open_for(before.since, turn.now) if told is Told.ESCALATED else notice.detail
        again = bool(notice.held) and told_before(turn.after, notice.held)
        key = before.told if told is Told.RESOLVED else notice.key
        return replace(notice, base=before.told, detail=detail, again=again, key=key)

    def _alone(self, turn: _Turn, notice: Notice) -> _Ready:
        waits = self._gather.of(notice) if notice.told in (Told.OPENED, Told.CORRECTED) else 0
        return [turn.record(turn.after)], [turn.message(turn.thread, notice, turn.now.timestamp() + waits)], []

    def _undone(self, turn: _Turn, notice: Notice, cause: str) -> _Ready | None:
        """What we undid before it was told: of many targets it is one message. None where it was told, or is not it."""
        if notice.told is not Told.CORRECTED or turn.before.told:
            return None
        name = f"undone {cause}"
        found = self._outbox.threads(turn.channel, [name]).get(name)
        group = thread_of(found.state) if found is not None else Thread()
        now = turn.now.timestamp()
        after = groups.undone(group, turn.thread, cause, now, self._gather.of(notice))
        record = (ThreadRecord(turn.channel, name, turn.now, state=after.as_state()), "")
        if len(after.members) <= groups.MANY:
            records, messages, _ = self._alone(turn, notice)
            return [*records, record], messages, []
        said = groups.group_notice(after, notice, Told.CORRECTED)
        message = turn.message(name, said, groups.due_at(after, now, Told.CORRECTED))
        return [turn.record(turn.after), record], [message], list(after.members)

    def _of_group(self, turn: _Turn, notice: Notice) -> _Ready | None:
        """What a group has to say instead; None where the thread speaks for itself."""
        if turn.before.group:
            return self._in_group(turn, notice)
        if notice.told is not Told.OPENED or not turn.after.cause:
            return None
        now, cause = turn.now.timestamp(), turn.after.cause
        name = groups.group_of(cause)
        found = self._outbox.threads(turn.channel, [name]).get(name)
        group = thread_of(found.state) if found is not None else Thread()
        if groups.may_join(group, cause, now):
            member = turn.record(replace(turn.after, group=name))
            return self._spoken(turn, name, group, groups.joined(group, turn.thread, now), notice, [member])
        threads = {r.thread: r for r in self._outbox.open_threads(turn.channel)}
        known = {thread: thread_of(record.state) for thread, record in threads.items()}
        alike = [*groups.alike(known, cause, now), turn.thread]
        if len(alike) <= groups.MANY:
            return None
        members = [turn.record(replace(turn.after, group=name))]
        members += [_again(threads[n], replace(known[n], group=name)) for n in alike[:-1]]
        fresh = groups.founded(alike, cause, now, self._gather.of(notice))
        ready = self._spoken(turn, name, group, fresh, notice, members)
        return ready[0], ready[1], alike

    def _in_group(self, turn: _Turn, notice: Notice) -> _Ready | None:
        """A member that changed leaves its group, quietly when it is over for it; else the group speaks for it."""
        now, name = turn.now.timestamp(), turn.before.group
        found = self._outbox.threads(turn.channel, [name]).get(name)
        group = thread_of(found.state) if found is not None else Thread()
        if not group.told:
            return None
        if notice.told is Told.ESCALATED and notice.held == turn.before.told:
            mine = [turn.record(replace(turn.after, group=name))]
            if group.escalated:
                return mine, [], []
            return self._spoken(turn, name, group, replace(group, escalated=True), notice, mine, Told.ESCALATED)
        after = groups.left(group, turn.thread, now)
        ready = self._spoken(turn, name, group, after, notice, [turn.record(replace(turn.after, group=""))])
        if not notice.held:
            return ready
        own = turn.message(turn.thread, replace(notice, base="", told=Told.OPENED), now)
        return ready[0], [*ready[1], own], []

    def _spoken(  # noqa: PLR0913, PLR0917
        self,
        turn: _Turn,
        name: str,
        group: Thread,
        after: Thread,
        notice: Notice,
        members: list[tuple[ThreadRecord, str]],
        told: Told | None = None,
    ) -> _Ready:
        now = turn.now.timestamp()
        told = told or (Told.RESOLVED if not after.told else Told.CHANGED if group.told else Told.OPENED)
        said = groups.group_notice(after, notice, told)
        said = replace(said, base=_held(group))
        record = ThreadRecord(
            turn.channel, name, turn.now, key=_held(after), open=bool(after.told), state=after.as_state()
        )
        return [(record, _held(group)), *members], [turn.message(name, said, groups.due_at(after, now, told))], []


_Ready = tuple[list[tuple[ThreadRecord, str]], list[Message], list[str]]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One concern of one channel, from one look to the next."""

    channel: str
    thread: str
    before: Thread
    after: Thread
    now: datetime

    def record(self, thread: Thread) -> tuple[ThreadRecord, str]:
        """The row as it shall be, and the key it must have had."""
        state = thread.as_state()
        found = ThreadRecord(self.channel, self.thread, self.now, key=thread.told, open=bool(thread.told), state=state)
        return found, self.before.told

    def message(self, thread: str, notice: Notice, due: float) -> Message:
        at = datetime.fromtimestamp(due, UTC)
        return Message(self.channel, notice.key, thread, notice.as_body(), self.now, at)


def _again(record: ThreadRecord, thread: Thread) -> tuple[ThreadRecord, str]:
    return replace(record, state=thread.as_state()), record.key


def _held(group: Thread) -> str:
    return f"group:{group.cause}:{','.join(m.partition(' ')[2] for m in group.members)}" if group.told else ""


def routed(
    routes: Iterable[Notification], labels: Mapping[str, str], everything: Iterable[str], known: Collection[str]
) -> list[str]:
    """The channels that hear of a target with these labels, each once."""
    found = [*everything]
    found += [r.channel for r in routes if all(labels.get(name) == value for name, value in r.labels.items())]
    return _known(found, known)


def _known(names: Iterable[str], known: Collection[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name in known]
