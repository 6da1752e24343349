"""A notice in the form of a channel's service."""

from __future__ import annotations

from collections.abc import Mapping

from pgvillage.core.notice import Notice, Told
from pgvillage.report.chat_mattermost import as_mattermost
from pgvillage.report.chat_plain import Payload
from pgvillage.report.chat_rocketchat import as_rocketchat
from pgvillage.report.chat_slack import as_slack
from pgvillage.report.chat_teams import as_teams
from pgvillage.report.chat_texts import ChatText, chat_text
from pgvillage.report.chat_webhook import as_webhook
from pgvillage.settings import Channel

_FORMS = {
    "slack": as_slack,
    "mattermost": as_mattermost,
    "teams": as_teams,
    "rocketchat": as_rocketchat,
    "webhook": as_webhook,
}
_CALLING = {"error": ("error",), "warning": ("error", "warning")}


def payload_of(channel: Channel, notice: Notice, own: Mapping[str, str] | None = None) -> tuple[Payload, ChatText]:
    """What the service is sent, and the text in it; `own` are the templates of the channel's folder."""
    text = chat_text(notice, own)
    return _FORMS[channel.service](text, notice, whom(channel, notice)), text


def whom(channel: Channel, notice: Notice) -> list[str]:
    """Who is called: by what begins or gets worse, never by what ends or is a test."""
    if channel.mention is None or notice.kind == "test" or notice.told not in (Told.OPENED, Told.ESCALATED):
        return []
    return channel.mention.who if notice.severity in _CALLING[channel.mention.severity] else []
