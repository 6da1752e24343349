"""Where a request comes from and which server it means: proxies, host names, same-origin. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.requests import Request

from pgvillage.settings import Serve

LOCAL = ("localhost", "127.0.0.1", "::1")
_WILD = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def listens_locally(serve: Serve) -> bool:
    """Whether only this machine can reach it."""
    return host_of(serve.listen) in LOCAL


def host_of(text: str) -> str:
    """Of HOST, HOST:PORT or [HOST]:PORT, in small letters."""
    try:
        return (urlsplit(f"//{text}").hostname or "").lower()
    except ValueError:
        return ""


def is_https(serve: Serve) -> bool:
    """By the settings and no header: what people's browsers speak."""
    return serve.tls is not None or (serve.url or "").startswith("https://")


def host_is_ours(host: str, serve: Serve) -> bool:
    """Names of others are refused: a page elsewhere could point its own name here (DNS rebinding)."""
    name, listen = host_of(host), host_of(serve.listen)
    if not name:
        return False
    if name in (*LOCAL, listen, (urlsplit(serve.url).hostname or "").lower() if serve.url else listen):
        return True
    return listen in _WILD and _is_address(name)  # an address can't be rebound


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def client_address(peer: str, forwarded: Iterable[str], trusted: Iterable[str]) -> str:
    """The nearest address that is no trusted proxy's; X-Forwarded-For counts from trusted proxies alone."""
    networks = [ipaddress.ip_network(each) for each in trusted]

    def is_proxy(text: str) -> bool:
        return _is_address(text) and any(ipaddress.ip_address(text) in network for network in networks)

    hops = [hop.strip() for line in forwarded for hop in line.split(",")]
    found = peer
    while is_proxy(found) and hops and _is_address(hops[-1]):
        found = hops.pop()
    return found


def peer_of(request: Request) -> str:
    """The other end of the connection, which may be a proxy; empty where it has no address."""
    return request.client.host if request.client else ""


def address_of(request: Request, serve: Serve) -> str:
    """Where a request came from, proxies that the settings trust understood."""
    return client_address(peer_of(request), request.headers.getlist("x-forwarded-for"), serve.trusted_proxies)


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether the browser says that a form is from our own pages; a browser that says nothing is believed here.

    Where it says nothing (no Sec-Fetch-Site over plain HTTP, `Origin: null` under our referrer policy) the form's
    token decides.
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin", "null")
    try:
        return origin == "null" or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False


def safe_next(text: str) -> str:
    """Where to go after signing in: a path of ours, or the first page."""
    plain = text.startswith("/") and not text.startswith("//") and text.isprintable() and "\\" not in text
    return text if plain and len(text) < 2_000 else "/"
