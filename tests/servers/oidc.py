"""A small OpenID provider that signs everybody in at once, keeps the rules, and breaks the one that it is told to."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "pgvillage", "s3cret/+"


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


class Provider:
    """`claims` are added to every token; `broken` changes the token before it is sent (`alter`)."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.keys = {
            "RS256": RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"}, private=True),
            "ES256": ECKey.generate_key("P-256", {"kid": "e1", "use": "sig"}, private=True),
        }
        self.algorithm = "RS256"
        self.claims: dict[str, Any] = {"preferred_username": "dana", "groups": ["dba"]}
        self.alter: Callable[[dict[str, Any]], None] = lambda claims: None
        self.forge: Callable[[dict[str, Any]], str] | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.refused: list[str] = []
        self.asked: list[str] = []

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "end_session_endpoint": f"{self.issuer}/logout",
        }

    def jwks(self) -> dict[str, Any]:
        return KeySet(list(self.keys.values())).as_dict(private=False)

    def authorize(self, query: dict[str, str]) -> str:
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT
        code = secrets.token_urlsafe()
        self.codes[code] = query
        return query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"]})

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """None refuses; a code is good once."""
        asked = self.codes.pop(form.get("code", ""), None)
        kind, _, pair = authorization.partition(" ")
        name, _, secret = base64.b64decode(pair).decode().partition(":") if kind == "Basic" else ("", "", "")
        if asked is None or (unquote(name), unquote(secret)) != (CLIENT, SECRET):
            self.refused.append("client or code")
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            self.refused.append("verifier")
            return None
        if form["redirect_uri"] != asked["redirect_uri"]:
            self.refused.append("redirect_uri")
            return None
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 300,
                  "nonce": asked["nonce"], **self.claims}  # fmt: skip
        self.alter(claims)
        made = self.forge(claims) if self.forge else self.signed(claims)
        return {"access_token": "unused", "token_type": "Bearer", "id_token": made}

    def signed(self, claims: dict[str, Any]) -> str:
        key = self.keys[self.algorithm]
        return jwt.encode({"alg": self.algorithm, "kid": key.kid}, claims, key, algorithms=[self.algorithm])

    @staticmethod
    def unsigned(claims: dict[str, Any]) -> str:
        return f"{_encoded({'alg': 'none', 'typ': 'JWT'})}.{_encoded(claims)}."


@contextmanager
def oidc_provider() -> Iterator[Provider]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            found.asked.append(parts.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            if parts.path == "/.well-known/openid-configuration":
                self._json(found.discovery())
            elif parts.path == "/jwks":
                self._json(found.jwks())
            elif parts.path == "/authorize":
                self.send_response(302)
                self.send_header("location", found.authorize(query))
                self.end_headers()
            else:
                self._json({"page": parts.path})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {key: values[0] for key, values in parse_qs(body).items()}
            answer = found.token(form, self.headers.get("authorization", ""))
            self._json(answer or {"error": "invalid_grant"}, 200 if answer else 400)

        def _json(self, document: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    found = Provider(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
