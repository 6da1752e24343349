"""What the reconciler knows, as API and command line show it: one model a thing, its OpenAPI schema included."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pgvillage.core.history import Approval, AuditEntry, DriftRecord, Event, PlanRecord, RunRecord
from pgvillage.core.status import Health, Ready, Suspension, Sync, TargetStatus

Count = Annotated[int, Field(ge=0)]
Moment = AwareDatetime
Next = Annotated[str | None, Field(description="`cursor` of the next page; null on the last.")]


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class SuspensionAnswer(Answer):
    """Nothing is applied while it lasts."""

    by: str
    reason: str
    since: Moment
    until: Moment | None = Field(description="Null: until somebody resumes.")


class TargetAnswer(Answer):
    """One target as it stands. `sync` is Unknown where the last look was too long ago."""

    name: str
    labels: dict[str, str]
    ready: Ready
    sync: Sync
    health: Health
    fresh: bool = Field(description="Whether it was observed within three intervals.")
    reasons: list[str] = Field(description="Why it is not Ready, Synced or Healthy.")
    observed_at: Moment | None
    fresh_until: Moment | None
    revision: str
    digest: str = Field(description="What an approval approves.")
    changes: Count
    drift: Count
    held: Count
    pending: Count = Field(description="Merged and not applied.")
    drift_since: Moment | None
    blocked: list[str] = Field(description="Rules of closed gates.")
    suspension: SuspensionAnswer | None
    failures: Count
    error: str
    next_look: Moment | None
    replica: str

    @classmethod
    def of(cls, status: TargetStatus, now: datetime) -> TargetAnswer:
        values = {name: getattr(status, name) for name in cls.model_fields if hasattr(status, name)}
        return cls(
            **{
                **values,
                "name": status.target,
                "labels": dict(status.labels),
                "fresh": status.fresh(now),
                "sync": status.sync_at(now),
                "suspension": _suspension(status.suspension) if status.suspended(now) else None,
            }
        )


def _suspension(found: Suspension | None) -> SuspensionAnswer | None:
    return SuspensionAnswer.model_validate(found) if found is not None else None


class PlanSummary(Answer):
    """A plan without its content; `made_at` is when this digest was first seen."""

    target: str
    digest: str
    revision: str
    subject: str
    made_at: Moment


class PlanAnswer(PlanSummary):
    """A plan as `pgvillage plan -o json` prints it, of one target."""

    current: bool = Field(description="Whether the target stands at this digest now.")
    document: dict[str, Any]

    @classmethod
    def of(cls, record: PlanRecord, *, current: bool) -> PlanAnswer:
        values = {name: getattr(record, name) for name in PlanSummary.model_fields}
        return cls(**values, current=current, document=dict(record.document))


class RunSummary(Answer):
    """One apply on one target; `outcome` is empty while it is under way."""

    id: str
    target: str
    digest: str
    revision: str
    started_at: Moment
    ended_at: Moment | None
    replica: str
    outcome: str
    done: Count
    left: Count
    error: str
    approved_by: str

    @classmethod
    def of(cls, record: RunRecord) -> RunSummary:
        return cls(**{name: getattr(record, name) for name in RunSummary.model_fields})


class RunAnswer(RunSummary):
    """One apply with what it did, as `pgvillage apply -o json` prints it; empty while it is under way."""

    document: dict[str, Any]

    @classmethod
    def of(cls, record: RunRecord) -> RunAnswer:
        values = {name: getattr(record, name) for name in RunSummary.model_fields}
        return cls(**values, document=dict(record.document))


class DriftAnswer(Answer):
    """One change by hand; `ended` is empty while it is open."""

    id: int
    target: str
    address: str
    risk: str
    first_seen: Moment
    last_seen: Moment
    ended_at: Moment | None
    ended: str
    owner: str
    document: dict[str, Any] = Field(description="The change as a plan has it.")

    @classmethod
    def of(cls, record: DriftRecord) -> DriftAnswer:
        values = {name: getattr(record, name) for name in cls.model_fields}
        return cls(**{**values, "document": dict(record.document)})


class EventAnswer(Answer):
    """A transition; `id` grows."""

    id: int
    at: Moment
    target: str
    reason: str
    message: str
    severity: str
    revision: str

    @classmethod
    def of(cls, record: Event) -> EventAnswer:
        return cls.model_validate(record)


class AuditAnswer(Answer):
    """Who did what."""

    id: int
    at: Moment
    who: str
    action: str
    target: str
    detail: str
    address: str = Field(description="Where the request came from.")

    @classmethod
    def of(cls, record: AuditEntry) -> AuditAnswer:
        return cls.model_validate(record)


class ApprovalAnswer(Answer):
    target: str
    digest: str
    by: str
    at: Moment
    until: Moment
    comment: str

    @classmethod
    def of(cls, record: Approval) -> ApprovalAnswer:
        return cls.model_validate(record)


class Targets(Answer):
    targets: list[TargetAnswer]
    next: Next


class Plans(Answer):
    plans: list[PlanSummary]
    next: Next


class Runs(Answer):
    runs: list[RunSummary]
    next: Next


class Drifts(Answer):
    drifts: list[DriftAnswer]
    next: Next


class Audit(Answer):
    audit: list[AuditAnswer]
    next: Next


class Events(Answer):
    """The oldest first; ask again with `after` = `last`."""

    events: list[EventAnswer]
    last: Count


class Asked(Answer):
    """The loops were told; what comes of it shows as events and runs."""

    target: str
    verb: str


class LoopAnswer(Answer):
    name: str
    moves: bool
    late: float = Field(description="Seconds behind its time.")


class DatabaseAnswer(Answer):
    """The state database; nothing of where it is."""

    kind: str
    version: str
    faults: Count = Field(description="Failures since the start.")
    last_fault: Moment | None


class StatusAnswer(Answer):
    """The reconciler itself."""

    version: str
    replica: str
    started_at: Moment
    loops: list[LoopAnswer]
    database: DatabaseAnswer


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class SuspendRequest(Answer):
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    until: Moment | None = Field(None, description="None: until somebody resumes.")


class ApproveRequest(Answer):
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(description="Of the target's newest plan.")
    comment: Annotated[str, Field(max_length=500)] = ""


class NothingMore(Answer):
    """An empty object, or no body."""


def as_document(answer: Answer) -> Mapping[str, Any]:
    """In JSON's own types."""
    return answer.model_dump(mode="json")
