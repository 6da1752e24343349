"""What all chat services' renderers share: marks, colours, harmless text, and what fits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from pgvillage.core.notice import Notice
from pgvillage.report.words import counted

Payload = dict[str, Any]
MARKS = {"error": "🔴", "warning": "🟠", "info": "🔵", "resolved": "🟢"}
COLOURS = {"error": "#C62828", "warning": "#EF6C00", "info": "#1565C0", "resolved": "#2E7D32"}
LINK_TEXT = "Open in PgVillage"


def mark(notice: Notice) -> str:
    return MARKS.get(notice.severity, "·")


def in_code(text: str) -> str:
    """For Markdown's code: no backtick ends it, no at or number sign calls anybody or links."""
    return text.replace("`", "\u02cb").replace("@", "@\u200b").replace("#", "#\u200b")


def as_many_as_fit(
    lines: Sequence[str], make: Callable[[Sequence[str]], Payload], fits: Callable[[Payload], bool]
) -> Payload:
    """The payload of as many lines, from the first on, as the service takes; the last then says what is missing."""
    for kept in range(len(lines), -1, -1):
        missing = len(lines) - kept
        rest = [f"and {counted(missing, 'more line')}"] if missing else []
        payload = make([*lines[:kept], *rest])
        if fits(payload):
            return payload
    return make([])


def size(payload: Payload) -> int:
    """Bytes of the JSON as it is sent."""
    return len(encoded(payload))


def encoded(payload: Payload) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
