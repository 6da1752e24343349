"""Asks every node of every group all the time, each by a task of its own, and keeps what was judged of the answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import structlog

from pgvillage.core.errors import PgVillageError
from pgvillage.core.node_answer import NodeAnswer
from pgvillage.daemon.faults import text
from pgvillage.routing.health import Sight
from pgvillage.routing.judge import Group, NodeState, Rules
from pgvillage.routing.lag import Positions
from pgvillage.routing.memory import Memory
from pgvillage.settings import Routing

log = structlog.get_logger("pgvillage.routing")

_JITTER = 0.1
_SHOWN = 300


class Probe(Protocol):
    async def ask(self) -> NodeAnswer: ...
    async def close(self) -> None: ...


@dataclass(eq=False)
class Watched:
    """A group with the tasks that ask its nodes. `places` are the nodes' names and where each is asked."""

    group: Group
    positions: Positions = field(default_factory=Positions)
    places: Mapping[str, object] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    wake: dict[str, asyncio.Event] = field(default_factory=dict)


class Monitor:
    """`changed` is called when what is remembered became another. Nodes that failed wait among themselves."""

    def __init__(
        self,
        settings: Routing,
        probe: Callable[[object], Probe],
        memories: Mapping[str, Memory],
        changed: Callable[[], None],
    ) -> None:
        self._settings, self._probe, self._changed = settings, probe, changed
        limits = settings.timeouts
        pauses = settings.interval * (1 + _JITTER) * settings.hysteresis.down
        self._rules = Rules(
            settings.hysteresis.down, settings.hysteresis.up, pauses + 2 * (limits.connect + limits.query)
        )
        self._memories = dict(memories)
        self._good, self._bad = asyncio.Semaphore(settings.parallel), asyncio.Semaphore(max(4, settings.parallel // 4))
        self.watched: dict[str, Watched] = {}
        self.clock = time.monotonic
        self.looks = {"ok": 0, "failed": 0}

    async def use(self, clusters: Mapping[str, Mapping[str, object]]) -> None:
        """Groups with their nodes and places. Who stays where it was is asked on as before."""
        for gone in set(self.watched) - set(clusters):
            self._memories[gone] = self.watched[gone].group.memory
            await _ended(self.watched.pop(gone).tasks.values())
        for name, places in clusters.items():
            if name not in self.watched:
                memory = self._memories.pop(name, Memory())
                self.watched[name] = Watched(Group(name, self._rules, memory))
            await self._fit(self.watched[name], places)

    async def _fit(self, watched: Watched, places: Mapping[str, object]) -> None:
        stale = [name for name in watched.tasks if places.get(name) != watched.places.get(name) or name not in places]
        await _ended([watched.tasks.pop(name) for name in stale])
        for name in stale:
            watched.group.nodes.pop(name, None)
        watched.places = places
        watched.group.use(tuple(places))
        for name, place in places.items():
            if name not in watched.tasks:
                watched.wake[name] = asyncio.Event()
                watched.tasks[name] = asyncio.create_task(self._ask_on(watched, name, self._probe(place)))

    async def close(self) -> None:
        await _ended([task for watched in self.watched.values() for task in watched.tasks.values()])

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Of every group that ever was here, those that left the estate too."""
        return {**self._memories, **{name: watched.group.memory for name, watched in self.watched.items()}}

    def forget(self, name: str) -> bool:
        """False where nothing of this group is known."""
        if name in self.watched:
            watched = self.watched[name]
            watched.group.forget()
            watched.positions.samples.clear()
            for wake in watched.wake.values():
                wake.set()
        elif self._memories.pop(name, None) is None:
            return False
        log.warning("forgotten by an operator's word", group=name)
        self._changed()
        return True

    async def _ask_on(self, watched: Watched, name: str, probe: Probe) -> None:
        """Until cancelled; no error ends it."""
        wake, interval = watched.wake[name], self._settings.interval
        try:
            while True:
                node = watched.group.nodes[name]
                async with self._bad if node.known and node.error else self._good:
                    wake.clear()
                    await self._ask(watched, node, probe)
                pause = interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter
                try:
                    await asyncio.wait_for(wake.wait(), pause)
                except TimeoutError:
                    continue
        finally:
            await probe.close()

    async def _ask(self, watched: Watched, node: NodeState, probe: Probe) -> None:
        group, asked, before = watched.group, self.clock(), watched.group.memory
        was = (node.running, node.error)
        try:
            answer = await probe.ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, this node did not answer
            why = str(error) if isinstance(error, PgVillageError) else text(error)
            group.failed(node.name, asked, self.clock(), why[:_SHOWN])
            self.looks["failed"] += 1
        else:
            group.answered(node.name, answer, asked, self.clock(), datetime.now(UTC).isoformat(timespec="seconds"))
            self.looks["ok"] += 1
            if group.memory.leader == node.name and not answer.recovering and answer.timeline == group.memory.timeline:
                watched.positions.saw(asked, answer.position)
        if (node.running, node.error) != was:
            log.info("node", group=group.name, node=node.name, up=node.running, error=node.error)
        if group.memory != before:
            self._tell(group.name, before, group.memory)
        if urgent := group.urgent():
            watched.wake[urgent].set()

    def _tell(self, name: str, before: Memory, after: Memory) -> None:
        if (before.leader, before.timeline) != (after.leader, after.timeline):
            log.info("primary", group=name, node=after.leader, timeline=after.timeline, before=before.leader)
        for node, doubt in after.doubts.items():
            if before.doubts.get(node) != doubt:
                log.error("split brain: no primary is named", group=name, node=node, why=doubt.why)
        for node in set(before.doubts) - set(after.doubts):
            log.info("no longer in doubt", group=name, node=node)
        self._changed()

    def sight(self, name: str, node_name: str) -> Sight | None:
        """None where there is no such group or node."""
        watched = self.watched.get(name)
        node = watched.group.nodes.get(node_name) if watched else None
        if watched is None or node is None:
            return None
        group, now = watched.group, self.clock()
        running = group.usable(node.name, now)
        primary, standby = group.primary(now) == node.name, running and node.name in group.standbys(now)
        sight = Sight(name, node.name, running, primary, standby, why=why_not(group, node, now))
        return _measured(sight, watched, node, now)


def _measured(sight: Sight, watched: Watched, node: NodeState, now: float) -> Sight:
    if node.answer is None:
        return sight
    sight = replace(sight, timeline=node.answer.timeline)
    if sight.primary:
        return replace(sight, lag=0, seconds=max(0.0, now - node.answered))
    leader = watched.group.nodes.get(watched.group.memory.leader)
    chosen = leader.answer.synchronous if leader is not None and leader.answer is not None else frozenset()
    return replace(
        sight,
        synchronous=node.answer.upstream_name in chosen,
        lag=watched.positions.bytes_behind(node.answer.position),
        seconds=watched.positions.seconds_behind(node.answer.position, now),
    )


def why_not(group: Group, node: NodeState, now: float) -> str:
    """What keeps a node from being named, in words that hold nothing a server said of itself."""
    if node.name in group.memory.doubts:
        return f"it said that it is a primary, but {group.memory.doubts[node.name].why}"
    if not node.known:
        return "it was not asked yet"
    if not group.usable(node.name, now):
        return "it does not answer" if node.error else "it is not up for long enough yet"
    if node.claims and group.primary(now) != node.name:
        return "there is doubt about who is the primary"
    return ""


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    found = list(tasks)
    for task in found:
        task.cancel()
    await asyncio.gather(*found, return_exceptions=True)
