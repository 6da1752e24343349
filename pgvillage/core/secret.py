"""Secrets: references that are safe to show, and values that refuse to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class SecretRef:
    """The name of a secret in the settings; it says nothing about the value."""

    name: str

    def __str__(self) -> str:
        return f"secret:{self.name}"


class Secret:
    """A secret's clear text, in memory only. `reveal()` is the one way out; copies and pickles are refused."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        return self.__value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        import hmac

        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.reveal().encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never serialised")
