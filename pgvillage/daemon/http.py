"""The daemon over HTTP: health, readiness and metrics, and whatever routes other parts bring."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pgvillage.daemon.loops import Loops
from pgvillage.daemon.metrics import Metrics


def http_app(loops: Loops, metrics: Metrics, routes: Iterable[BaseRoute] = ()) -> Starlette:
    """`/healthz`: the loops move. `/readyz`: the estate was read at least once. `/metrics`: for Prometheus."""

    async def healthz(_: Request) -> Response:
        return _answer(good=loops.alive, yes="ok", no="a loop does not move")

    async def readyz(_: Request) -> Response:
        return _answer(good=loops.ready, yes="ready", no="the estate has not been read yet")

    async def show_metrics(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    own = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)]
    return Starlette(routes=[*own, *routes])


def _answer(*, good: bool, yes: str, no: str) -> Response:
    return PlainTextResponse(f"{yes if good else no}\n", 200 if good else 503)
