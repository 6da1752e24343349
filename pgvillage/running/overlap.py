"""Sees to it that two runs of one Job on the same databases don't go on at once."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

from pgvillage.core.job_run import OpenRun, RunRecord, RunStatus
from pgvillage.estate.manifest.duration import duration_of
from pgvillage.running.contract import Claim
from pgvillage.running.means import Means, Order

_BETWEEN = 0.5  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Turned:
    """The run does not begin: it ends so, and why."""

    status: RunStatus
    why: str


async def take_turn(means: Means, order: Order, claim: Claim, record: RunRecord) -> RunRecord | Turned:
    """The record as it was noted when nothing stood in its way any more: RUNNING. May wait long (`queue`)."""
    while True:
        turned = _too_late(means, order, record) or await _others_first(means, order, record)
        if isinstance(turned, Turned):
            return turned
        if turned is not None:
            await asyncio.sleep(_BETWEEN)
            continue
        begun = replace(
            record, status=RunStatus.RUNNING, begun=means.now(), attempt=record.attempt + 1, not_before=None
        )
        await claim.note(begun)
        # Two that looked at the same time have seen nobody: now at least one of them sees the other, and steps back.
        if not await _going(means, order):
            return begun
        await claim.note(record)
        await asyncio.sleep(_BETWEEN * (0.5 + random.random()))  # noqa: S311 - no secret


def _too_late(means: Means, order: Order, record: RunRecord) -> Turned | None:
    deadline = order.job.spec.deadline
    if deadline is None or record.attempt > 0:
        return None
    late = means.now() - order.key.scheduled
    if late <= duration_of(deadline):
        return None
    words = f"it could not begin within {deadline} of its time"
    return Turned(RunStatus.GIVEN_UP, words)


async def _others_first(means: Means, order: Order, record: RunRecord) -> OpenRun | Turned | None:
    """None when nobody stands in the way; an OpenRun is waited for."""
    going = await _going(means, order)
    if not going:
        return None
    other, overlap = going[0], order.job.spec.overlap
    words = f"the run of {other.record.key.scheduled:%Y-%m-%d %H:%M:%S} UTC still goes on"
    if record.attempt > 0 or overlap == "queue":
        return other
    if overlap == "forbid":
        return Turned(RunStatus.SKIPPED, words)
    if other.record.key.scheduled > order.key.scheduled:
        return Turned(RunStatus.SKIPPED, f"{words}, and is a newer one")
    if not other.record.cancel:
        await means.store.ask_cancel(other.record.key.id, f"the run of {order.key.scheduled:%Y-%m-%d %H:%M:%S} UTC")
    return other


async def _going(means: Means, order: Order) -> list[OpenRun]:
    """Other runs of the Job in the same place that somebody is at."""
    mine = order.key
    return [
        run
        for run in await means.store.open([mine.cluster])
        if run.held
        and run.record.status is RunStatus.RUNNING
        and run.record.key != mine
        and _place(run) == (mine.job, mine.cluster, mine.database, mine.node)
    ]


def _place(run: OpenRun) -> tuple[str, str, str, str]:
    key = run.record.key
    return key.job, key.cluster, key.database, key.node
