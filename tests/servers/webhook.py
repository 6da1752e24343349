"""A chat end point in the shapes of several services: remembers what was posted, and can be told to refuse.

`/slack…`, `/mattermost…`, `/teams…`, `/rocketchat…` answer as those services' webhooks do, `/api/…` as Slack's Web API;
anything else is a plain webhook.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, str, dict[str, str]]
TOKEN = "xoxb-planted-token"


class Webhook:
    def __init__(self, port: int) -> None:
        self.port = port
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.refused = 0
        self.refuses = False
        self.says: Answer | None = None  # instead of the usual answer, while it is set
        self.hangs = threading.Event()  # while it is cleared after `hang`, no answer comes
        self.hangs.set()
        self.slack: dict[str, dict[str, Any]] = {}  # messages of the bot by their time

    def of(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in list(self.posts) if where == path]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def take(self, path: str, raw: bytes, headers: Mapping[str, str]) -> Answer:
        if self.refuses or self.says is not None:
            self.refused += 1
            return self.says or (503, "", {})
        body = json.loads(raw)
        answer = self._usual(path, body, headers)
        if answer[0] < 300:
            self.posts.append((path, body))
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self.raw.append(raw)
        return answer

    def _usual(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        if path.startswith("/api/"):
            return 200, json.dumps(self._slack(path.removeprefix("/api/"), body, headers)), {}
        if path.startswith("/slack"):
            return (200, "ok", {}) if len(body.get("blocks", [])) <= 50 else (400, "invalid_blocks", {})
        if path.startswith("/teams"):
            return (202, "", {}) if body["type"] == "message" else (400, "", {})
        if path.startswith("/rocketchat"):
            return 200, '{"success":true}', {}
        return 200, "ok" if path.startswith("/mattermost") else "", {}

    def _slack(self, method: str, body: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        if body.get("channel") not in ("C0DBA", "#dba"):
            return {"ok": False, "error": "channel_not_found"}
        if method == "chat.update":
            if body["ts"] not in self.slack:
                return {"ok": False, "error": "message_not_found"}
            moment = body["ts"]
        else:
            moment = f"17000000{len(self.slack):02}.000100"
        self.slack[moment] = body
        return {"ok": True, "channel": "C0DBA", "ts": moment}


@contextmanager
def webhook() -> Iterator[Webhook]:
    class Handle(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            found.hangs.wait(30)
            status, text, headers = found.take(self.path, raw, self.headers)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(text.encode()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handle)
    found = Webhook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        found.hangs.set()
        server.shutdown()
        thread.join()
        server.server_close()
