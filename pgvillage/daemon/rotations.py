"""Rotations that reach over several targets: promoted by what the newest look at each of them showed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

from pgvillage.core.plan import TargetPlan
from pgvillage.core.run import Run, TargetRun
from pgvillage.estate.loader import Manifests
from pgvillage.usecases.rotation import promote_logins
from pgvillage.usecases.world import World


class RecentRuns:
    """Of targets with rotations alone, and of each only its outcome and logins; secrets in it are in memory alone."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, TargetRun]] = {}

    def keep(self, targets: Collection[str]) -> None:
        self._found = {name: entry for name, entry in self._found.items() if name in targets}

    async def promoted(self, world: World, manifests: Manifests, run: TargetRun, oldest: float) -> TargetRun:
        """`run` with what promotion has to say about it; runs that are older than `oldest` seconds prove nothing."""
        name, now = str(run.target), asyncio.get_running_loop().time()
        if not run.logins.in_use:
            self._found.pop(name, None)
            return run
        small = replace(run, plan=TargetPlan(run.target, run.plan.status), done=(), left=(), notes=())
        self._found[name] = (now, small)
        others = [each for at, each in self._found.values() if each is not small and now - at < oldest]
        done = await promote_logins(world, manifests, Run("", (run, *others)))
        return next((each for each in done.targets if each.target == run.target), run)
