"""Transactions: comparisons, and what is done when all of them hold or one does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pgvillage.clients.etcd.codec import KeyValue, after, encoded, integer, key_bytes, key_value, text_of

# the gateway's own documents spell the fields of a request this way; another spelling compares nothing, silently
_FIELDS = {"VERSION": "version", "CREATE": "createRevision", "MOD": "modRevision", "LEASE": "lease"}


@dataclass(frozen=True, slots=True)
class Compare:
    """One comparison of a key, or with `prefix` of every key that begins with it (none there: holds as for zero)."""

    key: str
    target: Literal["VERSION", "CREATE", "MOD", "LEASE", "VALUE"]
    value: int | bytes
    result: Literal["EQUAL", "NOT_EQUAL", "GREATER", "LESS"] = "EQUAL"
    prefix: bool = False

    @classmethod
    def absent(cls, key: str, *, prefix: bool = False) -> Compare:
        return cls(key, "CREATE", 0, prefix=prefix)

    def body(self) -> dict[str, object]:
        found = {"target": self.target, "result": self.result} | _span(self.key, prefix=self.prefix)
        if isinstance(self.value, bytes):
            return found | {"value": text_of(self.value)}
        return found | {_FIELDS[self.target]: str(self.value)}


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: bytes
    lease: int = 0

    def body(self) -> dict[str, object]:
        put: dict[str, object] = {"key": encoded(self.key), "value": text_of(self.value)}
        return {"requestPut": put | ({"lease": str(self.lease)} if self.lease else {})}


@dataclass(frozen=True, slots=True)
class Delete:
    key: str
    prefix: bool = False

    def body(self) -> dict[str, object]:
        return {"requestDeleteRange": _span(self.key, prefix=self.prefix)}


@dataclass(frozen=True, slots=True)
class Range:
    key: str
    prefix: bool = False

    def span(self) -> dict[str, object]:
        return _span(self.key, prefix=self.prefix)

    def body(self) -> dict[str, object]:
        return {"requestRange": self.span()}


Operation = Put | Delete | Range


@dataclass(frozen=True, slots=True)
class TxnAnswer:
    """`results` answer the operations of the branch that ran, in their order: keys found, or how many were deleted.

    `revision` is the cluster's after it: the create_revision of a key that the transaction made.
    """

    succeeded: bool
    revision: int
    results: tuple[tuple[KeyValue, ...] | int, ...] = ()

    def found(self, at: int = 0) -> KeyValue | None:
        """The first key of the range that stands at this place."""
        result = self.results[at]
        return result[0] if isinstance(result, tuple) and result else None


def txn_body(
    compare: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation]
) -> dict[str, object]:
    return {
        "compare": [each.body() for each in compare],
        "success": [each.body() for each in then],
        "failure": [each.body() for each in otherwise],
    }


def txn_answer(body: Mapping[str, Any]) -> TxnAnswer:
    """Raises ValueError, TypeError, KeyError or AttributeError for what is no answer of etcd's."""
    return TxnAnswer(
        succeeded=body.get("succeeded") is True,
        revision=integer(body.get("header") or {}, "revision"),
        results=tuple(_result(entry) for entry in body.get("responses", ())),
    )


def _result(entry: Mapping[str, Any]) -> tuple[KeyValue, ...] | int:
    ((kind, found),) = entry.items()
    if kind == "response_range":
        return tuple(key_value(each) for each in found.get("kvs", ()))
    return integer(found, "deleted")


def _span(key: str, *, prefix: bool) -> dict[str, object]:
    if not prefix:
        return {"key": encoded(key)}
    return {"key": text_of(key_bytes(key) or b"\0"), "rangeEnd": text_of(after(key_bytes(key)))}
