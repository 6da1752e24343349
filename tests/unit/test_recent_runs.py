"""Rotations over clusters of several replicas: whom a replica looks at, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pgvillage.core.errors import PgVillageError
from pgvillage.core.plan import Status, TargetId, TargetPlan
from pgvillage.core.rotation import LoginsSeen
from pgvillage.core.run import Outcome, TargetRun
from pgvillage.core.secret import InUse
from pgvillage.daemon.rotations import RecentRuns
from pgvillage.estate.loader import Manifests, load_manifests
from pgvillage.usecases.world import World

NAMES = ("ours", "ours-too", "dead", "slow")
CLUSTER = """kind: Cluster
apiVersion: pgvillage/v1
metadata: {name: %s, labels: {a: b}}
spec: {connection: {hosts: [%s], credential: admin}}
---
"""
USER = """kind: User
apiVersion: pgvillage/v1
metadata: {name: app}
spec:
  clusters: {labels: {a: b}}
  auth: {method: scram, password: {secret: app}, rotate: {every: 30d, roles: [app_a, app_b]}}
"""


class Looks:
    """Counts the looks at each cluster. `both` is set once two are under way at the same time."""

    def __init__(self) -> None:
        self.at: list[str] = []
        self.both = asyncio.Event()
        self.open = 0

    async def __call__(self, target: TargetId) -> Any:
        self.at.append(target.cluster)
        self.open += 1
        if self.open > 1:
            self.both.set()
        await self.both.wait()
        self.open -= 1
        raise PgVillageError(f"{target} is down")


def _manifests(folder: Path) -> Manifests:
    (folder / "a.yaml").write_text("".join(CLUSTER % (name, name) for name in NAMES) + USER)
    return load_manifests(folder)


def _run(cluster: str, uses: Mapping[str, InUse]) -> TargetRun:
    target = TargetId(cluster)
    return TargetRun(target, Outcome.NOTHING, TargetPlan(target, Status.PLANNED), logins=LoginsSeen(in_use=uses))


async def test_others_are_looked_at_at_once_once_and_for_all_loops(tmp_path: Path) -> None:
    world = cast("World", SimpleNamespace(settings=SimpleNamespace(parallel=8, timeouts=SimpleNamespace(read=60))))
    manifests, runs, looks = _manifests(tmp_path), RecentRuns(), Looks()
    runs.keep({"ours", "ours-too"})
    uses = {"app": InUse("app_a", None, "app_b")}

    async def promoted(name: str) -> TargetRun:
        return await runs.promoted(world, manifests, _run(name, uses), 3600, looks)

    async with asyncio.timeout(20):
        first, second = await asyncio.gather(promoted("ours"), promoted("ours-too"))
    assert sorted(looks.at) == ["dead", "slow"], "not at ours, in parallel, once for both, also where it failed"
    for run in (first, second):
        assert "stays in use until every cluster has the new password" in run.notes[0]
        assert "dead (not part of this run)" in run.notes[0]
