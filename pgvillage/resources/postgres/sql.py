"""SQL text from hostile names: everything goes through psycopg's own quoting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

from psycopg import sql

from pgvillage.core.address import Address
from pgvillage.core.step import SecretPlace, SqlStep

T = TypeVar("T")
PUBLIC = "public"  # can't be a role's name, so it stands for PUBLIC among grantees


@lru_cache(maxsize=65536)
def ident(name: str) -> str:
    return sql.Identifier(name).as_string(None)


def qualified(*names: str) -> str:
    return ".".join(map(ident, names))


def literal(value: str) -> str:
    return sql.Literal(value).as_string(None).strip()


def grantee(name: str) -> str:
    return "PUBLIC" if name == PUBLIC else ident(name)


def idents(names: Iterable[str]) -> str:
    return ", ".join(map(ident, names))


def step(
    addresses: Address | Sequence[Address],
    *text: str | SecretPlace,
    database: str | None = None,
    transactional: bool = True,
) -> SqlStep:
    """A step of one statement, for one address or for several."""
    several = (addresses,) if isinstance(addresses, Address) else tuple(addresses)
    return SqlStep(several, text, database, transactional)


def chunks(names: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]
