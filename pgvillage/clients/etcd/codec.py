"""How etcd's gateway writes things: bytes in base64, int64 as text, zero not at all."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as etcd holds it; `lease` is 0 for a key without one."""

    key: str
    value: bytes
    mod_revision: int
    create_revision: int
    lease: int
    version: int = field(default=0, compare=False)


def key_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def encoded(key: str) -> str:
    return text_of(key_bytes(key))


def after(prefix: bytes) -> bytes:
    """The first key behind all that start with `prefix`; a zero byte means to the end."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def integer(body: Mapping[str, Any], name: str) -> int:
    """int64 comes as text and zero not at all."""
    return int(body.get(name, 0))


def key_value(entry: Mapping[str, Any]) -> KeyValue:
    return KeyValue(
        key=base64.b64decode(entry["key"], validate=True).decode("utf-8", "surrogateescape"),
        value=base64.b64decode(entry.get("value", ""), validate=True),
        mod_revision=integer(entry, "mod_revision"),
        create_revision=integer(entry, "create_revision"),
        lease=integer(entry, "lease"),
        version=integer(entry, "version"),
    )
