"""Signing in with a password, and signing out."""

from __future__ import annotations

import asyncio
import hmac
import secrets

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import PgVillageError
from pgvillage.core.history import AuditEntry
from pgvillage.core.password_hash import fits, is_password_hash, nobody
from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.guard import Form, form_of
from pgvillage.daemon.dashboard.render import failure, render
from pgvillage.daemon.dashboard.visitors import Visitor, cookie_name, drop_cookie, set_cookie
from pgvillage.daemon.limits import network_of
from pgvillage.daemon.origin import safe_next
from pgvillage.settings.dashboard import DashboardUser

log = structlog.get_logger("pgvillage.dashboard")

_LONGEST = 1_000
_FORM_SECONDS = 3_600


async def sign_in(board: Board, request: Request, visitor: Visitor) -> Response:
    """The form: its token is in a cookie too, so that no other site can sign people in as somebody else."""
    return _form(board, request, visitor, safe_next(request.query_params.get("next", "/")))


def _form(
    board: Board, request: Request, visitor: Visitor, after: str, *, trouble: str = "", status: int = 200
) -> Response:
    token = request.cookies.get(cookie_name(board, "form"), "")
    token = token if len(token) == 43 else secrets.token_urlsafe(32)
    facts = {"after": after, "trouble": trouble, "token": token, "open_drifts": 0, "last_event": 0}
    response = HTMLResponse(render(board, request, visitor, "sign_in.html", **facts), status)
    set_cookie(board, response, token, "form", _FORM_SECONDS)
    return response


async def check_password(board: Board, request: Request, visitor: Visitor) -> Response:
    """Takes as long for a name that there is not; each failure counts against the address and the name."""
    try:
        form = await form_of(request)
    except HTTPException as error:
        return failure(board, request, visitor, error.status_code, error.detail)
    token = request.cookies.get(cookie_name(board, "form"), "")
    after = safe_next(form.get("next", "/"))
    if not token or not hmac.compare_digest(token.encode(), form.get("token", "").encode()):
        return _form(board, request, visitor, after, trouble="That page was too old; please try again.", status=403)
    name, password = form.get("name", "")[:_LONGEST], form.get("password", "")[:_LONGEST]
    wait = max(board.by_address.wait(network_of(visitor.address)), board.by_user.wait(name))
    if wait:
        words = f"Too many tries. Wait {int(wait) // 60 + 1} minutes, then try again."
        return _form(board, request, visitor, after, trouble=words, status=429)
    try:
        user = await _checked(board, name, password)
    except PgVillageError as error:
        log.error("nobody can sign in", error=str(error))
        return failure(board, request, visitor, 503, "Signing in is not possible now: see the reconciler's log.")
    if user is None:
        board.by_address.count(network_of(visitor.address))
        board.by_user.count(name)
        log.warning("sign-in refused", address=visitor.address)
        return _form(board, request, visitor, after, trouble="Name or password is wrong.", status=403)
    board.by_user.forget(name)
    return await signed_in(board, visitor, user.name, user.role, after)


async def _checked(board: Board, name: str, password: str) -> DashboardUser | None:
    """Every user's hash is read, so that the time says nothing about who is one. Raises SecretError."""

    def hashes() -> dict[str, str]:
        users = board.settings.dashboard.users
        return {u.name: read_secret(u.password, f"dashboard user {u.name!r}").reveal().strip() for u in users}

    async with board.hashing:
        known = await asyncio.to_thread(hashes)
        for user, text in known.items():
            if not is_password_hash(text):
                raise PgVillageError(f"dashboard user {user!r}: expected a hash made by `pgvillage password-hash`")
        good = await asyncio.to_thread(fits, password, known.get(name) or nobody())
    return next((u for u in board.settings.dashboard.users if u.name == name), None) if good else None


async def signed_in(
    board: Board, visitor: Visitor, name: str, role: str, after: str, *, provider: bool = False
) -> Response:
    """A new session, whatever the browser had before: a planted one is worth nothing."""
    now = board.now()
    if visitor.secret:
        await board.ask(board.state.sessions.close, visitor.secret)
    longest = board.settings.dashboard.sessions.longest
    secret = await board.ask(board.state.sessions.open, name, role, now, longest, {"provider": provider})
    await _note(board, visitor, name, "sign in", role)
    response = RedirectResponse(after, 303)
    set_cookie(board, response, secret, seconds=longest)
    drop_cookie(board, response, "form")
    return response


async def sign_out(board: Board, request: Request, visitor: Visitor, form: Form) -> Response:
    """The session is over for everybody who may have its cookie."""
    del form
    assert visitor.session is not None
    await board.ask(board.state.sessions.close, visitor.secret)
    await _note(board, visitor, visitor.name, "sign out", "")
    there = "/"
    oidc = board.settings.dashboard.oidc
    if oidc is not None and oidc.logout and visitor.session.data.get("provider"):
        from pgvillage.daemon.dashboard.oidc_signin import own_address

        try:
            there = await board.provider.sign_out_address(own_address(board, request, "/")) or there
        except PgVillageError as error:
            log.warning("not signed out at the provider", error=str(error))
    response = RedirectResponse(there, 303)
    drop_cookie(board, response)
    return response


async def _note(board: Board, visitor: Visitor, who: str, action: str, detail: str) -> None:
    entry = AuditEntry(board.now(), who, action, "", detail, visitor.address)
    await board.ask(board.state.decisions.note, entry)
