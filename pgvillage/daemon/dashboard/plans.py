"""Pages 4 and 5: one plan with its gates, approval and runs; and what became of each commit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.changes import change_row, steps_of
from pgvillage.daemon.dashboard.guard import Form
from pgvillage.daemon.dashboard.render import path_part, shown
from pgvillage.daemon.dashboard.visitors import Visitor
from pgvillage.report.words import approval

_CHANGES = 300
_DIGEST = re.compile(r"[0-9a-f]{12,64}\Z")
_REVISION = re.compile(r"[0-9a-f]{7,64}(\+[a-z]+)?\Z")


async def plan(board: Board, request: Request, visitor: Visitor) -> Response:
    target, digest = request.path_params["target"], request.path_params["digest"]
    found = await board.ask(board.state.history.plan, target, digest) if _DIGEST.match(digest) else None
    if found is None:
        raise HTTPException(404, "There is no such plan: it may be older than what is kept.")
    status, runs, approvals, events = await asyncio.gather(
        board.ask(board.state.statuses.get, target),
        board.ask(board.state.history.runs, target, 100),
        board.ask(board.state.decisions.approvals, target, board.now()),
        board.ask(board.state.events.newest, target, 60),
    )
    runs = [run for run in runs if run.digest == found.digest]
    mine: Mapping[str, Any] = next(iter(found.document.get("targets") or ()), {})
    changes = mine.get("changes") or []
    began = min((run.started_at for run in runs), default=None)
    return await shown(
        board, request, visitor, "plan.html",
        plan=found, status=status, newest=status is not None and status.digest == found.digest, runs=runs,
        approvals=[each for each in approvals if found.digest.startswith(each.digest[:12])],
        gates=found.document.get("gates") or [], diagnostics=found.document.get("diagnostics") or [],
        unread=mine.get("unread") or [],
        waits=any(gate.get("approvable") and not gate.get("open") for gate in found.document.get("gates") or ()),
        changes=[change_row(each) for each in changes[:_CHANGES]], more=max(0, len(changes) - _CHANGES),
        steps=steps_of(mine), more_steps=max(0, len(mine.get("steps") or ()) - 500),
        log=[event for event in reversed(events) if began is not None and event.at >= began],
        approve_with=approval(target, found.digest),
    )  # fmt: skip


async def approve(board: Board, request: Request, visitor: Visitor, form: Form) -> Response:
    del request
    target, digest = form.get("target", ""), form.get("digest", "")
    await board.ask(board.actions.approve, target, digest, form.get("comment", "").strip(), visitor.who)
    return RedirectResponse(f"/plans/{path_part(digest)}/{path_part(target)}?done=approve", 303)


async def revisions(board: Board, request: Request, visitor: Visitor) -> Response:
    """The newest commits; how many targets got a plan of it, have it applied, wait, or failed."""
    found, statuses = await asyncio.gather(
        board.ask(board.state.views.revisions), board.ask(board.state.statuses.all)
    )  # fmt: skip
    pending = {r.revision: sum(s.pending > 0 and s.revision == r.revision for s in statuses) for r in found}
    at = {r.revision: sum(s.revision == r.revision for s in statuses) for r in found}
    facts = {"revisions": found, "pending": pending, "at": at, "targets": len(statuses)}
    return await shown(board, request, visitor, "revisions.html", **facts)


async def revision(board: Board, request: Request, visitor: Visitor) -> Response:
    """One commit, target by target."""
    name = request.path_params["revision"]
    steps = await board.ask(board.state.views.steps, name) if _REVISION.match(name) else []
    if not steps:
        raise HTTPException(404, "No plan of that commit is kept.")
    statuses = {status.target: status for status in await board.ask(board.state.statuses.all)}
    return await shown(board, request, visitor, "revision.html", revision=name, steps=steps, statuses=statuses)
