"""All loops of this daemon: one a target that is ours, begun and ended as estate and shares move."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection

import structlog

from pgvillage.core.plan import TargetId
from pgvillage.daemon.faults import words
from pgvillage.daemon.look import EstateListener, EstateNews
from pgvillage.daemon.shared import Shared
from pgvillage.daemon.target_loop import TargetLoop

log = structlog.get_logger("pgvillage.loops")

_ASSIGN = 5.0  # seconds between looks at the shares, whether or not somebody says that they moved
_REQUESTS = 1.5  # seconds between looks at what people asked for
_LATE = 60.0
_SPREAD = 0.05  # seconds of the first spread for each target


class Loops:
    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._clock = asyncio.get_running_loop().time
        self._loops: dict[str, tuple[TargetLoop, asyncio.Task[None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._ending: dict[asyncio.Task[None], TargetLoop] = {}
        self._moved, self._asked = asyncio.Event(), asyncio.Event()
        self._due = {"assign": self._clock() + _LATE, "requests": self._clock() + _LATE}
        self._revision, self._fault = "", ""
        self._told: object = None
        shared.feed.tell(self._moved.set)

    @property
    def alive(self) -> bool:
        """Do all loops move? Each says when it will be back, and is."""
        due = [*self._due.values(), self._shared.feed.due, *(loop.due for loop, _ in self._loops.values())]
        return self._clock() < min(due)

    @property
    def ready(self) -> bool:
        """The estate was read at least once."""
        return self._shared.feed.good is not None

    @property
    def targets(self) -> list[str]:
        return sorted(self._loops)

    def standing(self) -> list[tuple[str, bool, float]]:
        """Of the estate's loop and of every target that is ours: does it move, and the seconds its look is late."""
        now = self._clock()
        loops = [(name, self._loops[name][0]) for name in self.targets]
        return [
            ("estate", now < self._shared.feed.due, 0.0),
            *((name, now < each.due, each.late) for name, each in loops),
        ]

    def is_writing(self, target: str) -> bool:
        """Whether an apply is under way there, also one of a target that is being given up."""
        loops = [loop for loop, _ in self._loops.values()] + list(self._ending.values())
        return any(loop.writing for loop in loops if loop.name == target)

    def wake(self, target: str) -> None:
        """Somebody asked something about the target: look at the requests at once. From the event loop's thread."""
        del target
        self._asked.set()

    def look_at_all(self, why: str) -> None:
        for loop, _ in self._loops.values():
            loop.wake(why)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; applies that are under way then have the settings' grace to end."""
        own = [asyncio.create_task(each) for each in (self._shared.feed.run(), self._assign(), self._take_requests())]
        try:
            await stop.wait()
            log.info("stopping", grace=self._shared.serve.grace)
        finally:
            for task in own:  # first, as what assigns loops begins those anew that end
                task.cancel()
            await asyncio.gather(*own, return_exceptions=True)
            await self._wind_down()

    async def _wind_down(self) -> None:
        """Cancelled, an apply rolls its transaction back, and the next start goes on from what is there."""
        writing = set(self._leaving)
        for loop, task in self._loops.values():
            loop.end()
            if loop.writing:
                writing.add(task)
            else:
                task.cancel()
        if writing:
            _, late = await asyncio.wait(writing, timeout=self._shared.serve.grace)
            if late:
                log.warning("applies did not end in time and are rolled back", count=len(late))
            for task in late:
                task.cancel()
        await asyncio.gather(*(task for _, task in self._loops.values()), *self._leaving, return_exceptions=True)

    async def _assign(self) -> None:
        """Begin and end loops, for ever."""
        while True:
            self._due["assign"] = self._clock() + _LATE
            try:
                await self._assign_once()
            except Exception as error:  # noqa: BLE001 - what is ours stays so until somebody says otherwise
                log.error("targets not assigned", **words(error))
            await _either(self._moved, self._shared.shares.changed, _ASSIGN)

    async def _assign_once(self) -> None:
        good = self._shared.feed.good
        self._shared.metrics.valid.set(int(self._shared.feed.valid))
        if good is None:
            await self._told_of_nothing()
            return
        targets = {str(target): target for target in good.targets}
        ours = await self._shared.shares.of(targets)
        changed = self._news(good.revision)
        for name in set(self._loops) - ours:
            self._end(name, "left the estate" if name not in targets else "is another replica's now")
        self._revive()
        if changed:
            self.look_at_all(changed)
        fresh = sorted(ours - set(self._loops))
        for name in fresh:
            self._begin(targets[name], len(fresh))
        await self._kept(ours, targets)

    def _news(self, revision: str) -> str:
        """Why all targets have to be looked at, "" when they have not."""
        fault = self._shared.feed.fault if not self._shared.feed.valid else ""
        before = (self._revision, self._fault)
        self._revision, self._fault = revision, fault
        if before[0] != revision:
            return "new commit"
        return "whether the estate is valid" if fault != before[1] else ""

    def _begin(self, target: TargetId, count: int) -> None:
        """First looks are spread, so that a start or a failover is no storm."""
        most = min(self._shared.serve.observe, _SPREAD * (count - 1))
        loop = TargetLoop(target, self._shared, random.uniform(0, most))  # noqa: S311 - jitter
        self._loops[loop.name] = (loop, asyncio.create_task(loop.run(), name=f"loop of {loop.name}"))

    def _end(self, name: str, why: str) -> None:
        loop, task = self._loops.pop(name)
        log.info("target given up", target=name, why=why)
        loop.end()
        if not loop.busy:
            task.cancel()
        self._leaving.add(task)
        self._ending[task] = loop
        task.add_done_callback(self._leaving.discard)
        task.add_done_callback(lambda ended: self._ending.pop(ended, None))

    def _revive(self) -> None:
        """A loop that ended by itself met a bug outside a look: said, and begun anew."""
        for name, (loop, task) in list(self._loops.items()):
            if task.done():
                error = None if task.cancelled() else task.exception()
                log.error("a loop ended", target=name, **(words(error) if error else {"error": "cancelled"}))
                del self._loops[name]
                self._begin(loop.target, 1)

    async def _kept(self, ours: Collection[str], estate: Collection[str]) -> None:
        feed, names = self._shared.feed, (frozenset(ours), frozenset(estate), self._revision, self._fault)
        if names == self._told or feed.good is None:
            return
        self._told = names
        self._shared.recent.keep(ours)
        subject = feed.good.checkout.subject
        news = EstateNews(
            self._shared.world.now(), frozenset(estate), self._revision, subject, self._fault, feed.broken
        )
        await self._tell(news, ours)

    async def _told_of_nothing(self) -> None:
        """The first commit that this daemon met can't be in force: said as of any other."""
        feed = self._shared.feed
        if not feed.invalid or self._told == feed.fault:
            return
        self._told = self._fault = feed.fault
        await self._tell(EstateNews(self._shared.world.now(), frozenset(), "", "", feed.fault, feed.broken), None)

    async def _tell(self, news: EstateNews, ours: Collection[str] | None) -> None:
        for listener in self._shared.listeners:
            try:
                if ours is not None:
                    await listener.keep(ours)
                if isinstance(listener, EstateListener):
                    await listener.estate(news)
            except Exception as error:  # noqa: BLE001 - a listener's bug stops nothing
                log.error("a listener failed", listener=type(listener).__name__, **words(error))
                self._shared.metrics.listener_failed(type(listener).__name__)

    async def _take_requests(self) -> None:
        """What people asked of our targets, for ever."""
        while True:
            self._due["requests"] = self._clock() + _LATE
            if self._loops:
                for request in await self._shared.memory.requests(list(self._loops)):
                    if request.target in self._loops:
                        log.info("asked", target=request.target, verb=request.verb, by=request.by)
                        self._loops[request.target][0].asked(request)
            await _either(self._asked, self._asked, _REQUESTS)


async def _either(one: asyncio.Event, other: asyncio.Event, seconds: float) -> None:
    """Until one of the events is set, which is then cleared, or the time is over."""
    waits = [asyncio.create_task(event.wait()) for event in {one, other}]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    one.clear()
    other.clear()
