"""Slack's form: blocks, for incoming webhooks and chat.postMessage alike.

Limits by docs.slack.dev: 50 blocks, 3,000 characters a section, 150 a header; the whole is refused as
msg_blocks_too_long from about 13,000 characters on (slackapi/bolt-js issue 2509).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pgvillage.core.notice import Notice
from pgvillage.report.chat_plain import LINK_TEXT, Payload, as_many_as_fit, mark
from pgvillage.report.chat_texts import ChatText

HEADER = 150
SECTION = 3_000
BLOCKS = 50
WHOLE = 12_000
_EVERYBODY = ("here", "channel", "everyone")
_FENCES = 6

# No backtick may end the code, no at sign call anybody: a look-alike, and a space that nobody sees.
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "\u02cb", "@": "@\u200b"}


def as_slack(text: ChatText, notice: Notice, calls: Sequence[str] = ()) -> Payload:
    """Lines stand in code, where nothing in a name is formatting."""
    head = escaped(f"{mark(notice)} {text.title}", HEADER)

    def make(lines: Sequence[str]) -> Payload:
        blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": head}}]
        blocks += [_section(f"```{part}```") for part in _sections(lines)]
        blocks += [_section(" ".join(map(_call, calls)))] if calls else []
        blocks += [_context(f"<{escaped_url(notice.link)}|{LINK_TEXT}>")] if notice.link else []
        return {"text": head, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}

    return as_many_as_fit(text.lines, make, _fits)


def escaped(text: str, limit: int) -> str:
    """Slack's form of a line, at most `limit` characters, no escape cut in two."""
    found = [_ESCAPES.get(char, char) for char in text]
    length = sum(map(len, found))
    while length >= limit:
        length -= len(found.pop())
    cut = "…" if len(found) < len(text) else ""
    return "".join(found) + cut


def escaped_url(url: str) -> str:
    """Within <…|…>: what would end it is percent-encoded; the rest comes from our settings."""
    return url.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")


def _fits(payload: Payload) -> bool:
    blocks = payload["blocks"]
    texts = [block["text"]["text"] for block in blocks if "text" in block]
    return len(blocks) <= BLOCKS and sum(map(len, texts)) <= WHOLE


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": True}]}


def _call(who: str) -> str:
    if who in _EVERYBODY:
        return f"<!{who}>"
    return f"<!subteam^{who}>" if who.startswith("S") else f"<@{who}>"


def _sections(lines: Iterable[str]) -> list[str]:
    """As few sections as hold the lines whole, fences included."""
    sections: list[str] = []
    for line in (escaped(line, SECTION - _FENCES) for line in lines):
        if sections and len(sections[-1]) + len(line) + 1 <= SECTION - _FENCES:
            sections[-1] += f"\n{line}"
        else:
            sections.append(line)
    return sections
