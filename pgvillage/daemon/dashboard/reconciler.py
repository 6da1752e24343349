"""Page 10, the reconciler itself: replicas, late loops, state database, what is not delivered, settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.dashboard.render import shown
from pgvillage.daemon.dashboard.visitors import Visitor
from pgvillage.settings import PlainSource, Settings

_LATE = timedelta(seconds=60)
_AUDITS = 50


async def reconciler(board: Board, request: Request, visitor: Visitor) -> Response:
    """Settings and audit are for people who signed in, everything else for all who may look."""

    def look() -> dict[str, Any]:
        state = board.state
        return {
            "statuses": state.statuses.all(),
            "undelivered": state.views.undelivered(),
            "hooks": state.views.hooks(),
            "sessions": state.sessions.count(board.now()),
            "database": state.engine.dialect.name,
            "audits": state.decisions.audits(_AUDITS) if visitor.session else [],
        }

    facts = await board.ask(look)
    now, statuses = board.now(), facts.pop("statuses")
    late = {s.target: now - s.next_look for s in statuses if s.next_look is not None and now - s.next_look > _LATE}
    pulse = board.pulse()
    replicas = Counter(dict.fromkeys(pulse.replicas, 0))
    replicas.update(s.replica for s in statuses if s.replica)
    settings = settings_text(board.settings) if visitor.session else ""
    more: dict[str, Any] = {
        "late": late,
        "pulse": pulse,
        "replicas": sorted(replicas.items()),
        "watching": len(board.feed),
    }
    return await shown(
        board, request, visitor, "reconciler.html", settings=settings, targets=len(statuses), **facts, **more
    )  # fmt: skip


def settings_text(settings: Settings) -> str:
    """What differs from the defaults, as YAML; of secrets only where they come from."""
    return yaml.safe_dump(_shown(settings), sort_keys=False, allow_unicode=False, width=100)


def _shown(node: Any) -> Any:
    if isinstance(node, PlainSource):
        kind = next(n for n in ("env", "file", "command", "vault", "sops") if getattr(node, n, None) is not None)
        value = getattr(node, kind)
        return f"(a secret, from {kind} {value[0] if kind == 'command' else value})"
    if isinstance(node, BaseModel):
        set_ones = {name: getattr(node, name) for name in type(node).model_fields if name in node.model_fields_set}
        names = {name: field.alias or name for name, field in type(node).model_fields.items()}
        return {names[name]: _shown(value) for name, value in set_ones.items() if value is not None}
    if isinstance(node, Mapping):
        return {str(key): _shown(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_shown(each) for each in node]
    return node if isinstance(node, bool | int | float) else _without_login(str(node))


def _without_login(text: str) -> str:
    """A URL may have a password in it, although there are better places."""
    if "://" not in text or "@" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return "(not shown)"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else text
