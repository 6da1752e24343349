"""Rotations that reach over several targets: promoted by what the newest look at each of them showed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from pgvillage.core.errors import PgVillageError
from pgvillage.core.plan import Status, TargetId, TargetPlan
from pgvillage.core.run import Outcome, Run, TargetRun
from pgvillage.estate.loader import Manifests
from pgvillage.usecases.observe import Observation
from pgvillage.usecases.reach import each_reached
from pgvillage.usecases.rotation import clusters_under_way, logins_seen, promote_logins
from pgvillage.usecases.world import World

LookAt = Callable[[TargetId], Awaitable[Observation]]


class RecentRuns:
    """Of targets with rotations alone, and of each only its outcome and logins; secrets in it are in memory alone.

    Targets of other replicas are looked at while a rotation is under way: reading needs no share of the estate.
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, TargetRun]] = {}
        self._ours: frozenset[str] = frozenset()
        self._of_others: dict[str, tuple[float, TargetRun | None]] = {}
        self._looking = asyncio.Lock()

    def keep(self, targets: Collection[str]) -> None:
        """These targets are ours from now on; the others are other replicas'."""
        self._ours = frozenset(targets)
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
        ours = [each for key, (at, each) in self._found.items() if key != name and now - at < oldest]
        strangers = clusters_under_way(manifests, run) - self._ours - {name}
        theirs = await self._looked_at(world, strangers, oldest / 3, look_at)
        done = await promote_logins(world, manifests, Run("", (run, *ours, *theirs)))
        return next((each for each in done.targets if each.target == run.target), run)

    async def _looked_at(
        self, world: World, clusters: Collection[str], oldest: float, look_at: LookAt
    ) -> list[TargetRun]:
        """What these clusters show, by a look younger than `oldest` seconds; those that could not be read are left out.

        All loops with the same rotation ask this at about the same time: the first one looks for all of them.
        """
        async with self._looking:
            now = asyncio.get_running_loop().time()
            due = [TargetId(name) for name in sorted(clusters) if not self._is_young(name, now - oldest)]
            for target, seen in zip(due, await each_reached(world, due, look_at), strict=True):
                self._of_others[target.cluster] = (now, _shown(target, seen))
            runs = [self._of_others[name][1] for name in clusters]
        return [run for run in runs if run is not None]

    def _is_young(self, cluster: str, since: float) -> bool:
        return cluster in self._of_others and self._of_others[cluster][0] > since


def _shown(target: TargetId, seen: Observation | PgVillageError) -> TargetRun | None:
    if isinstance(seen, PgVillageError):
        return None
    return TargetRun(target, Outcome.NOTHING, TargetPlan(target, Status.PLANNED), logins=logins_seen(seen))


def _small(run: TargetRun) -> TargetRun:
    return replace(run, plan=TargetPlan(run.target, run.plan.status), done=(), left=(), notes=())
