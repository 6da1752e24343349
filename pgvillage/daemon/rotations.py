"""Rotations that reach over several targets: promoted by what the newest look at each of them showed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import replace

from pgvillage.core.errors import PgVillageError
from pgvillage.core.plan import Status, TargetId, TargetPlan
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.estate.loader import Manifests
from pgvillage.usecases.observe import Observation
from pgvillage.usecases.rotation import clusters_under_way, logins_seen, promote_logins
from pgvillage.usecases.world import World

LookAt = Callable[[TargetId], Awaitable[Observation | PgVillageError]]


class RecentRuns:
    """Of targets with rotations alone, and of each only its outcome and logins; secrets in it are in memory alone.

    Targets of other replicas are looked at while a rotation is under way: reading needs no share of the estate.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, TargetRun]] = {}
        self._of_others: dict[str, tuple[float, TargetRun]] = {}

    def keep(self, targets: Collection[str]) -> None:
        self._found = {name: entry for name, entry in self._found.items() if name in targets}
        self._of_others = {name: entry for name, entry in self._of_others.items() if name not in targets}

    async def promoted(
        self, world: World, manifests: Manifests, run: TargetRun, oldest: float, look_at: LookAt
    ) -> TargetRun:
        """`run` with what promotion has to say about it; runs that are older than `oldest` seconds prove nothing."""
        name, now = str(run.target), asyncio.get_running_loop().time()
        if not run.logins.in_use:
            self._found.pop(name, None)
            return run
        self._found[name] = (now, _small(run))
        others = {key: each for key, (at, each) in self._found.items() if key != name and now - at < oldest}
        strangers = clusters_under_way(manifests, run) - {name} - others.keys()
        others |= await self._looked_at(strangers, oldest / 3, look_at)
        done = await promote_logins(world, manifests, Run("", (run, *others.values())))
        return next((each for each in done.targets if each.target == run.target), run)

    async def _looked_at(self, clusters: Iterable[str], oldest: float, look_at: LookAt) -> dict[str, TargetRun]:
        """What these clusters show, by a look younger than `oldest` seconds; those that can be read are in it."""
        now = asyncio.get_running_loop().time()
        for cluster in clusters:
            at, _ = self._of_others.get(cluster, (None, None))
            if at is not None and now - at < oldest:
                continue
            target = TargetId(cluster)
            seen = await look_at(target)
            self._of_others.pop(cluster, None)
            if not isinstance(seen, PgVillageError):
                plan = TargetPlan(target, Status.PLANNED)
                found = TargetRun(target, Outcome.NOTHING, plan, logins=logins_seen(seen))
                self._of_others[cluster] = (now, found)
        return {cluster: self._of_others[cluster][1] for cluster in clusters if cluster in self._of_others}


def _small(run: TargetRun) -> TargetRun:
    return replace(run, plan=TargetPlan(run.target, run.plan.status), done=(), left=(), notes=())
