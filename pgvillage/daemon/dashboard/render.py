"""Templates: what they may use, and how an answer is made of them."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from datetime import datetime, timedelta
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pgvillage import __version__
from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.conditions import WORDS
from pgvillage.daemon.dashboard.visitors import Visitor
from pgvillage.report.words import show_text, visible
from pgvillage.topology import limits

_TYPES = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}  # fmt: skip
_TITLES = {
    400: "That can't be asked", 401: "Sign in first", 403: "Not allowed", 404: "Not found", 405: "Not like that",
    408: "Too slow", 409: "Not now", 413: "Too much", 429: "Too often", 503: "Not possible now",
}  # fmt: skip


@functools.cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Everything that is served as it is, by name: a name that is not here is not there."""
    found: dict[str, tuple[bytes, str]] = {}
    folder = resources.files(__package__) / "static"
    for place, prefix in ((folder, ""), (folder / "icons", "icons/")):
        for file in place.iterdir():
            suffix = f".{file.name.rpartition('.')[2]}"
            if suffix in _TYPES:
                found[prefix + file.name] = (file.read_bytes(), _TYPES[suffix])
    return found


@functools.cache
def static_version() -> str:
    """Changes with any file, so that browsers may keep them for good."""
    digest = hashlib.sha256()
    for name, (content, _) in sorted(static_files().items()):
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()[:12]


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("pgvillage.daemon.dashboard"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"size": limits.size, "seconds": limits.seconds}
    made.filters |= {"age": age, "exact": exact, "path": path_part, "clean": show_text, "visible": visible}
    made.filters["ticked"] = ticked
    made.globals |= {"static": f"/static/{static_version()}", "version": __version__, "words": WORDS}
    return made


def ticked(text: str) -> Markup:
    """Our own messages with what stands between backticks as code; everything in them is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup().join(
        Markup("<code>{}</code>").format(each) if at % 2 else escape(each) for at, each in enumerate(parts)
    )


def render(board: Board, request: Request, visitor: Visitor, name: str, **facts: Any) -> str:
    base = {
        "board": board,
        "visitor": visitor,
        "now": board.now(),
        "here": request.url.path,
        "done": request.query_params.get("done", ""),
        "sign_in": sign_in_path(request),
    }
    return _environment().get_template(name).render(base | facts)


async def shown(
    board: Board, request: Request, visitor: Visitor, name: str, *, code: int = 200, **facts: Any
) -> Response:
    """A page, with how many drifts are open and the number of the newest event, which the live feed goes on from."""

    def counts() -> dict[str, Any]:
        return {"open_drifts": board.state.views.open_drifts(), "last_event": board.state.events.last()}

    facts |= await board.ask(counts)
    return HTMLResponse(await asyncio.to_thread(render, board, request, visitor, name, **facts), code)


def failure(board: Board, request: Request, visitor: Visitor, status: int, words: str) -> Response:
    """A page that says in words why not."""
    facts = {"title": _TITLES.get(status, "That went wrong"), "words": words, "open_drifts": 0, "last_event": 0}
    return HTMLResponse(render(board, request, visitor, "failure.html", **facts), status)


def sign_in_path(request: Request) -> str:
    """The way back is where the visitor is now, or the first page after something that was sent."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    there = here if request.method == "GET" and not here.startswith("/sign-in") else "/"
    return "/sign-in?" + urlencode({"next": there})


def path_part(text: str) -> str:
    return quote(text, safe="")


_STEPS = ((timedelta(days=2), "d", 86_400), (timedelta(hours=2), "h", 3_600), (timedelta(minutes=2), "min", 60))


def age(moment: datetime | None, now: datetime) -> str:
    """`3 min`, `2 h`, `12 d`; what lies ahead without a sign."""
    if moment is None:
        return "never"
    span = abs(now - moment)
    for least, unit, seconds in _STEPS:
        if span >= least:
            return f"{int(span.total_seconds() // seconds)} {unit}"
    return f"{int(span.total_seconds())} s"


def exact(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment is not None else ""
