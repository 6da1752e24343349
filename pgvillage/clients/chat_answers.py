"""What chat services answer, in words, and whether trying again has a sense."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pgvillage.core.errors import PgVillageError

_LONGEST = 3600.0  # seconds that a service can make us wait
_SHOWN = 160


class Fault(enum.StrEnum):
    """LATER: it did not arrive, try again. UNSURE: it may have. BROKEN: a person must mend the channel.

    REFUSED: this message will never be taken, others may.
    """

    LATER = "later"
    UNSURE = "unsure"
    BROKEN = "broken"
    REFUSED = "refused"


class NotDelivered(PgVillageError):
    """`after` is in seconds, as the service asked; `word` is its own name of the error."""

    def __init__(self, channel: str, fault: Fault, words: str, after: float | None = None, word: str = "") -> None:
        self.fault, self.words, self.after, self.word = fault, words, after, word
        super().__init__(f"channel {channel!r}: {words}: the message was not delivered")


@dataclass(frozen=True, slots=True)
class Answer:
    """`secrets` are pieces of the URL that must not be shown, should the service repeat them."""

    status: int
    text: str
    retry_after: str = ""
    host: str = ""
    secrets: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        text = "".join(char if char.isprintable() else " " for char in self.text[: 4 * _SHOWN])
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text.strip()[:_SHOWN]


@dataclass(frozen=True, slots=True)
class Delivered:
    """`reference` is how the service calls the message, "" where it doesn't say; `answer` is what it said."""

    reference: str
    answer: str


_GONE = "the webhook was revoked or the channel is gone: make a new one and put its URL where the settings read it"
# By the service's own word, for Slack's webhooks and its API.
_SLACK: Mapping[str, tuple[Fault, str]] = {
    "invalid_auth": (Fault.BROKEN, "Slack does not know the token: copy the bot's token (xoxb-…) again"),
    "not_authed": (Fault.BROKEN, "Slack saw no token"),
    "account_inactive": (Fault.BROKEN, "the token's bot was deleted or switched off"),
    "token_revoked": (Fault.BROKEN, "the token was revoked: install the app again"),
    "token_expired": (Fault.BROKEN, "the token has expired"),
    "invalid_token": (Fault.BROKEN, _GONE),
    "missing_scope": (Fault.BROKEN, "the bot may not post: give it the scope chat:write and install the app again"),
    "channel_not_found": (Fault.BROKEN, "Slack knows no such channel, or it is private and the bot is no member"),
    "not_in_channel": (Fault.BROKEN, "the bot is no member of the channel: /invite it there"),
    "is_archived": (Fault.BROKEN, "the channel is archived"),
    "channel_is_archived": (Fault.BROKEN, "the channel is archived"),
    "restricted_action": (Fault.BROKEN, "the workspace does not let the bot post there"),
    "action_prohibited": (Fault.BROKEN, "the workspace does not let the webhook post there"),
    "posting_to_general_channel_denied": (Fault.BROKEN, "only some may post to the general channel"),
    "no_service": (Fault.BROKEN, _GONE),
    "no_service_id": (Fault.BROKEN, _GONE),
    "no_team": (Fault.BROKEN, "the workspace is gone"),
    "team_disabled": (Fault.BROKEN, "the workspace is switched off"),
    "user_not_found": (Fault.BROKEN, "the webhook's user is gone: make a new webhook"),
    "message_not_found": (Fault.REFUSED, "the message to update is gone"),
    "cant_update_message": (Fault.REFUSED, "the message to update is not ours"),
    "edit_window_closed": (Fault.REFUSED, "the message is too old to be updated"),
    "invalid_payload": (Fault.REFUSED, "Slack does not take the form of this message"),
    "invalid_blocks": (Fault.REFUSED, "Slack does not take the form of this message"),
    "invalid_blocks_format": (Fault.REFUSED, "Slack does not take the form of this message"),
    "msg_too_long": (Fault.REFUSED, "the message is too long for Slack"),
    "msg_blocks_too_long": (Fault.REFUSED, "the message is too long for Slack"),
    "no_text": (Fault.REFUSED, "Slack sees no text in this message"),
    "ratelimited": (Fault.LATER, "too many messages at a time"),
    "rate_limited": (Fault.LATER, "too many messages at a time"),
}
_BY_STATUS: Mapping[int, tuple[Fault, str]] = {
    400: (Fault.REFUSED, "the service does not take the form of this message"),
    401: (Fault.BROKEN, "the service does not know the webhook's secret"),
    403: (Fault.BROKEN, "the service does not let us post there"),
    404: (Fault.BROKEN, _GONE),
    405: (Fault.BROKEN, "this URL takes no posts: it is no incoming webhook"),
    408: (Fault.LATER, "the service waited too long"),
    410: (Fault.BROKEN, _GONE),
    413: (Fault.REFUSED, "the message is too large for the service"),
    415: (Fault.REFUSED, "the service takes no JSON"),
    422: (Fault.REFUSED, "the service does not take the form of this message"),
    429: (Fault.LATER, "too many messages at a time"),
}


def judged(name: str, service: str, answer: Answer) -> Delivered:
    """Raises NotDelivered."""
    document = _document(answer.text)
    word = _word(service, answer, document)
    if not word and 200 <= answer.status < 300:
        return Delivered(_reference(document), f"{answer.status} {answer.shown}".strip())
    fault, words = _SLACK.get(word) or _BY_STATUS.get(answer.status) or _other(answer)
    said = f" (it answered {answer.status}{f' {word}' if word in _SLACK else ''})"
    raise NotDelivered(name, fault, words + said, _after(answer.retry_after), word)


def _word(service: str, answer: Answer, document: Mapping[str, Any]) -> str:
    """The service's own word for an error, "" for none; services say no also with a status of success."""
    text = answer.text.strip()
    if service == "slack-bot" and answer.status < 300:
        return "" if document.get("ok") is True else str(document.get("error") or "unknown answer")
    if service == "slack":
        return "" if answer.status < 300 else text
    if service == "rocketchat" and document.get("success") is False:
        return "not taken"
    if service == "teams" and answer.status < 300 and "delivery failed" in text:
        return "not taken"
    return ""


def _other(answer: Answer) -> tuple[Fault, str]:
    if 300 <= answer.status < 400:
        return Fault.BROKEN, "the service sends us elsewhere, and a secret URL is not followed there"
    if answer.status < 300:
        return Fault.LATER, f"the service did not take it: {answer.shown}"
    return (Fault.LATER if answer.status >= 500 else Fault.BROKEN), "the service has a problem"


def _document(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reference(document: Mapping[str, Any]) -> str:
    """`CHANNEL:TIME` of a message that a Slack bot posted."""
    channel, moment = document.get("channel"), document.get("ts")
    return f"{channel}:{moment}" if isinstance(channel, str) and isinstance(moment, str) else ""


def _after(text: str) -> float | None:
    """Retry-After in seconds: a number or a date; an hour at most."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _LONGEST) if seconds == seconds else None  # noqa: PLR0124 - NaN
