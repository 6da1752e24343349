"""Page 6, the access explorer: who can do what, and by which way, asked of one target live."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pgvillage.access.question import PRIVILEGES
from pgvillage.access.who_can import Answers
from pgvillage.core.errors import PgVillageError
from pgvillage.daemon.dashboard.board import AskAccess, Board
from pgvillage.daemon.dashboard.render import shown
from pgvillage.daemon.dashboard.visitors import Visitor
from pgvillage.report.access_json import answers_document
from pgvillage.usecases.estate import Scope
from pgvillage.usecases.who_can import who_can
from pgvillage.usecases.world import World

_SECONDS = 30.0
_LONGEST = 500


def asked_live(world: World) -> AskAccess:
    """Questions to the clusters themselves, as `pgvillage who-can` asks them."""

    async def ask(target: str, privilege: str, name: str) -> Answers:
        return await who_can(world, Scope((target,)), privilege, name)

    return ask


async def access(board: Board, request: Request, visitor: Visitor) -> Response:
    """Reads production, so it is for people who signed in, a few times a minute, and not for ever."""
    query = request.query_params
    asked = {name: query.get(name, "").strip()[:_LONGEST] for name in ("target", "privilege", "object")}
    facts: dict[str, Any] = {"answers": None, "trouble": "", "code": 200}
    if asked["target"] and asked["object"] and board.ask_access is not None:
        facts |= await _answered(board, visitor, asked)
    targets = [status.target for status in await board.ask(board.state.statuses.all) if ":" not in status.target]
    more: dict[str, Any] = {"targets": targets, "privileges": PRIVILEGES, "asked": asked}
    return await shown(board, request, visitor, "access.html", **facts, **more)


async def _answered(board: Board, visitor: Visitor, asked: Mapping[str, str]) -> dict[str, Any]:
    assert board.ask_access is not None
    wait = board.questions.wait(visitor.name)
    if wait:
        raise HTTPException(429, f"That were many questions; ask again in {int(wait) + 1} seconds.")
    board.questions.count(visitor.name)
    try:
        async with asyncio.timeout(_SECONDS), board.reading:
            found = await board.ask_access(asked["target"], asked["privilege"] or "select", asked["object"])
    except TimeoutError:
        return {"trouble": f"{asked['target']} did not answer within {_SECONDS:.0f} seconds.", "code": 503}
    except PgVillageError as error:
        return {"trouble": str(error), "code": 400}
    return {"answers": answers_document(found)}
