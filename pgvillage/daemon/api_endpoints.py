"""The table of what the API offers: routes and the OpenAPI document both come from it."""

from __future__ import annotations

from dataclasses import dataclass

from pgvillage.report import state_models as models
from pgvillage.report.cluster_answer import ClusterAnswer
from pgvillage.settings.api import Scope

PREFIX = "/api/v1"
PARAMETERS = {
    "limit": ({"type": "integer", "minimum": 1, "maximum": 500, "default": 100}, "Rows on a page."),
    "cursor": ({"type": "string"}, "`next` of the page before, as it is."),
    "label": ({"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}}, "KEY=VALUE; repeatable."),
    "sync": ({"type": "string"}, "Only targets that are Synced, Drifted or Unknown."),
    "health": ({"type": "string"}, "Only targets that are Healthy, Degraded or Unknown."),
    "ready": ({"type": "string"}, "Only targets that are Ready, Reconciling or Stalled."),
    "target": ({"type": "string"}, "Only this target."),
    "digest": ({"type": "string"}, "A digest or its beginning; the plan it stands at when unset."),
    "ended": ({"type": "boolean", "default": False}, "Those that ended, too."),
    "after": ({"type": "integer", "minimum": 0}, "Only events behind this number; the newest when unset."),
    "wait": ({"type": "integer", "minimum": 0, "maximum": 30, "default": 0}, "Seconds to wait for one."),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`name` is the operation's and the function's; `scope` None: whoever is let in at all."""

    method: str
    path: str
    name: str
    summary: str
    answer: type[models.Answer] | None
    scope: Scope | None = Scope.READ
    query: tuple[str, ...] = ()
    body: type[models.Answer] | None = None


_TARGETS = ("label", "sync", "health", "ready")
_PAGE = ("limit", "cursor", "target", *_TARGETS)
_READ = (
    ("/targets", "targets", "Every target as it stands, by name.", models.Targets, _PAGE),
    ("/targets/{name}", "target", "One target as it stands.", models.TargetAnswer, ()),
    ("/targets/{name}/plan", "plan", "A target's plan.", models.PlanAnswer, ("digest",)),
    ("/clusters/{name}", "cluster", "A cluster's nodes, and what is wrong.", ClusterAnswer, ()),
    ("/plans", "plans", "Plans without their content, the newest first.", models.Plans, _PAGE),
    ("/runs", "runs", "Applies, the newest first.", models.Runs, _PAGE),
    ("/runs/{name}", "run", "One apply, with what it did.", models.RunAnswer, ()),
    ("/drifts", "drifts", "Changes by hand, the newest first.", models.Drifts, (*_PAGE, "ended")),
    ("/events", "events", "Transitions.", models.Events, ("after", "wait", "limit", "target", *_TARGETS)),
    ("/status", "status", "The reconciler itself.", models.StatusAnswer, ()),
)
_ACT = (
    ("reconcile", "Look now, and apply by policy.", models.Asked, Scope.RECONCILE, models.NothingMore),
    ("suspend", "Apply nothing until it is resumed.", models.SuspensionAnswer, Scope.SUSPEND, models.SuspendRequest),
    ("resume", "End a suspension.", models.Asked, Scope.SUSPEND, models.NothingMore),
    ("approve", "Let one plan pass its gates.", models.ApprovalAnswer, Scope.APPROVE, models.ApproveRequest),
)
ENDPOINTS = (
    *(Endpoint("GET", path, name, text, answer, query=query) for path, name, text, answer, query in _READ),
    Endpoint("GET", "/audit", "audit", "Who did what.", models.Audit, Scope.AUDIT, ("limit", "cursor")),
    *(Endpoint("POST", f"/targets/{{name}}/{a[0]}", a[0], a[1], a[2], a[3], body=a[4]) for a in _ACT),
    Endpoint("GET", "/openapi.json", "openapi", "This document.", None, None),
)
