"""Many targets, one cause, one message: which threads a group speaks for, and what it says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pgvillage.core.notice import Notice, Told
from pgvillage.daemon.chat_thread import Thread

MANY = 5  # more than so many of one cause make a group
PAUSE = 300.0  # seconds between two messages of one group
_MINUTE = 60.0  # what is lost within it was lost by one cause
_SETTLE = 30.0
_NAMES = 30


def group_of(cause: str) -> str:
    return f"group {cause}"


def alike(threads: Mapping[str, Thread], cause: str, now: float) -> list[str]:
    """Names of open threads of this cause that speak for themselves; what can't be reached, of the last minute only."""
    return [
        name
        for name, each in threads.items()
        if each.told and each.cause == cause and not each.group and not each.members and _near(each, cause, now)
    ]


def may_join(group: Thread, cause: str, now: float) -> bool:
    return bool(group.told) and (cause != "unreachable" or now - group.spoke <= PAUSE)


def _near(thread: Thread, cause: str, now: float) -> bool:
    return cause != "unreachable" or now - thread.since <= _MINUTE


def undone(group: Thread, name: str, cause: str, now: float, gather: float) -> Thread:
    """Threads whose drift of one cause we undid, one shortly after the other, before it was told."""
    if now - group.since > 2 * PAUSE:
        return Thread(since=now, spoke=now + gather, cause=cause, members=(name,))
    return replace(joined(group, name, now), since=now)


def founded(names: Iterable[str], cause: str, now: float, gather: float) -> Thread:
    """The group of these threads; its first word waits for `gather` seconds, as more may come."""
    return Thread(told=cause, since=now, spoke=now + gather, cause=cause, members=tuple(sorted(names)))


def joined(group: Thread, name: str, now: float) -> Thread:
    return replace(group, members=tuple(sorted({*group.members, name})), spoke=_next_word(group, now))


def left(group: Thread, name: str, now: float) -> Thread:
    members = tuple(member for member in group.members if member != name)
    return replace(group, members=members, told=group.told if members else "", spoke=_next_word(group, now))


def due_at(group: Thread, now: float, told: Told) -> float:
    """When the group's message may go: news of who joined or left waits, so that it comes as one."""
    return now if told in (Told.RESOLVED, Told.ESCALATED) else group.spoke


def _next_word(group: Thread, now: float) -> float:
    """The time of the next word: the one that is waiting already, else PAUSE after the last."""
    return group.spoke if group.spoke > now else max(now + _SETTLE, group.spoke + PAUSE)


def group_notice(group: Thread, first: Notice, told: Told) -> Notice:
    """`first` is the notice of one of its members: the others' are the same but for the target."""
    targets = [member.partition(" ")[2] for member in group.members]
    what = "unreachable" if first.kind == "unreachable" else f"the same {first.kind}"
    key = f"group:{group.cause}"
    over = told is Told.RESOLVED
    return replace(
        first,
        kind="group",
        told=told,
        severity="resolved" if over else first.severity,
        key=key,
        held="" if over or told is Told.CORRECTED else f"{key}:{','.join(targets)}",
        target="",
        owner="",
        link=first.link.rpartition("/targets/")[0],
        count=len(targets),
        detail=what,
        lines=() if over else tuple(line.replace(f"{first.target} ", "", 1) for line in first.lines),
        targets=tuple(targets[:_NAMES]),
        more=max(len(targets) - _NAMES, 0),
        step="" if over else first.step,
    )
