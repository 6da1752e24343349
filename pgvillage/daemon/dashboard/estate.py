"""Page 1, the estate: every target by how much it needs somebody."""

from __future__ import annotations

from collections import Counter

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.conditions import WORDS, Row, Wanted, counts_of, rows_of, searched
from pgvillage.daemon.dashboard.render import render, shown
from pgvillage.daemon.dashboard.visitors import Visitor

_LABELS = 40  # offered as a filter
_ONLY = 60


async def estate(board: Board, request: Request, visitor: Visitor) -> Response:
    """All targets, or those that the filter in the address admits; with scripts the page filters by itself."""
    wanted = _wanted(request)
    now = board.now()
    rows: list[Row] = rows_of(await board.ask(board.state.statuses.all), now)
    admitted = {status.target for status, verdict in rows if wanted.admits(status, verdict)}
    return await shown(
        board, request, visitor, "estate.html",
        rows=rows, admitted=admitted, counts=counts_of(rows), wanted=wanted, labels=_labels(rows), searched=searched,
        oldest=min((s.drift_since for s, _ in rows if s.drift_since), default=None),
    )  # fmt: skip


async def estate_rows(board: Board, request: Request, visitor: Visitor) -> Response:
    """Some targets' rows anew, with the counts of all: what the page puts in place of the old ones."""
    only = set(request.query_params.getlist("target")[:_ONLY])
    rows = rows_of(await board.ask(board.state.statuses.all), board.now())
    some = [row for row in rows if row[0].target in only]
    facts = {"rows": some, "every": rows, "counts": counts_of(rows), "searched": searched, "wanted": Wanted()}
    return HTMLResponse(await board.ask(render, board, request, visitor, "estate_rows.html", **facts))


def _wanted(request: Request) -> Wanted:
    query = request.query_params
    condition = query.get("is", "")
    labels = tuple(filter(None, query.getlist("label")))
    return Wanted(query.get("q", "")[:200], labels, condition if condition in (*WORDS, "trouble") else "")


def _labels(rows: list[Row]) -> list[tuple[str, int]]:
    counts = Counter(f"{key}={value}" for status, _ in rows for key, value in status.labels.items())
    return sorted(counts.most_common(_LABELS))
