"""The routing API over HTTP: PgRoute66's end points, Patroni's health checks, metrics."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pgvillage.daemon.api_auth import Auth, Refused
from pgvillage.daemon.origin import peer_of
from pgvillage.routing.answers import Answer, Answers
from pgvillage.routing.health import CHECKS
from pgvillage.routing.metrics import RoutingMetrics
from pgvillage.settings.api import Scope

Endpoint = Callable[[Request], Awaitable[Response]]
_METHODS = ("GET", "HEAD", "OPTIONS")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class RoutingHttp:
    """`stands_for` is the GROUP and NODE whose health checks are answered without a prefix; `open_` whether whoever
    reaches it may ask without a token.
    """

    def __init__(
        self, answers: Answers, metrics: RoutingMetrics, auth: Auth, open_: bool, stands_for: tuple[str, str] | None
    ) -> None:
        self._answers, self._metrics, self._auth, self._open = answers, metrics, auth, open_
        self._stands_for = stands_for

    def app(self) -> Starlette:
        own = [
            self._route("/v1/primary", lambda r: self._answers.primary(r.query_params.get("group"))),
            self._route("/v1/primaries", lambda r: self._answers.primaries(r.query_params.get("group"))),
            self._route("/v1/standbys", lambda r: self._answers.standbys(r.query_params.get("group"))),
            self._route("/v1/groups", lambda _: self._answers.groups()),
            self._route("/v1/groups/{group}/memory", lambda r: self._answers.memory(r.path_params["group"])),
            Route("/v1/groups/{group}/memory", self._counted("forget", self._forget), methods=["DELETE"]),
            self._route("/v1/{node}/status", self._status),
            self._route("/v1/{node}/availability", self._availability),
            self._route("/nodes/{group}/{node}/{check}", self._check_of_node, "/nodes"),
            Route("/healthz", self._healthz, methods=_METHODS),
            Route("/metrics", self._counted("/metrics", self._show_metrics), methods=["GET", "HEAD"]),
        ]
        return Starlette(routes=[*own, *self._of_one()])

    def _of_one(self) -> Iterable[Route]:
        if self._stands_for is None:
            return
        for name in CHECKS:
            yield self._route(f"/{name}", partial(self._check_of_one, name), "/check")
        yield self._route("/", partial(self._check_of_one, "primary"), "/check")
        yield self._route("/patroni", partial(self._check_of_one, "liveness"), "/check")

    def _route(self, path: str, answer: Callable[[Request], Answer], name: str = "") -> Route:
        async def asked(request: Request) -> Response:
            return _response(request, answer(request))

        return Route(path, self._counted(name or path, asked), methods=_METHODS)

    def _counted(self, name: str, inner: Endpoint) -> Endpoint:
        async def asked(request: Request) -> Response:
            try:
                self._check_reader(request)
                found = await inner(request)
            except Refused as error:
                found = _response(request, Answer(error.status, {"error": str(error)}))
                if error.status == 401:
                    found.headers["WWW-Authenticate"] = "Bearer"
                if error.wait:
                    found.headers["Retry-After"] = str(error.wait)
            self._metrics.asked(name, found.status_code)
            return found

        return asked

    def _check_reader(self, request: Request) -> None:
        if not self._open or "authorization" in request.headers:
            self._scopes(request)

    def _scopes(self, request: Request) -> frozenset[Scope]:
        found = self._auth.caller(request.headers.get("authorization"), "", peer_of(request))
        return found.scopes

    async def _forget(self, request: Request) -> Response:
        if "authorization" not in request.headers:
            raise Refused(401, "to forget, a token is needed, or `pgvillage routing forget` on the machine itself")
        if Scope.APPROVE not in self._scopes(request):
            raise Refused(403, "this token may not forget: it needs `forget: true` in `routing.tokens`")
        return _response(request, self._answers.forget(request.path_params["group"]))

    async def _healthz(self, _: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_HEADERS)

    async def _show_metrics(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _status(self, request: Request) -> Answer:
        return self._answers.status(request.path_params["node"], request.query_params.get("group"))

    def _availability(self, request: Request) -> Answer:
        asked = request.query_params
        return self._answers.availability(request.path_params["node"], asked.get("group"), asked.get("limit", "10"))

    def _check_of_node(self, request: Request) -> Answer:
        parts = request.path_params
        if parts["check"] not in CHECKS:
            return Answer(404, {"error": f"there is no such check; there are {', '.join(sorted(CHECKS))}"})
        return self._checked(request, parts["group"], parts["node"], parts["check"])

    def _check_of_one(self, name: str, request: Request) -> Answer:
        assert self._stands_for is not None
        found = self._checked(request, *self._stands_for, name)
        # Before the estate is read there is no node yet: Patroni's clients understand 503.
        return Answer(503, found.document) if found.status == 404 else found

    def _checked(self, request: Request, group: str, node: str, check: str) -> Answer:
        sight = self._answers.node(group, node)
        if isinstance(sight, Answer):
            return sight
        return self._answers.check(sight, check, request.query_params.get("lag"))


def _response(request: Request, answer: Answer) -> Response:
    """HEAD and OPTIONS get the status alone."""
    body = "" if request.method in ("HEAD", "OPTIONS") else json.dumps(answer.document, ensure_ascii=False) + "\n"
    return Response(body, answer.status, _HEADERS, "application/json")
