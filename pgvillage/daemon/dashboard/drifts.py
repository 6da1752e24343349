"""Page 3, the drift inbox: what was changed by hand, whose it is, and what can be done."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pgvillage.core.errors import UsageError
from pgvillage.core.history import DriftRecord
from pgvillage.core.status import TargetStatus
from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.changes import RISKS, ChangeRow, adopt_command, change_row, ignore_snippet
from pgvillage.daemon.dashboard.cluster import back, status_of
from pgvillage.daemon.dashboard.guard import Form
from pgvillage.daemon.dashboard.render import shown
from pgvillage.daemon.dashboard.visitors import Visitor

_PAGE = 50
_MOST = 2_000


@dataclass(frozen=True, slots=True)
class Row:
    """One drift with what its target says about itself; `status` None: the target has left the estate."""

    drift: DriftRecord
    change: ChangeRow
    owner: str
    status: TargetStatus | None
    ignore: str
    adopt: str

    @property
    def found(self) -> str:
        parts = (self.drift.target, self.change.title, self.change.address, self.owner, self.change.risk)
        return " ".join((*parts, self.change.source)).lower()


async def drifts(board: Board, request: Request, visitor: Visitor) -> Response:
    """The riskiest first, then the oldest; `q` and `risk` filter, `page` counts from 1."""
    query = request.query_params
    text, risk = query.get("q", "")[:200].lower(), query.get("risk", "")
    records = await board.ask(board.state.history.drifts, None, limit=_MOST)
    statuses = {status.target: status for status in await board.ask(board.state.statuses.all)}
    today = board.now().date()
    rows = [
        Row(record, change_row({**record.document, "address": record.address, "risk": record.risk}),
            _owner(record, statuses.get(record.target)), statuses.get(record.target),
            ignore_snippet(record.address, today), adopt_command(record.address))
        for record in records
    ]  # fmt: skip
    every = len(rows)
    counts = {each: sum(row.change.risk == each for row in rows) for each in reversed(RISKS)}
    rows = [row for row in rows if all(w in row.found for w in text.split()) and risk in ("", row.change.risk)]
    rows.sort(key=lambda row: (-RISKS.index(row.change.risk), row.drift.first_seen, row.drift.id))
    pages = max(1, -(-len(rows) // _PAGE))
    number = min(max(int(said) if (said := query.get("page", "1")).isdecimal() and len(said) < 6 else 1, 1), pages)
    return await shown(
        board, request, visitor, "drifts.html",
        rows=rows[(number - 1) * _PAGE : number * _PAGE], found=len(rows), every=every, counts=counts, pages=pages,
        number=number, text=query.get("q", "")[:200], risk=risk,
    )  # fmt: skip


def _owner(record: DriftRecord, status: TargetStatus | None) -> str:
    """Who the drift says, else whose cluster it is by the labels that people use for that."""
    labels = status.labels if status is not None else {}
    return record.owner or labels.get("owner") or labels.get("team") or ""


async def correct(board: Board, request: Request, visitor: Visitor, form: Form) -> Response:
    """Look and apply now; where gates are closed that is consent to the plan that the page showed, and no other."""
    del request
    target, digest = form.get("target", ""), form.get("digest", "")
    status = await status_of(board, target)
    if status.suspended(board.now()):
        raise UsageError(f"{target} is suspended: resume it first, or nothing is applied")
    if status.blocked:
        await board.ask(board.actions.approve, target, digest, form.get("comment", ""), visitor.who)
        return back(target, "approve")
    await board.ask(board.actions.reconcile, target, visitor.who)
    if form.get("from") == "drifts":
        return RedirectResponse("/drifts?done=reconcile", 303)
    return back(target, "reconcile")
