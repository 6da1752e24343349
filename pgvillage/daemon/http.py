"""The daemon over HTTP: health, readiness and metrics, and whatever routes other parts bring."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pgvillage.daemon.api import About
from pgvillage.daemon.api_auth import Auth, Refused
from pgvillage.daemon.api_request import told
from pgvillage.daemon.loops import Loops
from pgvillage.daemon.metrics import Metrics
from pgvillage.settings.api import Scope


def http_app(loops: Loops, metrics: Metrics, auth: Auth, about: About, routes: Iterable[BaseRoute] = ()) -> Starlette:
    """`/healthz`: the loops move. `/readyz`: the estate was read at least once. `/metrics`: for Prometheus.

    Metrics name every target, so who reads them must be one who may read every target by the API.
    """

    async def healthz(_: Request) -> Response:
        return _answer(good=loops.alive, yes="ok", no="a loop does not move")

    async def readyz(_: Request) -> Response:
        return _answer(good=loops.ready, yes="ready", no="the estate has not been read yet")

    async def show_metrics(request: Request) -> Response:
        try:
            _check_reader(auth, request, about.address_of(request))
        except Refused as error:
            return told(error, request.url.path)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    own = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)]
    return Starlette(routes=[*own, *routes])


def _check_reader(auth: Auth, request: Request, address: str) -> None:
    caller = auth.caller(request.headers.get("authorization"), request.headers.get("host", ""), address)
    if Scope.READ not in caller.scopes or caller.labels:
        raise Refused(403, f"{caller.name} may not: metrics need a token with the scope read, of every target")


def _answer(*, good: bool, yes: str, no: str) -> Response:
    return PlainTextResponse(f"{yes if good else no}\n", 200 if good else 503)
