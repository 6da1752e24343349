"""Mattermost's form: one attachment.

Limits by its server: 16,383 characters a message (model.PostMessageMaxRunesV2), 800,000 for all attachments
(model.PostPropsMaxRunes). We stay far below, as longer ones are folded away on the screen.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgvillage.core.notice import Notice
from pgvillage.report.chat_plain import COLOURS, LINK_TEXT, Payload, as_many_as_fit, in_code, mark, size
from pgvillage.report.chat_texts import ChatText

MESSAGE = 16_383
WHOLE = 7_000


def as_mattermost(text: ChatText, notice: Notice, calls: Sequence[str] = ()) -> Payload:
    """Title and lines stand in code, where nothing in a name is formatting; who is called stands before them."""
    head = f"{mark(notice)} `{in_code(text.title)}`"

    def make(lines: Sequence[str]) -> Payload:
        parts = ["```", *map(in_code, lines), "```"] if lines else []
        parts += [f"[{LINK_TEXT}]({notice.link})"] if notice.link else []
        attachment = {
            "fallback": f"{mark(notice)} {in_code(text.title)}",
            "color": COLOURS.get(notice.severity, COLOURS["info"]),
            "text": "\n".join(parts),
        }
        first = " ".join([*(f"@{who}" for who in calls), head])
        return {"text": first, "attachments": [attachment]} if parts else {"text": first}

    return as_many_as_fit(text.lines, make, lambda payload: size(payload) <= WHOLE)
