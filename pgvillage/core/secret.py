"""Secrets: references that are safe to show, and values that refuse to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a secret can't be had here. `generates`: its place was looked at and is empty, so an apply will fill it.

    `rotates` are the words for one that is there and due for a new value, which an apply will make.
    """

    reason: str
    generates: bool = False
    rotates: str = ""


@dataclass(frozen=True, slots=True)
class InUse:
    """Which of a user's two logins applications use, since when, and which one is about to be next; "" for none."""

    username: str
    since: datetime | None
    pending: str


@dataclass(frozen=True, slots=True)
class SecretsFound:
    """What looking for secrets by name gave: each name is in one of the two; `in_use` by the name of a rotation's."""

    values: Mapping[str, Secret] = field(default_factory=dict)
    absent: Mapping[str, Absent] = field(default_factory=dict)
    in_use: Mapping[str, InUse] = field(default_factory=dict)

    def __or__(self, other: SecretsFound) -> SecretsFound:
        return SecretsFound(
            {**self.values, **other.values}, {**self.absent, **other.absent}, {**self.in_use, **other.in_use}
        )
