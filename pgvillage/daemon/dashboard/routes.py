"""All pages as routes."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from pgvillage.daemon.dashboard import access, cluster, drifts, estate, oidc_signin, plans, reconciler, signin
from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.guard import Deed, Guard, deed, open_page, page
from pgvillage.daemon.dashboard.live import EventStream, last_seen
from pgvillage.daemon.dashboard.render import failure, static_files, static_version
from pgvillage.daemon.dashboard.visitors import Visitor, visitor_of

_MOST_BYTES = 64 << 10
_FOR_GOOD = "public, max-age=31536000, immutable"


def dashboard_routes(board: Board) -> list[Mount]:
    """Everything that no other route takes: a Mount at `/`, so it comes last."""

    async def wrong(request: Request, error: Exception) -> Response:
        status, words = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
        return failure(board, request, await visitor_of(board, request), status, words)

    middleware = [
        Middleware(Guard, board=board),
        Middleware(GZipMiddleware, minimum_size=2_000, compresslevel=5),
        Middleware(ExceptionMiddleware, handlers={HTTPException: wrong}),
    ]
    routes = [*_pages(board), *_deeds(board), *_sign_in(board), Route("/static/{version}/{name:path}", _static)]
    return [Mount("/", routes=routes, middleware=middleware, max_body_size=_MOST_BYTES)]


def _pages(board: Board) -> list[Route]:
    return [
        Route("/", page(board, estate.estate)),
        Route("/rows", page(board, estate.estate_rows)),
        Route("/clusters/{target}", page(board, cluster.cluster)),
        Route("/drifts", page(board, drifts.drifts)),
        Route("/plans/{digest}/{target}", page(board, plans.plan)),
        Route("/revisions", page(board, plans.revisions)),
        Route("/revisions/{revision}", page(board, plans.revision)),
        Route("/access", page(board, access.access, signed_in=True)),
        Route("/reconciler", page(board, reconciler.reconciler)),
        Route("/live", page(board, _live)),
    ]


def _deeds(board: Board) -> list[Route]:
    found: dict[str, Deed] = {
        "/do/reconcile": cluster.reconcile,
        "/do/suspend": cluster.suspend,
        "/do/resume": cluster.resume,
        "/do/correct": drifts.correct,
        "/do/approve": plans.approve,
        "/sign-out": signin.sign_out,
    }
    return [Route(path, deed(board, done), methods=["POST"]) for path, done in found.items()]


def _sign_in(board: Board) -> list[Route]:
    return [
        Route("/sign-in", open_page(board, signin.sign_in)),
        Route("/sign-in", open_page(board, signin.check_password), methods=["POST"]),
        Route("/sign-in/oidc", open_page(board, oidc_signin.go)),
        Route("/sign-in/oidc/back", open_page(board, oidc_signin.come_back)),
    ]


async def _live(board: Board, request: Request, visitor: Visitor) -> Response:
    """News from `Last-Event-ID` or `after` on."""

    async def allowed() -> bool:
        return board.public or (await visitor_of(board, request)).session is not None

    last = last_seen(request.headers.get("last-event-id"), request.query_params.get("after"))
    if board.feed.full(visitor.address):
        raise HTTPException(503, "As many watch as may; this page does not renew itself.")
    return EventStream(board.feed, visitor.address, last, allowed)  # type: ignore[return-value]


async def _static(request: Request) -> Response:
    found = static_files().get(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "There is no such file.")
    current = request.path_params["version"] == static_version()
    return Response(found[0], media_type=found[1], headers={"cache-control": _FOR_GOOD if current else "no-cache"})
