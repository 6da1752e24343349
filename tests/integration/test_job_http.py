"""HTTP calls of jobs against a real server that does what servers do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pgvillage.clients.job_http import call
from pgvillage.core.job_work import HttpWork, WorkResult
from pgvillage.core.secret import Secret
from tests.servers import free_port


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/fine")
            self.end_headers()
            return
        self.send_response(503 if self.path == "/ill" else 200)
        self.end_headers()
        with suppress(OSError):
            self._body()

    def _body(self) -> None:
        if self.path == "/endless":
            while True:
                self.wfile.write(b"x" * 65_536)
        elif self.path == "/slow":
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)
        else:
            told = f"{self.headers['Idempotency-Key']} {self.headers['Authorization']}"
            self.wfile.write(told.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_: Any) -> None:
        """Nothing to stderr."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(url: str, method: str = "GET", **more: Any) -> WorkResult:
    return asyncio.run(call(HttpWork(method, url, "the-key", **more), lambda _: None))


def test_what_is_sent_and_what_counts(url: str) -> None:
    fine = ask(f"{url}/fine", headers={"Authorization": Secret("Bearer planted")})
    assert (fine.rc, fine.output, fine.error) == (0, "the-key (secret)", "")
    posted = ask(f"{url}/", "POST", body="abc", status=(201,))
    assert (posted.rc, posted.output) == (0, "cba")
    ill = ask(f"{url}/ill")
    assert (ill.rc, ill.error) == (503, "answered 503, expected 200 to 299")
    assert ask(f"{url}/ill", status=(503,)).error == ""
    assert "redirects are not followed" in ask(f"{url}/away").error


def test_an_endless_body_is_bounded_and_a_slow_one_ends_in_time(url: str) -> None:
    endless = ask(f"{url}/endless", keep=5_000)
    assert (endless.rc, endless.truncated, len(endless.output)) == (0, True, 5_000)
    slow = ask(f"{url}/slow", seconds=1)
    assert (slow.rc, slow.error, slow.uncertain) == (1, "no whole answer within 1 s", True)


def test_nobody_there() -> None:
    nobody = ask(f"http://127.0.0.1:{free_port()}/")
    assert nobody.error.startswith("nothing was sent: ")
    assert not nobody.uncertain
