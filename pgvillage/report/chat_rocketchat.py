"""Rocket.Chat's form: text and one attachment.

Its setting Message_MaxAllowedSize, 5,000 characters unless an administrator changed it, counts for webhooks too.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgvillage.core.notice import Notice
from pgvillage.report.chat_plain import COLOURS, Payload, as_many_as_fit, in_code, mark, size
from pgvillage.report.chat_texts import ChatText

WHOLE = 5_000
_OURS = 4_800


def as_rocketchat(text: ChatText, notice: Notice, calls: Sequence[str] = ()) -> Payload:
    """Title and lines stand in code; nothing is unfurled."""
    head = f"{mark(notice)} `{in_code(text.title)}`"

    def make(lines: Sequence[str]) -> Payload:
        first = " ".join([*(f"@{who}" for who in calls), head])
        payload: Payload = {"text": first, "parseUrls": False}
        if lines or notice.link:
            attachment = {"color": COLOURS.get(notice.severity, COLOURS["info"]), "collapsed": False}
            attachment |= {"title": "Open in PgVillage", "title_link": notice.link} if notice.link else {}
            attachment |= {"text": "\n".join(["```", *map(in_code, lines), "```"])} if lines else {}
            payload["attachments"] = [attachment]
        return payload

    return as_many_as_fit(text.lines, make, lambda payload: size(payload) <= _OURS)
