"""A Vault that does as the real one does for KV version 2: tokens, AppRole, namespaces, check-and-set, sealing."""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, dict[str, Any]]
DENIED: Answer = (403, {"errors": ["permission denied"]})


@dataclass
class Version:
    data: dict[str, Any] | None
    deleted: bool = False


@dataclass
class FakeVault:
    """`tokens` maps a token to the path prefixes it may read and write; an empty one allows everything."""

    url: str = ""
    namespace: str = ""
    tokens: dict[str, tuple[str, ...]] = field(default_factory=dict)
    approles: dict[str, str] = field(default_factory=dict)
    records: dict[str, list[Version]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    sealed: bool = False
    fail_next: list[int] = field(default_factory=list)
    # called before a write is judged: what somebody else does meanwhile
    meanwhile: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, **data: Any) -> None:
        self.records.setdefault(path, []).append(Version(data))

    def data(self, path: str) -> dict[str, Any]:
        found = self.records[path][-1].data
        assert found is not None
        return found

    def delete(self, path: str) -> None:
        self.records[path][-1].deleted = True

    def answer(self, method: str, path: str, headers: Any, body: Any) -> Answer:
        if self.fail_next:
            return self.fail_next.pop(0), {"errors": ["try again"]}
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if (headers.get("X-Vault-Namespace") or "").strip("/") != self.namespace:
            return DENIED
        if path == "/v1/auth/approle/login" and method == "POST":
            return self._login(body)
        token = headers.get("X-Vault-Token")
        if token not in self.tokens:
            return DENIED
        if not path.startswith("/v1/secret/data/"):
            text = f'no handler for route "{path[4:]}". route entry not found.'
            return 404, {"errors": [text]}
        name = path.removeprefix("/v1/secret/data/")
        allowed = self.tokens[token]
        if allowed and not name.startswith(allowed):
            return DENIED
        return self._read(name) if method == "GET" else self._write(name, body)

    def _login(self, body: Any) -> Answer:
        if self.approles.get(body.get("role_id")) != body.get("secret_id"):
            return 400, {"errors": ["invalid role or secret ID"]}
        token = f"hvs.{secrets.token_hex(8)}"
        self.tokens[token] = ()
        return 200, {"auth": {"client_token": token, "lease_duration": 600, "renewable": True}}

    def _read(self, name: str) -> Answer:
        versions = self.records.get(name)
        if not versions:
            return 404, {"errors": []}
        newest = versions[-1]
        metadata = {"version": len(versions), "destroyed": False, "deletion_time": ""}
        if newest.deleted:
            metadata["deletion_time"] = "2026-01-01T00:00:00Z"
            return 404, {"data": {"data": None, "metadata": metadata}}
        return 200, {"data": {"data": newest.data, "metadata": metadata}}

    def _write(self, name: str, body: Any) -> Answer:
        if self.meanwhile:
            act, self.meanwhile = self.meanwhile, None
            act()
        with self.lock:
            versions = self.records.setdefault(name, [])
            cas = (body.get("options") or {}).get("cas")
            if cas is not None and cas != len(versions):
                return 400, {"errors": ["check-and-set parameter did not match the current version"]}
            versions.append(Version(body["data"]))
            return 200, {"data": {"version": len(versions), "destroyed": False, "deletion_time": ""}}


@contextmanager
def fake_vault(certificate: tuple[Path, Path] | None = None) -> Iterator[FakeVault]:
    """`certificate` is a pair of PEM files, certificate and key, for https."""
    vault = FakeVault()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            vault.requests.append((self.command, self.path))
            status, found = vault.answer(self.command, self.path, self.headers, body)
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    vault.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield vault
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
