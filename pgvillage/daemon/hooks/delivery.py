"""A delivery of a webhook, what proves it, and what it says of a push."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pgvillage.core.repository_place import RepositoryPlace, repository_place

Headers = Mapping[str, str]
_NOTHING = "0"


@dataclass(frozen=True, slots=True, repr=False)
class Delivery:
    """A request as it came: header names in lower case, and the bytes that are signed."""

    headers: Headers
    body: bytes

    @property
    def identity(self) -> str:
        """Of the signed bytes alone: a header that nobody signs can't make a replay new."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True)
class Ref:
    """A ref (`refs/heads/main`) after a push."""

    name: str
    gone: bool


@dataclass(frozen=True, slots=True)
class Push:
    """What a forge says was pushed. `default_branch` is empty where the forge doesn't tell."""

    places: frozenset[RepositoryPlace]
    refs: tuple[Ref, ...]
    default_branch: str = ""


# The delivery's identity when `key` proves it, at this Unix time; None when it doesn't.
Proof = Callable[[Delivery, bytes, float], str | None]
# The push in a proven delivery; None when it tells of something else, or of nothing that can be understood.
PushOf = Callable[[Headers, Mapping[str, Any]], Push | None]


@dataclass(frozen=True, slots=True)
class HookDialect:
    proof: Proof
    push_of: PushOf


def hex_proof(header: str, prefix: str = "") -> Proof:
    """HMAC-SHA256 over the body, in hexadecimal."""

    def proof(delivery: Delivery, key: bytes, now: float) -> str | None:
        del now
        expected = prefix + hmac.new(key, delivery.body, hashlib.sha256).hexdigest()
        return delivery.identity if same(delivery.headers.get(header, ""), expected) else None

    return proof


def same(found: str, expected: str) -> bool:
    """In constant time, whatever characters a header holds."""
    return hmac.compare_digest(found.encode(errors="replace"), expected.encode())


def places(*urls: object) -> frozenset[RepositoryPlace]:
    found = (repository_place(url) for url in urls if isinstance(url, str))
    return frozenset(place for place in found if place is not None)


def ref_after(name: object, after: object) -> tuple[Ref, ...]:
    """A push to one ref; a commit of zeros means that the ref is gone."""
    if not isinstance(name, str) or not name.startswith("refs/") or not isinstance(after, str):
        return ()
    return (Ref(name, gone=not after.strip(_NOTHING)),)


def part(document: object, *path: str) -> Any:
    """What is at `path`, or None where something else than a mapping is on the way."""
    for key in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document


def text(found: object) -> str:
    return found if isinstance(found, str) else ""
