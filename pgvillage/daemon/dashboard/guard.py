"""Around every page: the host that is meant, headers that bind the browser, who may, and forms that are ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgvillage.core.errors import PgVillageError, UsageError
from pgvillage.daemon.actions import NotAllowed
from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.render import failure, sign_in_path
from pgvillage.daemon.dashboard.visitors import Visitor, visitor_of
from pgvillage.daemon.origin import host_is_ours, same_origin

Form = Mapping[str, str]
Page = Callable[[Board, Request, Visitor], Awaitable[Response]]
Deed = Callable[[Board, Request, Visitor, Form], Awaitable[Response]]

_BODY_SECONDS = 15
_FIELDS = 20
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; form-action 'self'{provider}; frame-ancestors 'none'; base-uri 'none'"
)


class Guard:
    """Refuses other hosts' names, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, board: Board) -> None:
        self._app, self._board = app, board
        self._headers = {
            "content-security-policy": _POLICY.format(provider=_provider(board)),
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
            **({"strict-transport-security": "max-age=31536000"} if board.https else {}),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if not host_is_ours(Headers(scope=scope).get("host", ""), self._board.settings.serve):
            words = "this server is not called that; the name it is reached by belongs in serve.url of the settings\n"
            await PlainTextResponse(words, 421)(scope, receive, sending)
            return
        await self._app(scope, receive, sending)


def _provider(board: Board) -> str:
    """Chromium holds redirects of a form to its form-action too."""
    oidc = board.settings.dashboard.oidc
    return f" {'/'.join(oidc.issuer.split('/')[:3])}" if oidc is not None else ""


def page(board: Board, shown: Page, *, signed_in: bool = False) -> Callable[[Request], Awaitable[Response]]:
    """A page that is read; whoever may not is sent to sign in, and comes back."""

    async def endpoint(request: Request) -> Response:
        visitor = await visitor_of(board, request)
        if visitor.session is None and (signed_in or not board.public):
            return RedirectResponse(sign_in_path(request), 303)
        try:
            return await shown(board, request, visitor)
        except UsageError as error:
            return failure(board, request, visitor, 400, str(error))
        except HTTPException as error:
            return failure(board, request, visitor, error.status_code, error.detail)

    return endpoint


def open_page(board: Board, shown: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page that everybody may see: those of signing in."""

    async def endpoint(request: Request) -> Response:
        return await shown(board, request, await visitor_of(board, request))

    return endpoint


def deed(board: Board, done: Deed) -> Callable[[Request], Awaitable[Response]]:
    """What somebody does who is signed in: by a form of that session."""

    async def endpoint(request: Request) -> Response:
        visitor = await visitor_of(board, request)
        if visitor.session is None:
            return failure(board, request, visitor, 401, "You are not signed in, or no longer: sign in and try again.")
        try:
            form = await form_of(request)
            _check_token(form, visitor)
            return await done(board, request, visitor, form)
        except NotAllowed as error:
            return failure(board, request, visitor, 403, f"Not allowed: {error}.")
        except HTTPException as error:
            return failure(board, request, visitor, error.status_code, error.detail)
        except PgVillageError as error:
            return failure(board, request, visitor, 409, str(error))

    return endpoint


def _check_token(form: Form, visitor: Visitor) -> None:
    if not visitor.sent(form.get("csrf", "")):
        raise HTTPException(403, "This form is not of your session. Go back, load the page again, and retry.")


async def form_of(request: Request) -> Form:
    """Raises HTTPException when it comes from elsewhere, takes too long, or is no form."""
    if not same_origin(request.headers):
        raise HTTPException(403, "This form was sent from another site, and is refused.")
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise HTTPException(415, "Expected an HTML form.")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            found = await request.form(max_files=0, max_fields=_FIELDS, max_part_size=16_384)
    except TimeoutError:
        raise HTTPException(408, "The form took too long to arrive.") from None
    except (ClientDisconnect, MultiPartException, UnicodeDecodeError):
        raise HTTPException(400, "The form can't be read.") from None
    return {name: value for name, value in found.items() if isinstance(value, str)}
