"""Forges' APIs in the shapes that they have: comments by pages, accounts, statuses; they note every request."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "planted-forge-token"
GITLAB_TOKEN_HEADER = "private-token"
Document = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    document: Any


@dataclass
class ForgeServer:
    """`faults` are given out first, one a request that `faulty` picks: a status and headers."""

    kind: str
    port: int = 0
    account: str = "pgvillage-bot"
    knows_account: bool = True
    comments: list[Document] = field(default_factory=list)
    statuses: list[Document] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    faulty: Callable[[Asked], bool] = lambda _: True
    gone: bool = False
    may_write: bool = True
    ignores_pages: bool = False
    _number: int = 100

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}" + {"gitlab": "/api/v4", "github": "/api/v3"}.get(self.kind, "/api/v1")

    @property
    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]

    def add(self, body: str, by: str | None = None, system: bool = False) -> Document:
        self._number += 1
        name = by or self.account
        if self.kind == "gitlab":
            author = {"id": 7, "username": name, "name": name}
            made = {"id": self._number, "type": None, "body": body, "author": author,
                    "system": system, "noteable_type": "MergeRequest", "noteable_iid": 3}  # fmt: skip
        else:
            made = {"id": self._number, "body": body, "user": {"id": 7, "login": name, "type": "Bot"},
                    "author_association": "NONE", "html_url": f"https://git.example/c/{self._number}"}  # fmt: skip
        self.comments.append(made)
        return made

    def of(self, method: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == method]

    def answer(self, asked: Asked) -> tuple[int, Any, dict[str, str]]:
        if self.faults and self.faulty(asked):
            status, headers = self.faults.pop(0)
            return status, {"message": "planted-answer @here"}, headers
        expected = {"gitlab": (GITLAB_TOKEN_HEADER, TOKEN), "github": ("authorization", f"Bearer {TOKEN}")}
        name, value = expected.get(self.kind, ("authorization", f"token {TOKEN}"))
        if asked.headers.get(name) != value:
            return 401, {"message": "401 Unauthorized"}, {}
        prefix = urlsplit(self.url).path
        if not asked.path.startswith(prefix):
            return 404, {"message": "404 Not Found"}, {}
        path = asked.path.removeprefix(prefix)
        if asked.method == "GET" and path == "/user":
            login = {"id": 7, "username": self.account} if self.kind == "gitlab" else {"id": 7, "login": self.account}
            return (200, login, {}) if self.knows_account else (403, {"message": "not accessible by integration"}, {})
        project = r"/projects/dba%2Festate" if self.kind == "gitlab" else "/repos/dba/estate"
        if not path.startswith(project) or self.gone:
            return 404, {"message": "404 Not Found"}, {}
        return self._of_project(asked, path.removeprefix(project))

    def _of_project(self, asked: Asked, path: str) -> tuple[int, Any, dict[str, str]]:
        listed = "/merge_requests/3/notes" if self.kind == "gitlab" else "/issues/3/comments"
        one = r"/merge_requests/3/notes/(\d+)" if self.kind == "gitlab" else r"/issues/comments/(\d+)"
        edit = "PUT" if self.kind == "gitlab" else "PATCH"
        if asked.method == "GET" and path == listed:
            return self._page(asked)
        if not self.may_write:
            return 403, {"message": "403 Forbidden"}, {}
        if asked.method == "POST" and path == listed:
            return 201, self.add(asked.document["body"]), {}
        found = re.fullmatch(one, path)
        if asked.method == edit and found:
            comment = next((c for c in self.comments if c["id"] == int(found[1])), None)
            if comment is None:
                return 404, {}, {}
            comment["body"] = asked.document["body"]
            return 200, comment, {}
        if asked.method == "POST" and re.fullmatch(r"/statuses/[0-9a-f]{40}", path):
            self.statuses.append({"sha": path[10:], **asked.document})
            return 201, {"id": 1, **asked.document}, {}
        return 404, {"message": "404 Not Found"}, {}

    def _page(self, asked: Asked) -> tuple[int, Any, dict[str, str]]:
        if self.ignores_pages:
            return 200, self.comments, {"x-total-count": str(len(self.comments))}
        size = int(asked.query.get("limit" if self.kind in ("gitea", "forgejo") else "per_page", ["20"])[0])
        page = int(asked.query.get("page", ["1"])[0])
        assert size <= (50 if self.kind in ("gitea", "forgejo") else 100)
        return 200, self.comments[(page - 1) * size : page * size], {}


@contextmanager
def forge_server(kind: str) -> Iterator[ForgeServer]:
    found = ForgeServer(kind)

    class Answer(BaseHTTPRequestHandler):
        def _any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            document = json.loads(raw) if raw else None
            asked = Asked(self.command, parts.path, parse_qs(unquote(parts.query)), headers, document)
            found.asked.append(asked)
            status, body, more = found.answer(asked)
            text = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", "content-length": str(len(text)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = _any

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
