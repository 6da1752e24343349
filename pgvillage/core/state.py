"""State: what an object is like, normalised; the same type on the desired and the live side."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar


class Unmanaged(enum.Enum):
    """Stands in a desired state for "as it is": the manifest does not say, so live decides."""

    UNMANAGED = "unmanaged"

    __hash__ = object.__hash__  # there is one; an enum's own hash is a call in Python, for every state of thousands

    def __repr__(self) -> str:
        return "UNMANAGED"


UNMANAGED = Unmanaged.UNMANAGED


@dataclass(frozen=True, slots=True)
class State:
    """Base of all states. Values are plain: str, int, bool, None, tuples, frozensets, mappings of these.

    SENSITIVE fields are shown as "changed" only and stand outside a plan's digest, because a lesser account can't see
    them and its plan must still agree with the applier's.
    """

    SENSITIVE: ClassVar[frozenset[str]] = frozenset()
    # Fields that inform needs and rendering but are no difference by themselves.
    CONTEXT: ClassVar[frozenset[str]] = frozenset()
    # Nothing but the ledger knows of it: its row holds the fields themselves, and no fingerprint.
    REMEMBERED: ClassVar[bool] = False

    def as_fields(self) -> Mapping[str, Any]:
        """The values that are compared and shown, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.CONTEXT}


_PLAIN = frozenset({str, int, bool, type(None)})  # nearly everything, and looked up in no time


def canonical(value: Any) -> str:
    """Text that is equal exactly for equal values, whatever the order of sets and mappings."""
    if type(value) in _PLAIN:
        return repr(value)
    if isinstance(value, Mapping):
        body = ",".join(f"{k}:{v}" for k, v in sorted((canonical(k), canonical(v)) for k, v in value.items()))
        return f"{{{body}}}"
    if isinstance(value, frozenset | set):
        return f"<{','.join(sorted(map(canonical, value)))}>"
    if isinstance(value, tuple | list):
        return f"[{','.join(map(canonical, value))}]"
    return repr(value)


def fingerprint(value: Any) -> str:
    """16 hex digits over `canonical(value)`."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=8).hexdigest()


def state_fingerprint(state: State) -> str:
    """The fingerprint of a state's fields, thousands of equal states computed once; REMEMBERED ones as JSON."""
    if state.REMEMBERED:
        return json.dumps(state.as_fields(), sort_keys=True)
    try:
        return _remembered(state)
    except TypeError:  # a state that holds a mapping
        return fingerprint(state.as_fields())


@lru_cache(maxsize=4096)
def _remembered(state: State) -> str:
    return fingerprint(state.as_fields())
