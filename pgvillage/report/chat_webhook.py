"""The form of plain webhooks, and its published schema (schemas/notice.json)."""

from __future__ import annotations

from collections.abc import Sequence

from pgvillage.core.notice import Notice, Told
from pgvillage.report.chat_plain import Payload
from pgvillage.report.chat_texts import KINDS, ChatText
from pgvillage.report.schema_parts import Schema, count, list_of, object_of, one_of, string

FORMAT = 1
_SEVERITIES = ("info", "warning", "error", "resolved")


def as_webhook(text: ChatText, notice: Notice, calls: Sequence[str] = ()) -> Payload:
    """Facts for programs, and the text that people get elsewhere."""
    return {
        "format_version": FORMAT,
        "event": notice.kind,
        "state": str(notice.told),
        "key": notice.key,
        "severity": notice.severity,
        "target": notice.target or None,
        "targets": list(notice.targets),
        "count": notice.count,
        "title": text.title,
        "lines": list(text.lines),
        "owner": notice.owner or None,
        "next": notice.step or None,
        "link": notice.link or None,
        "mention": list(calls),
    }


def notice_schema() -> Schema:
    """The schema of what a plain webhook is sent."""
    return object_of(
        "What a plain webhook is sent: one transition.",
        format_version={"const": FORMAT, "description": "Grows when a field changes its meaning."},
        event=one_of(KINDS, "What it is about."),
        state=one_of([told.value for told in Told], "What happened to it; corrected: undone by us."),
        key=string("Target and hash of what differs, no time in it; the end has the key that was told last."),
        severity=one_of(_SEVERITIES, "How bad it is."),
        target=string("The target; null where it is about several or none.", null=True),
        targets=list_of(string("A target."), "Of a message about several: the first of them."),
        count=count("Changes, or targets of a message about several."),
        title=string("One line.", maxLength=150),
        lines=list_of(string("A line.", maxLength=400), "What people read.", maxItems=41),
        owner=string("Who answers for it, by the labels `owner` or `team`.", null=True),
        next=string("What happens next.", null=True),
        link=string("Its page in the dashboard.", null=True),
        mention=list_of(string("As in the settings."), "Whom it is meant to call.", maxItems=10),
    )
