"""What keeps one target from being written to: its ledger's word, and the state's where there is no ledger to read."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from pgvillage.core.errors import PgVillageError
from pgvillage.core.history import Request
from pgvillage.core.plan import TargetId
from pgvillage.core.status import Suspension
from pgvillage.daemon.shared import Shared
from pgvillage.usecases.observe import Observation
from pgvillage.usecases.plan import Planned
from pgvillage.usecases.suspend import set_suspension

log = structlog.get_logger("pgvillage.target")


class Suspensions:
    """What the API or the dashboard noted in the state goes into the ledger at the next look, and holds from at once.

    A word of the state that is new since the look before is somebody's, and is passed on; otherwise the ledger wins, as
    commands at a terminal write there alone. A daemon that starts passes on what its state holds: between a request and
    the ledger it may have been killed, and the safe side is to stand still.
    """

    def __init__(self, target: TargetId, shared: Shared) -> None:
        self._target, self._name, self._shared = target, str(target), shared
        self._known: Suspension | None = None  # the state's word at the look before
        self._to_write = False

    async def found(self, planned: Planned, requests: Iterable[Request]) -> Suspension | None:
        """What is in force now, after it was written where it belongs."""
        memory = self._shared.memory
        noted = await memory.suspension(self._name)
        resumed = any(request.verb == "resume" for request in requests) and noted is None
        self._to_write = self._to_write or noted != self._known or resumed
        self._known = noted
        seen = planned.observations.get(self._target)
        if seen is None:
            return noted
        kept = seen.context.snapshot.ledger.suspension
        if self._to_write:
            self._to_write = not await self._write(seen, noted)
            return noted or (kept if self._to_write else None)
        if not _readable(seen):
            return noted
        self._known = kept
        await memory.sync_suspension(self._name, kept)
        return kept

    async def _write(self, seen: Observation, noted: Suspension | None) -> bool:
        """False where it has to be tried again; the state's word holds meanwhile."""
        if seen.context.snapshot.ledger.suspension == noted:
            return True
        fence, good = self._shared.shares.fence(self._name), self._shared.feed.good
        if fence is None or good is None:
            return False
        try:
            done = await set_suspension(self._shared.world, self._target, noted, fence, good.manifests)
        except (PgVillageError, TimeoutError) as error:
            log.warning("not noted in the target's ledger", error=str(error), suspended=noted is not None)
            return False
        if done.problem:
            log.warning("the target can't hold it: the state does", problem=done.problem)
        log.info(
            "suspended" if noted else "resumed", by=noted.by if noted else "", reason=noted.reason if noted else ""
        )
        return True


def _readable(seen: Observation) -> bool:
    ledger, can = seen.context.snapshot.ledger, seen.reading.capabilities
    return ledger.usable or ledger.suspension is not None or (can is not None and can.reads_ledger)
