"""The JSON API: reads what is stored, asks what people may ask; decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pgvillage import __version__
from pgvillage.clients.state.state import State
from pgvillage.daemon.actions import Actions
from pgvillage.daemon.answers import Answers
from pgvillage.daemon.api_auth import Auth, Refused
from pgvillage.daemon.api_endpoints import ENDPOINTS, PREFIX, Endpoint
from pgvillage.daemon.api_openapi import openapi
from pgvillage.daemon.api_request import Asked, Fault, answered, body_of, problem, query_of, told
from pgvillage.daemon.origin import peer_of
from pgvillage.report import state_models as models

log = structlog.get_logger("pgvillage.api")

_BETWEEN = 0.5  # seconds between looks for events
_WAITING = 200  # who may wait for events at a time
Answer = models.Answer | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Loop:
    """One of the reconciler's loops: does it move, and how many seconds is it behind its time?"""

    name: str
    moves: bool
    late: float = 0.0


@dataclass(frozen=True)
class About:
    """The reconciler itself. `address_of` says where a request came from, proxies understood."""

    replica: str
    started_at: datetime
    loops: Callable[[], Sequence[Loop]] = tuple
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    address_of: Callable[[Request], str] = peer_of


def api_routes(state: State, actions: Actions, auth: Auth, about: About) -> list[Route]:
    """Everything below /api/v1."""
    api = _Api(state, actions, auth, about)
    routes = [Route(PREFIX + each.path, api.served(each), methods=[each.method]) for each in ENDPOINTS]
    return [*routes, Route(PREFIX + "/{rest:path}", api.nothing, methods=_METHODS)]


_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _Api:
    def __init__(self, state: State, actions: Actions, auth: Auth, about: About) -> None:
        self._state, self._actions, self._auth, self._about = state, actions, auth, about
        self._answers = Answers(state, about.now)
        self._waiting = 0

    def served(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint with all that can go wrong before and in it."""
        known = frozenset(endpoint.query)
        work: Callable[[Asked], Awaitable[Answer]] = getattr(self, f"_{endpoint.name}")

        async def serve(request: Request) -> Response:
            try:
                asked = await self._asked(request, endpoint, known)
                return answered(request, await work(asked))
            except Exception as error:  # noqa: BLE001 - nobody outside sees a traceback
                return told(error, request.url.path)

        return serve

    async def nothing(self, request: Request) -> Response:
        """What no route matched: another method, or no such place."""
        path = request.url.path.removeprefix(PREFIX)
        allowed = sorted({e.method for e in ENDPOINTS if _matches(e.path, path)} - {request.method})
        if allowed:
            return problem(405, f"only {', '.join(allowed)} here", {"Allow": ", ".join(allowed)})
        return problem(404, f"there is nothing here; {PREFIX}/openapi.json says what there is")

    async def _asked(self, request: Request, endpoint: Endpoint, known: frozenset[str]) -> Asked:
        address = self._about.address_of(request)
        headers = request.headers
        caller = self._auth.caller(headers.get("authorization"), headers.get("host", ""), address)
        if endpoint.scope is not None and endpoint.scope not in caller.scopes:
            raise Refused(403, f"{caller.name} may not: this needs a token with the scope {endpoint.scope}")
        if any("\0" in str(value) for value in request.path_params.values()):
            raise Fault(404, "no name holds a zero byte")
        query, labels = query_of(request, known)
        body = await body_of(request) if endpoint.body is not None else b""
        return Asked(request, caller, address, query, labels, body)

    async def _targets(self, asked: Asked) -> Answer:
        return await asyncio.to_thread(self._answers.targets, asked.selection, asked.paging)

    async def _target(self, asked: Asked) -> Answer:
        return await asyncio.to_thread(self._answers.target, asked.name, asked.caller.labels)

    async def _cluster(self, asked: Asked) -> Answer:
        return await asyncio.to_thread(self._answers.cluster, asked.name, asked.caller.labels)

    async def _plan(self, asked: Asked) -> Answer:
        digest = asked.query.get("digest", "")
        return await asyncio.to_thread(self._answers.plan, asked.name, digest, asked.caller.labels)

    async def _plans(self, asked: Asked) -> Answer:
        return await asyncio.to_thread(self._answers.plans, asked.selection, asked.paging)

    async def _runs(self, asked: Asked) -> Answer:
        return await asyncio.to_thread(self._answers.runs, asked.selection, asked.paging)

    async def _run(self, asked: Asked) -> Answer:
        return await asyncio.to_thread(self._answers.run, asked.name, asked.caller.labels)

    async def _drifts(self, asked: Asked) -> Answer:
        only_open = not asked.flag("ended")
        return await asyncio.to_thread(self._answers.drifts, asked.selection, asked.paging, only_open=only_open)

    async def _events(self, asked: Asked) -> Answer:
        """With `wait` it answers at the first event, or at the end of that time with none."""
        after, seconds, limit = asked.after(), asked.number("wait", 0, 0, 30), asked.paging.limit

        async def look() -> models.Events:
            return await asyncio.to_thread(self._answers.events, after, asked.selection, limit)

        found = await look()
        if found.events or not seconds or after is None:
            return found
        if self._waiting >= _WAITING:
            raise Fault(503, "too many wait for events", {"Retry-After": "5"})
        self._waiting += 1
        try:
            due = asyncio.get_running_loop().time() + seconds
            while not found.events and asyncio.get_running_loop().time() < due:
                await asyncio.sleep(_BETWEEN)
                if await asked.request.is_disconnected():
                    break
                found = await look()
        finally:
            self._waiting -= 1
        return found

    async def _audit(self, asked: Asked) -> Answer:
        return await asyncio.to_thread(self._answers.audit, asked.paging)

    async def _reconcile(self, asked: Asked) -> Answer:
        asked.read(models.NothingMore)
        await self._act(self._actions.reconcile, asked)
        return models.Asked(target=asked.name, verb="reconcile")

    async def _suspend(self, asked: Asked) -> Answer:
        wish = asked.read(models.SuspendRequest)
        found = await self._act(self._actions.suspend, asked, wish.reason, wish.until)
        return models.SuspensionAnswer.model_validate(found)

    async def _resume(self, asked: Asked) -> Answer:
        asked.read(models.NothingMore)
        await self._act(self._actions.resume, asked)
        return models.Asked(target=asked.name, verb="resume")

    async def _approve(self, asked: Asked) -> Answer:
        wish = asked.read(models.ApproveRequest)
        found = await self._act(self._actions.approve, asked, wish.digest, wish.comment)
        return models.ApprovalAnswer.of(found)

    async def _act(self, work: Callable[..., Any], asked: Asked, *more: Any) -> Any:
        """On a target that the caller may see."""

        def act() -> Any:
            self._answers.target(asked.name, asked.caller.labels)
            return work(asked.name, *more, asked.caller.who(asked.address))

        return await asyncio.to_thread(act)

    async def _status(self, _: Asked) -> Answer:
        faults = self._state.faults
        return models.StatusAnswer(
            version=__version__,
            replica=self._about.replica,
            started_at=self._about.started_at,
            loops=[models.LoopAnswer(name=each.name, moves=each.moves, late=each.late) for each in self._about.loops()],
            database=models.DatabaseAnswer(
                kind=self._state.engine.dialect.name,
                version=self._state.version,
                faults=faults.count,
                last_fault=faults.last,
            ),
        )

    async def _openapi(self, _: Asked) -> Answer:
        return openapi()


def _matches(pattern: str, path: str) -> bool:
    ours, found = pattern.split("/"), path.split("/")
    return len(ours) == len(found) and all(a in ("{name}", b) for a, b in zip(ours, found, strict=True))
