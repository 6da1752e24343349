"""Health and metrics over HTTP."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pgvillage.daemon.metrics import Metrics
from pgvillage.daemon.reconciler import Reconciler


def http_app(reconciler: Reconciler, metrics: Metrics) -> Starlette:
    """`/healthz`: the loops move. `/readyz`: the estate was read at least once. `/metrics`: for Prometheus."""

    async def healthz(_: Request) -> Response:
        return _answer(good=reconciler.alive, yes="ok", no="the loop does not move")

    async def readyz(_: Request) -> Response:
        return _answer(good=reconciler.ready, yes="ready", no="the estate has not been read yet")

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)])


def _answer(*, good: bool, yes: str, no: str) -> Response:
    return PlainTextResponse(f"{yes if good else no}\n", 200 if good else 503)
