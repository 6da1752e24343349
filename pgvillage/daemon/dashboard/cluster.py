"""Page 2, one target: its conditions, what differs now, what happened."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pgvillage.core.errors import UsageError
from pgvillage.core.status import TargetStatus
from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.changes import change_row
from pgvillage.daemon.dashboard.conditions import judge
from pgvillage.daemon.dashboard.guard import Form
from pgvillage.daemon.dashboard.render import path_part, shown
from pgvillage.daemon.dashboard.visitors import Visitor
from pgvillage.report.cluster_answer import ClusterAnswer

_CHANGES = 100
_HISTORY = 20
_EVENTS = 50
_LASTS = {"1": 1, "4": 4, "24": 24, "168": 168}  # hours that the form offers


async def cluster(board: Board, request: Request, visitor: Visitor) -> Response:
    target = request.path_params["target"]
    status = await status_of(board, target)
    history, events = board.state.history, board.state.events
    plan, plans, runs, happened = await asyncio.gather(
        board.ask(history.plan, target, status.digest) if status.digest else _nothing(),
        board.ask(history.plans, target, _HISTORY),
        board.ask(history.runs, target, _HISTORY),
        board.ask(events.newest, target, _EVENTS),
    )
    return await shown(
        board, request, visitor, "cluster.html",
        status=status, verdict=judge(status, board.now()), plan=plan, plans=plans, runs=runs, events=happened,
        changes=_changes(plan.document if plan else {}), most=_CHANGES, nodes=_nodes(status),
    )  # fmt: skip


async def _nothing() -> None:
    return None


async def status_of(board: Board, target: str) -> TargetStatus:
    """Raises HTTPException when there is no such target."""
    found: TargetStatus | None = await board.ask(board.state.statuses.get, target)
    if found is None:
        raise HTTPException(404, f"There is no target {target[:100]!r}; it may have left the estate.")
    return found


def _nodes(status: TargetStatus) -> ClusterAnswer | None:
    return ClusterAnswer.model_validate(status.nodes) if status.nodes is not None else None


def _changes(document: object) -> list[object]:
    targets = document.get("targets", []) if isinstance(document, dict) else []
    return [change_row(each) for target in targets for each in target.get("changes", ())[: _CHANGES + 1]]


async def reconcile(board: Board, request: Request, visitor: Visitor, form: Form) -> Response:
    del request
    target = form.get("target", "")
    await board.ask(board.actions.reconcile, target, visitor.who)
    return back(target, "reconcile")


async def suspend(board: Board, request: Request, visitor: Visitor, form: Form) -> Response:
    del request
    target, hours = form.get("target", ""), form.get("hours", "")
    if hours and hours not in _LASTS:
        raise UsageError("a suspension lasts 1, 4, 24 or 168 hours, or until somebody resumes")
    until = board.now() + timedelta(hours=_LASTS[hours]) if hours else None
    await board.ask(board.actions.suspend, target, form.get("reason", ""), until, visitor.who)
    return back(target, "suspend")


async def resume(board: Board, request: Request, visitor: Visitor, form: Form) -> Response:
    del request
    target = form.get("target", "")
    await board.ask(board.actions.resume, target, visitor.who)
    return back(target, "resume")


def back(target: str, done: str) -> Response:
    return RedirectResponse(f"/clusters/{path_part(target)}?done={done}", 303)
