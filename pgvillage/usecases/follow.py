"""Following a primary that was lost in mid-apply: wait for the verified new one, and tell what is there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from pgvillage.core.change import Change
from pgvillage.core.errors import ReadError
from pgvillage.core.plan import System, TargetId, TargetPlan
from pgvillage.estate.view import ClusterView
from pgvillage.usecases.observe import Observation, observe
from pgvillage.usecases.world import World

MOST_TIMES = 3  # an apply plans anew; a cluster whose primary moves more often has other worries
_PAUSE = 1.0
_SHOWN = 3


def may_move(target: TargetId, view: ClusterView) -> bool:
    """Whether there is another node that could be the primary."""
    spec = view.cluster.spec
    hosts = spec.connection.hosts if spec.connection else ()
    return target.system is System.POSTGRES and (spec.ha.engine != "none" or len(hosts) > 1)


async def new_primary(world: World, target: TargetId, view: ClusterView) -> Observation:
    """A fresh look, as soon as there is a primary to look at; a refusal of a wrong one is not the last word either.

    Raises ReadError with the last reason when there is none within `timeouts.failover`.
    """
    clock = asyncio.get_running_loop().time
    seconds = world.settings.timeouts.failover
    deadline, why = clock() + seconds, ""
    while True:
        try:
            return await observe(world, target, view)
        except ReadError as error:
            why = str(error)
        except TimeoutError:
            why = f"{target}: reading took longer than timeouts.read allows"
        if clock() >= deadline:
            raise ReadError(str(target), f"no primary that could be verified within {seconds:g} s; the last try: {why}")
        await asyncio.sleep(_PAUSE * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret


def compared(done: Sequence[Change], uncertain: Sequence[Change], fresh: TargetPlan) -> tuple[list[Change], list[str]]:
    """What was done by a fresh look at the new primary, and what to say of it. `uncertain` are the changes whose
    COMMIT, or whose statement outside of a transaction, was sent and not answered.
    """
    differ = {change.address for change in fresh.changes}
    there = [change for change in uncertain if change.address not in differ]
    missing = [change for change in uncertain if change.address in differ]
    lost = [change for change in done if change.address in differ]
    notes = [
        f"{text}: {_named(changes)}"
        for text, changes in (
            ("the answer to these was lost, and a fresh look shows that they were done", there),
            ("the answer to these was lost, and a fresh look shows that they were not done", missing),
            ("the old primary had confirmed these and the new one does not have them (replication was behind)", lost),
        )
        if changes
    ]
    return [*(change for change in done if change.address not in differ), *there], notes


def unknown(uncertain: Sequence[Change]) -> list[str]:
    """What to say where nothing could be looked at any more."""
    if not uncertain:
        return []
    return [
        f"whether these were done is not known, as the answer was lost and no look was possible: {_named(uncertain)}"
    ]


def _named(changes: Sequence[Change]) -> str:
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return ", ".join(str(change.address) for change in changes[:_SHOWN]) + more
