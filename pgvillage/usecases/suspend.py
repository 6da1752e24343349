"""Suspending: a target that nothing is applied to for a while, by a note in the target itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from pgvillage.core.errors import PgVillageError, UsageError
from pgvillage.core.fence import Fence
from pgvillage.core.lookup import Lookups
from pgvillage.core.plan import TargetId
from pgvillage.core.status import Suspension
from pgvillage.estate.loader import Manifests
from pgvillage.estate.view import ClusterView, view_cluster
from pgvillage.usecases.estate import Scope, select_targets
from pgvillage.usecases.reach import each_reached
from pgvillage.usecases.world import World

_MOST = 500  # characters of a reason
_MOST_BY = 200


@dataclass(frozen=True, slots=True)
class Noted:
    """What came of it. `problem` says why the target can't hold the note: whoever asked keeps it, or does without.

    `before` is the suspension that it takes the place of, or ends.
    """

    target: TargetId
    suspension: Suspension | None
    before: Suspension | None = None
    problem: str = ""


def new_suspension(by: str, reason: str, since: datetime, until: datetime | None = None) -> Suspension:
    """Raises UsageError for what makes no sense. Line breaks in the reason become spaces."""
    reason, by = " ".join(reason.split()), " ".join(by.split())
    if not reason or len(reason) > _MOST:
        found = f"this one has {len(reason):,}" if reason else "there is none"
        raise UsageError(f"a suspension needs a reason, of at most {_MOST} characters: {found}")
    if not by or len(by) > _MOST_BY:
        raise UsageError(f"a suspension needs to say by whom it is, in at most {_MOST_BY} characters")
    for char in reason + by:
        if not char.isprintable():
            raise UsageError(f"the words of a suspension hold the character U+{ord(char):04X}, which can't be shown")
    if until is not None and until <= since:
        raise UsageError(f"the suspension would end before it begins: {until:%Y-%m-%d %H:%M} UTC is past")
    return Suspension(by, reason, since, until)


async def set_suspension(
    world: World,
    target: TargetId,
    suspension: Suspension | None,
    fence: Fence | None = None,
    manifests: Manifests | None = None,
) -> Noted:
    """Write it to the target's ledger, which is made where there is none, as its only writer; None ends one.

    `manifests` are read where the caller has none. Raises PgVillageError where the target can't be reached or somebody
    else writes.
    """
    if manifests is None:
        manifests = world.manifests(await asyncio.to_thread(world.checkout, None))
    view = _only_itself(manifests, target)
    reading = await world.read(target, view, lambda _: ())
    before = reading.ledger.suspension
    if suspension is None and before is None:
        return Noted(target, None)
    async with world.writer(target, view, reading, fence) as writer:
        if writer.ledger_problem:
            return Noted(target, suspension, before, writer.ledger_problem)
        await writer.suspend(suspension)
    return Noted(target, suspension, before)


def _only_itself(manifests: Manifests, target: TargetId) -> ClusterView:
    """No directory is asked and no database of it is entered: it must work when these are what is wrong."""
    return replace(view_cluster(manifests, target.cluster, Lookups()), databases=())


async def set_suspensions(
    world: World, scope: Scope, suspension: Suspension | None
) -> list[tuple[TargetId, Noted | PgVillageError]]:
    """Of several targets in parallel; one that is dead fails alone. Raises what makes it impossible as a whole."""
    checkout = await asyncio.to_thread(world.checkout, scope.revision)
    manifests = world.manifests(checkout)
    targets = select_targets(manifests, scope)
    found = await each_reached(world, targets, lambda t: set_suspension(world, t, suspension, manifests=manifests))
    return list(zip(targets, found, strict=True))
