"""Who asks: the session of a request, its cookie, and where it comes from."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from pgvillage.clients.state.sessions import Session
from pgvillage.daemon.actions import Role, Who
from pgvillage.daemon.dashboard.board import Board
from pgvillage.daemon.origin import address_of


@dataclass(frozen=True, slots=True, repr=False)
class Visitor:
    """`session` None: not signed in. `address` is the browser's, behind trusted proxies too."""

    address: str
    session: Session | None = None
    secret: str = ""

    @property
    def name(self) -> str:
        return self.session.who if self.session else ""

    @property
    def role(self) -> Role | None:
        return Role(self.session.role) if self.session else None

    def may(self, needed: str) -> bool:
        return self.role is not None and self.role.may(Role(needed))

    @property
    def csrf(self) -> str:
        """The session's token, written differently each time: what is compressed may not say the same twice."""
        token = self.session.csrf.encode() if self.session else b""
        mask = secrets.token_bytes(len(token))
        return (mask + bytes(a ^ b for a, b in zip(mask, token, strict=True))).hex()

    def sent(self, text: str) -> bool:
        """Whether `text` is this session's token in any writing."""
        try:
            both = bytes.fromhex(text)
        except ValueError:
            return False
        half = len(both) // 2
        token = bytes(a ^ b for a, b in zip(both[:half], both[half : 2 * half], strict=True))
        return self.session is not None and hmac.compare_digest(token, self.session.csrf.encode())

    @property
    def who(self) -> Who:
        assert self.session is not None
        return Who(self.session.who, Role(self.session.role), self.address)


def cookie_name(board: Board, purpose: str = "session") -> str:
    """With __Host- a browser takes it from no subdomain, no other path and no plain HTTP."""
    return f"__Host-pgvillage-{purpose}" if board.https else f"pgvillage-{purpose}"


def set_cookie(board: Board, response: Response, value: str, purpose: str = "session", seconds: int = 0) -> None:
    response.set_cookie(
        cookie_name(board, purpose), value, max_age=seconds or None, path="/", secure=board.https, httponly=True,
        samesite="lax",
    )  # fmt: skip


def drop_cookie(board: Board, response: Response, purpose: str = "session") -> None:
    response.delete_cookie(cookie_name(board, purpose), path="/", secure=board.https, httponly=True, samesite="lax")


async def visitor_of(board: Board, request: Request) -> Visitor:
    address = address_of(request, board.settings.serve)
    secret = request.cookies.get(cookie_name(board), "")
    if not secret:
        return Visitor(address)
    idle = board.settings.dashboard.sessions.idle
    session = await board.ask(board.state.sessions.find, secret, board.now(), idle)
    # One without a role is a sign-in under way, and nobody yet.
    return Visitor(address, session, secret) if session is not None and session.role else Visitor(address)
