"""Microsoft Teams' form: an Adaptive Card for a Workflows webhook ("When a Teams webhook request is received").

The limit of a message is about 28 KB (learn.microsoft.com/connectors/teams); whether UTF-8 or UTF-16 is counted is not
said, so both stay below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgvillage.core.notice import Notice
from pgvillage.report.chat_plain import LINK_TEXT, Payload, as_many_as_fit, encoded, mark
from pgvillage.report.chat_texts import ChatText

WHOLE = 28_000
_OURS = 26_000
_COLOURS = {"error": "Attention", "warning": "Warning", "info": "Accent", "resolved": "Good"}


def as_teams(text: ChatText, notice: Notice, calls: Sequence[str] = ()) -> Payload:
    """Text runs, which know no Markdown; who is called stands in a block of its own."""
    colour = _COLOURS.get(notice.severity, "Default")

    def make(lines: Sequence[str]) -> Payload:
        title = _run(f"{mark(notice)} {text.title}", size="Large", weight="Bolder", color=colour)
        body = [_block(title), *(_block(_run(line, fontType="Monospace", size="Small")) for line in lines)]
        card: dict[str, Any] = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "fallbackText": text.title,
            "msteams": {"width": "Full", "entities": [_entity(who) for who in calls]},
            "body": body,
        }
        if calls:
            body.append({"type": "TextBlock", "wrap": True, "text": " ".join(f"<at>{who}</at>" for who in calls)})
        if notice.link:
            card["actions"] = [{"type": "Action.OpenUrl", "title": LINK_TEXT, "url": notice.link}]
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        return {"type": "message", "attachments": [attachment]}

    return as_many_as_fit(text.lines, make, lambda payload: largest(payload) <= _OURS)


def largest(payload: Payload) -> int:
    """Bytes in UTF-8 or UTF-16, whichever are more."""
    raw = encoded(payload)
    return max(len(raw), len(raw.decode().encode("utf-16-le")))


def _run(text: str, **look: str) -> dict[str, str]:
    return {"type": "TextRun", "text": text, **look}


def _block(run: dict[str, str]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [run], "spacing": "Small"}


def _entity(who: str) -> dict[str, Any]:
    return {"type": "mention", "text": f"<at>{who}</at>", "mentioned": {"id": who, "name": who}}
