"""What the reconciler's rounds tell chat: a round over all targets as one look at each."""

from __future__ import annotations

from collections.abc import Mapping

from pgvillage.core.plan import Plan, TargetPlan
from pgvillage.core.run import Run, TargetRun
from pgvillage.core.status import TargetStatus
from pgvillage.daemon.chat import Notifier
from pgvillage.daemon.look import Look
from pgvillage.estate.manifest.estate import Notification
from pgvillage.usecases.estate import LoadedEstate
from pgvillage.usecases.plan import Planned


class Notices:
    def __init__(self, notifier: Notifier) -> None:
        self._listener = notifier

    async def broken(self, revision: str, problem: str) -> None:
        await self._listener.estate_read(revision, problem)

    async def tell(self, planned: Planned, run: Run | None = None) -> None:
        """`run` is the apply that was done before, or after, this plan was made."""
        runs = {str(each.target): each for each in run.targets} if run is not None else {}
        routes = _routes(planned.estate)
        await self._listener.estate_read(planned.plan.revision)
        for target in planned.plan.targets:
            labels = planned.estate.views[target.target.cluster].cluster.metadata.labels
            await self._listener.looked(_look(planned.plan, target, labels, routes, runs.get(str(target.target))))
        await self._listener.keep([str(target.target) for target in planned.plan.targets])


def _routes(estate: LoadedEstate) -> tuple[Notification, ...]:
    located = estate.manifests.estate
    return tuple(located.document.spec.notifications) if located is not None else ()


def _look(
    plan: Plan, target: TargetPlan, labels: Mapping[str, str], routes: tuple[Notification, ...], run: TargetRun | None
) -> Look:
    name = str(target.target)
    alone = Plan(plan.revision, (target,), plan.scope, plan.subject, plan.dirty)
    return Look(name, alone, TargetStatus(name, labels), labels, routes, run)
