"""What all loops of this daemon share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from pgvillage.core.plan import TargetId
from pgvillage.core.run import TargetRun
from pgvillage.daemon.estate_feed import EstateFeed
from pgvillage.daemon.faults import words
from pgvillage.daemon.look import Listener, Look
from pgvillage.daemon.lookups import SharedLookups
from pgvillage.daemon.memory import Memory
from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.rotations import RecentRuns
from pgvillage.daemon.runs import Runs
from pgvillage.daemon.shares import Shares
from pgvillage.daemon.turns import Turns
from pgvillage.settings import Serve
from pgvillage.usecases.estate import estate_of
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.world import World

log = structlog.get_logger("pgvillage.loops")


@dataclass
class Shared:
    """`world`, `turns` and `lookups` are others after the settings were read again."""

    world: World
    feed: EstateFeed
    shares: Shares
    memory: Memory
    metrics: Metrics
    runs: Runs
    replica: str
    turns: Turns
    lookups: SharedLookups
    cheap: Turns
    listeners: Sequence[Listener] = ()
    recent: RecentRuns = field(default_factory=RecentRuns)

    @property
    def serve(self) -> Serve:
        return self.world.settings.serve

    async def tell(self, look: Look) -> None:
        """Every listener in turn. One that raises is a bug of its own, and stops nothing."""
        for listener in self.listeners:
            try:
                await listener.looked(look)
            except Exception as error:  # noqa: BLE001 - the loops go on
                log.error("a listener failed", listener=type(listener).__name__, **words(error))
                self.metrics.listener_failed(type(listener).__name__)

    async def promoted(self, run: TargetRun) -> TargetRun:
        good = self.feed.good
        if good is None:
            return run

        async def look_at(target: TargetId) -> Observation:
            estate = await estate_of(self.lookups.ask, good.checkout, good.manifests, (target,))
            return await observe(self.world, target, estate.views[target.cluster])

        return await self.recent.promoted(self.world, good.manifests, run, 3 * self.serve.observe, look_at)
