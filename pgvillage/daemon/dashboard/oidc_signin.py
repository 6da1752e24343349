"""Signing in at an OpenID provider: out to it, and back with what it says."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pgvillage.clients.oidc import Attempt, OidcError
from pgvillage.core.errors import PgVillageError
from pgvillage.daemon.actions import Role
from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.render import failure
from pgvillage.daemon.dashboard.signin import signed_in
from pgvillage.daemon.dashboard.visitors import Visitor, cookie_name, drop_cookie, set_cookie
from pgvillage.daemon.limits import network_of
from pgvillage.daemon.origin import safe_next
from pgvillage.settings.dashboard import Oidc, OidcRoles

log = structlog.get_logger("pgvillage.dashboard")

_CALLBACK = "/sign-in/oidc/back"
_SECONDS = 600  # that somebody may take at the provider


def own_address(board: Board, request: Request, path: str) -> str:
    """By `serve.url`, else by the host that was asked, which the guard knows to be ours."""
    base = (board.settings.serve.url or "").rstrip("/")
    return (base or f"{'https' if board.https else 'http'}://{request.headers['host']}") + path


async def go(board: Board, request: Request, visitor: Visitor) -> Response:
    """The attempt is kept in the state database, so that any replica can finish it."""
    if board.settings.dashboard.oidc is None:
        return failure(board, request, visitor, 404, "Signing in at a provider is not set up here.")
    here = network_of(visitor.address)
    if wait := board.by_address.wait(here):
        return failure(board, request, visitor, 429, f"Too many tries. Wait {int(wait) // 60 + 1} minutes.")
    board.by_address.count(here)
    attempt = Attempt.new()
    try:
        there = await board.provider.address(attempt, own_address(board, request, _CALLBACK))
    except PgVillageError as error:
        return _failed(board, request, visitor, error)
    kept = {**asdict(attempt), "next": safe_next(request.query_params.get("next", "/"))}
    secret = await board.ask(board.state.sessions.open, "", "", board.now(), _SECONDS, kept)
    response = RedirectResponse(there, 303)
    set_cookie(board, response, secret, "attempt", _SECONDS)
    return response


async def come_back(board: Board, request: Request, visitor: Visitor) -> Response:
    """An attempt is good for one answer, in the browser that began it."""
    query = request.query_params
    if board.settings.dashboard.oidc is None:
        return failure(board, request, visitor, 404, "Signing in at a provider is not set up here.")
    secret = request.cookies.get(cookie_name(board, "attempt"), "")
    kept = await board.ask(board.state.sessions.take, secret, board.now(), _SECONDS) if secret else None
    if kept is None or kept.role:
        words = "This sign-in was not begun in this browser, or too long ago: try again."
        return failure(board, request, visitor, 403, words)
    attempt = Attempt(*(str(kept.data[name]) for name in ("state", "nonce", "verifier")))
    try:
        if not hmac.compare_digest(attempt.state.encode(), query.get("state", "").encode()):
            raise OidcError("the answer belongs to another sign-in")
        if "code" not in query:
            raise OidcError(f"the provider said no: {query.get('error', 'no code')[:100]}")
        back = own_address(board, request, _CALLBACK)
        claims = await board.provider.claims(attempt, query["code"], back)
        name, role = person(board.settings.dashboard.oidc, claims)
    except PgVillageError as error:
        return _failed(board, request, visitor, error)
    board.by_address.forget(network_of(visitor.address))
    response = await signed_in(board, visitor, name, role, str(kept.data["next"]), provider=True)
    drop_cookie(board, response, "attempt")
    return response


def _failed(board: Board, request: Request, visitor: Visitor, error: PgVillageError) -> Response:
    log.warning("sign-in refused", address=visitor.address, error=str(error))
    return failure(board, request, visitor, 403, f"You are not signed in: {error}.")


def person(settings: Oidc, claims: Mapping[str, Any]) -> tuple[str, str]:
    """What somebody is called, and the greatest role that their claim gives. Raises OidcError when it gives none."""
    name = claims.get(settings.name_claim) or claims.get("email") or claims["sub"]
    if not isinstance(name, str) or not name.isprintable() or len(name) > 200:
        raise OidcError(f"the claim {settings.name_claim!r} is no name")
    found = claims.get(settings.role_claim, [])
    held = {found} if isinstance(found, str) else {each for each in found if isinstance(each, str)}
    for role in reversed(Role):
        wanted = _values(settings.roles, role)
        if "*" in wanted or held & wanted:
            return name, str(role)
    raise OidcError(f"{name} has no role here: none of the values of {settings.role_claim!r} gives one")


def _values(roles: OidcRoles, role: Role) -> frozenset[str]:
    return frozenset(getattr(roles, role.value))
