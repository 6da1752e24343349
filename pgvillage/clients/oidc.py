"""OpenID Connect: discovery, the authorization code flow with PKCE, and ID tokens that are checked in full."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from pgvillage.clients.secrets import read_secret
from pgvillage.core.errors import PgVillageError
from pgvillage.settings.dashboard import Oidc

if TYPE_CHECKING:
    import httpx2
    from joserfc.jwk import KeySet

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "Ed25519", "EdDSA")
_HERE = ("127.0.0.1", "localhost", "::1")
_LEEWAY = 60  # seconds that clocks may differ
_KNOWN = 3_600.0  # seconds that discovery and keys are believed
_AGAIN = 30.0  # seconds before unknown keys are asked for again
_MAX_BYTES = 1 << 20


class OidcError(PgVillageError):
    """Signing in at the provider failed; says why, and never holds a token or code."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in under way: what must come back, and what proves that we began it."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Attempt:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class _Known:
    """What discovery said, and the keys; `at` on the monotonic clock."""

    document: Mapping[str, Any]
    keys: KeySet
    at: float


class OidcClient:
    """One provider. Raises OidcError, SecretError."""

    def __init__(self, settings: Oidc) -> None:
        self._settings = settings
        self._known: _Known | None = None

    async def discover(self) -> None:
        """Whether the provider answers as it must, keys included."""
        await self._discovered()

    async def address(self, attempt: Attempt, back: str) -> str:
        """Where the browser is sent; `back` is our own address that it comes back to."""
        document = (await self._discovered()).document
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": back,
            "scope": " ".join(self._settings.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(_endpoint(document, "authorization_endpoint"), query)

    async def claims(self, attempt: Attempt, code: str, back: str) -> Mapping[str, Any]:
        """The ID token's claims for a code, when everything about it is right."""
        known = await self._discovered()
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "client_id": self._settings.client_id,
            "code_verifier": attempt.verifier,
        }
        answer = await self._fetch("POST", _endpoint(known.document, "token_endpoint"), body)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcError("the provider sent no ID token")
        return await self._checked(token, attempt)

    async def sign_out_address(self, back: str) -> str | None:
        """None where the provider has no such end point."""
        document = (await self._discovered()).document
        if "end_session_endpoint" not in document:
            return None
        query = {"client_id": self._settings.client_id, "post_logout_redirect_uri": back}
        return _with_query(_endpoint(document, "end_session_endpoint"), query)

    async def _discovered(self, newer_than: float | None = None) -> _Known:
        """Keys that are unknown are asked for again, though not at every stranger's wish."""
        limit = time.monotonic() - _KNOWN if newer_than is None else newer_than
        if self._known is not None and self._known.at > limit:
            return self._known
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        issuer = self._settings.issuer
        document = await self._fetch("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise OidcError(f"the provider calls itself {str(document.get('issuer'))[:200]!r}, expected {issuer!r}")
        found = await self._fetch("GET", _endpoint(document, "jwks_uri"))
        try:
            keys = KeySet.import_key_set(_signing_keys(found))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OidcError(f"the provider's keys can't be read: {type(error).__name__}") from None
        self._known = _Known(document, keys, time.monotonic())
        return self._known

    async def _checked(self, token: str, attempt: Attempt) -> Mapping[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        known = await self._discovered()
        try:
            try:
                found = jwt.decode(token, known.keys, algorithms=list(_ALGORITHMS))
            except (JoseError, ValueError):
                known = await self._discovered(newer_than=time.monotonic() - _AGAIN)
                found = jwt.decode(token, known.keys, algorithms=list(_ALGORITHMS))
            rules = jwt.JWTClaimsRegistry(
                now=lambda: int(time.time()),
                leeway=_LEEWAY,
                iss={"essential": True, "value": self._settings.issuer},
                aud={"essential": True, "value": self._settings.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": attempt.nonce},
            )
            rules.validate(found.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OidcError(f"the provider's ID token is refused: {_words(error)}") from None
        claims: Mapping[str, Any] = found.claims
        self._check_party(claims)
        return claims

    def _check_party(self, claims: Mapping[str, Any]) -> None:
        """A token for several audiences says which of them asked for it."""
        audience, party = claims["aud"], claims.get("azp")
        if isinstance(audience, list) and len(audience) > 1 and party is None:
            raise OidcError("the provider's ID token is for several audiences and has no azp")
        if party is not None and party != self._settings.client_id:
            raise OidcError("the provider's ID token was made for another client")

    async def _fetch(self, method: str, url: str, body: Mapping[str, str] | None = None) -> dict[str, Any]:
        import httpx2

        _check_address(url)
        try:
            async with self._http() as client:
                headers = {"accept": "application/json", **(self._login() if body is not None else {})}
                async with client.stream(method, url, data=dict(body) if body else None, headers=headers) as answer:
                    text = b""
                    async for piece in answer.aiter_bytes():
                        text += piece
                        if len(text) > _MAX_BYTES:
                            raise OidcError("the provider's answer is too long")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise OidcError(f"the provider can't be reached: {type(error).__name__}") from None
        return _document(answer.status_code, text)

    def _http(self) -> httpx2.AsyncClient:
        import httpx2

        try:
            context = ssl.create_default_context(cafile=self._settings.ca)
        except (OSError, ssl.SSLError) as error:
            raise OidcError(f"the CA file {self._settings.ca} can't be used: {error}") from None
        return httpx2.AsyncClient(
            verify=context, timeout=self._settings.timeout, trust_env=False, follow_redirects=False
        )  # fmt: skip

    def _login(self) -> dict[str, str]:
        """Both parts are form-encoded first (RFC 6749, 2.3.1)."""
        if self._settings.client_secret is None:
            return {}
        secret = read_secret(self._settings.client_secret, "dashboard.oidc.clientSecret").reveal()
        pair = f"{quote(self._settings.client_id, safe='')}:{quote(secret, safe='')}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _signing_keys(found: Mapping[str, Any]) -> Any:
    """Without keys for encryption, and without shared secrets: a key set that has one is broken, or a trap."""
    keys = [k for k in found["keys"] if k.get("use", "sig") == "sig" and k.get("kty") in ("RSA", "EC", "OKP")]
    return {"keys": keys}


def _document(status: int, text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if status != 200:
        said = found.get("error") if isinstance(found, dict) else None
        raise OidcError(f"the provider answered {status}" + (f": {str(said)[:100]}" if said else ""))
    if not isinstance(found, dict):
        raise OidcError("the provider's answer is no JSON object")
    return found


def _endpoint(document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    if not isinstance(found, str):
        raise OidcError(f"the provider's discovery has no {name}")
    _check_address(found)
    return found


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
    except ValueError:
        good = False
    if not good:
        raise OidcError(f"{url[:200]!r}: expected https:// (http:// only on this machine)")


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _words(error: Exception) -> str:
    """What is wrong by name; texts of decoders may quote the token."""
    claim = getattr(error, "claim", "")
    name = getattr(error, "error", "") or type(error).__name__
    return f"{name} ({claim})" if claim else str(name)
