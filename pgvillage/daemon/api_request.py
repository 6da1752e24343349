"""Requests and answers of the API: query and body within limits, problems by RFC 9457, ETags."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pgvillage.core.errors import StateError, UsageError
from pgvillage.daemon.actions import NotAllowed
from pgvillage.daemon.answers import LARGEST, NotFound, Paging, Selection
from pgvillage.daemon.api_auth import Caller, Refused
from pgvillage.report.state_models import Answer, Problem, as_document

log = structlog.get_logger("pgvillage.api")

_MOST_BYTES = 64 * 1024
_SECONDS = 10
_MOST_ROWS = 500
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache", "Vary": "Authorization"}
Body = TypeVar("Body", bound=Answer)


class Fault(Exception):
    """What is answered instead: HTTP status and words."""

    def __init__(self, status: int, words: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.headers = status, dict(headers or {})
        super().__init__(words)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: who, what, and the parts of its path and query that the endpoint knows."""

    request: Request
    caller: Caller
    address: str
    query: Mapping[str, str]
    labels: Mapping[str, str]
    body: bytes = b""

    @property
    def name(self) -> str:
        return str(self.request.path_params.get("name", ""))

    @property
    def paging(self) -> Paging:
        return Paging(self.number("limit", 100, 1, _MOST_ROWS), self.query.get("cursor", ""))

    @property
    def selection(self) -> Selection:
        target = self.query.get("target")
        words = {key: self.query.get(key, "") for key in ("sync", "health", "ready")}
        return Selection(self.caller.labels, self.labels, (target,) if target is not None else (), **words)

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Raises Fault."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
            raise Fault(400, f"`{name}`: expected a number from {least} to {most}, found {text[:40]!r}")
        return int(text)

    def after(self) -> int | None:
        return self.number("after", 0, 0, LARGEST) if "after" in self.query else None

    def flag(self, name: str) -> bool:
        """Raises Fault."""
        text = self.query.get(name, "false")
        if text not in ("true", "false"):
            raise Fault(400, f"`{name}`: expected true or false, found {text[:40]!r}")
        return text == "true"

    def read(self, kind: type[Body]) -> Body:
        """The body. Raises Fault."""
        try:
            return kind.model_validate_json(self.body or b"{}", strict=False)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            words = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in found[:5])
            raise Fault(400, words) from None


def query_of(request: Request, known: frozenset[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters and labels. Raises Fault for one that is unknown, doubled, or a label that is not KEY=VALUE."""
    query: dict[str, str] = {}
    labels: dict[str, str] = {}
    for key, value in request.query_params.multi_items():
        if "\0" in value:
            raise Fault(400, f"`{key[:40]}` holds a zero byte")
        if key == "label" and key in known:
            name, equals, text = value.partition("=")
            if not name or not equals:
                raise Fault(400, f"`label`: expected KEY=VALUE, found {value[:80]!r}")
            labels[name] = text
        elif key not in known:
            raise Fault(400, f"there is no parameter `{key[:40]}` here; there is {', '.join(sorted(known)) or 'none'}")
        elif key in query:
            raise Fault(400, f"`{key}` stands there twice")
        else:
            query[key] = value
    return query, labels


async def body_of(request: Request) -> bytes:
    """Raises Fault for one that is too long, too slow, or no JSON."""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length[:20]) > _MOST_BYTES:
        raise Fault(413, f"the body may have {_MOST_BYTES} bytes", {"Connection": "close"})
    body = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise Fault(413, f"the body may have {_MOST_BYTES} bytes", {"Connection": "close"})
    except TimeoutError:
        raise Fault(408, f"the body took longer than {_SECONDS} seconds", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Fault(400, "the connection ended within the body") from None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise Fault(415, "the body must be application/json")
    return bytes(body)


def answered(request: Request, answer: Answer | Mapping[str, Any]) -> Response:
    """200, or 304 where the asker has it already."""
    document = as_document(answer) if isinstance(answer, Answer) else answer
    content = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag}
    if request.method == "GET" and tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def told(error: Exception, path: str) -> Response:
    """Any error as a problem; of a bug nobody outside learns more than that it is one."""
    if isinstance(error, Fault):
        return problem(error.status, str(error), error.headers)
    if isinstance(error, Refused):
        more = {"Retry-After": str(error.wait)} if error.wait else {}
        challenge = {"WWW-Authenticate": 'Bearer realm="pgvillage"'} if error.status == 401 else {}
        return problem(error.status, str(error), {**more, **challenge})
    if isinstance(error, StateError):
        log.warning("no answer", path=path[:200], error=str(error))
        return problem(503, str(error), {"Retry-After": "15"})
    for kind, status in ((NotAllowed, 403), (NotFound, 404), (UsageError, 409 if path.endswith("/approve") else 400)):
        if isinstance(error, kind):
            return problem(status, str(error))
    log.error("no answer", path=path[:200], error="this is a bug, please report it", type=type(error).__name__)
    return problem(500, "this is a bug of PgVillage; its log says more")


def problem(status: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    title = HTTPStatus(status).phrase
    kind = f"urn:pgvillage:problem:{title.lower().replace(' ', '-')}"
    document = as_document(Problem(type=kind, title=title, status=status, detail=words))
    content = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    more = {**_HEADERS, "Cache-Control": "no-store", **(headers or {})}
    return Response(content, status, media_type="application/problem+json", headers=more)
