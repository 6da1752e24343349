"""Summaries that pages show: counted by the database, without reading documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine, func, select

from pgvillage.clients.state.tables import delivery, drift, outbox, plan, run


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit: how many targets got a plan from it, and how the applies of it ended (`''` is under way)."""

    revision: str
    subject: str
    first: datetime
    last: datetime
    planned: int
    outcomes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one commit on one target; `outcome` None: no run yet."""

    target: str
    digest: str
    at: datetime
    outcome: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Undelivered:
    channel: str
    count: int
    oldest: datetime
    tries: int
    error: str


class Views:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def revisions(self, limit: int = 50) -> list[Revision]:
        """The newest first."""
        newest = func.max(plan.c.made_at)
        found = select(
            plan.c.revision, func.max(plan.c.subject), func.min(plan.c.made_at), newest,
            func.count(plan.c.target.distinct()),
        ).where(plan.c.revision != "").group_by(plan.c.revision).order_by(newest.desc()).limit(limit)  # fmt: skip
        with self._engine.connect() as connection:
            rows = [Revision(*row) for row in connection.execute(found)]
        outcomes = self._outcomes([row.revision for row in rows])
        return [Revision(r.revision, r.subject, r.first, r.last, r.planned, outcomes[r.revision]) for r in rows]

    def _outcomes(self, revisions: Collection[str]) -> dict[str, dict[str, int]]:
        found = select(run.c.revision, run.c.outcome, func.count(run.c.target.distinct()))
        found = found.where(run.c.revision.in_(list(revisions))).group_by(run.c.revision, run.c.outcome)
        result: dict[str, dict[str, int]] = defaultdict(dict)
        with self._engine.connect() as connection:
            for revision, outcome, count in connection.execute(found):
                result[revision][outcome] = count
        return result

    def steps(self, revision: str, limit: int = 2_000) -> list[Step]:
        """Of one commit, by target: the newest plan, and the newest run of it."""
        plans = select(plan.c.target, plan.c.digest, plan.c.made_at).where(plan.c.revision == revision)
        runs = select(run.c.target, run.c.outcome, run.c.error).where(run.c.revision == revision)
        with self._engine.connect() as connection:
            newest = {r.target: r for r in connection.execute(plans.order_by(plan.c.made_at).limit(limit))}
            ran = {r.target: r for r in connection.execute(runs.order_by(run.c.started_at).limit(limit))}
        return [
            Step(name, p.digest, p.made_at, *((r.outcome, r.error) if (r := ran.get(name)) else ()))
            for name, p in sorted(newest.items())
        ]

    def open_drifts(self) -> int:
        with self._engine.connect() as connection:
            return connection.execute(
                select(func.count()).select_from(drift).where(drift.c.ended_at.is_(None))
            ).scalar_one()

    def undelivered(self) -> list[Undelivered]:
        """By channel, with the newest error; not what was never tried and is not due."""
        waiting = outbox.c.delivered_at.is_(None)
        counted = select(outbox.c.channel, func.count(), func.min(outbox.c.made_at), func.max(outbox.c.tries))
        counted = counted.where(waiting).group_by(outbox.c.channel).order_by(outbox.c.channel)
        said = select(outbox.c.channel, outbox.c.error).where(waiting, outbox.c.error != "").order_by(outbox.c.id)
        with self._engine.connect() as connection:
            errors = {row.channel: row.error for row in connection.execute(said.limit(1_000))}
            rows = connection.execute(counted).all()
        return [Undelivered(name, n, oldest, tries, errors.get(name, "")) for name, n, oldest, tries in rows]

    def hooks(self) -> list[tuple[str, int, datetime]]:
        """Deliveries taken of each webhook, and the last one's time."""
        found = select(delivery.c.hook, func.count(), func.max(delivery.c.at)).group_by(delivery.c.hook)
        with self._engine.connect() as connection:
            return [(name, count, at) for name, count, at in connection.execute(found.order_by(delivery.c.hook))]
