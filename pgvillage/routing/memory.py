"""What the routing API remembers of a group over its own end: identity, newest timeline, and nodes in doubt. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Doubt:
    """A node that said it is a primary and can't be one. `since` is in ISO 8601."""

    node: str
    timeline: int
    system: str
    why: str
    since: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one group. `leader` is the node that was last named as the primary, on `timeline`."""

    system: str = ""
    timeline: int = 0
    leader: str = ""
    doubts: Mapping[str, Doubt] = field(default_factory=dict)


def written(memories: Mapping[str, Memory]) -> str:
    groups = {
        name: {
            "system": memory.system,
            "timeline": memory.timeline,
            "leader": memory.leader,
            "doubts": [
                {"node": d.node, "timeline": d.timeline, "system": d.system, "why": d.why, "since": d.since}
                for _, d in sorted(memory.doubts.items())
            ],
        }
        for name, memory in sorted(memories.items())
    }
    return json.dumps({"format": _FORMAT, "groups": groups}, ensure_ascii=False, indent=1) + "\n"


def read(text: str) -> dict[str, Memory]:
    """Raises ValueError for what `written` did not make."""
    try:
        found = json.loads(text)
        if found["format"] != _FORMAT:
            raise ValueError(f"format {found['format']!r}, expected {_FORMAT}")
        return {_text(name): _memory(each) for name, each in found["groups"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not what the routing API writes ({type(error).__name__}: {error})") from None


def _memory(found: Any) -> Memory:
    doubts = {}
    for each in found["doubts"]:
        words = {key: _text(each[key]) for key in ("node", "system", "why", "since")}
        doubts[words["node"]] = Doubt(timeline=_number(each["timeline"]), **words)
    return Memory(_text(found["system"]), _number(found["timeline"]), _text(found["leader"]), doubts)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected a whole number")
    return value
