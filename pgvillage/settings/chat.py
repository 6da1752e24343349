"""Settings of chat channels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from pgvillage.settings.common import SecretSource, Section

Service = Literal["slack", "mattermost", "teams", "rocketchat", "webhook"]


class Mention(Section):
    """Whom messages call, from which severity on; nothing else in a message ever calls anybody."""

    who: list[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,120}$")]] = Field(
        min_length=1,
        max_length=10,
        description="Slack: member ids (U…, W…), group ids (S…), `here`, `channel`. Mattermost and Rocket.Chat: names, "
        "`here`, `all`. Teams: user principal names. Plain webhooks get the list as it is.",
    )
    severity: Literal["error", "warning"] = Field("error", description="The least that calls.")


def _schema(schema: dict[str, Any]) -> None:
    """What the validator below says, for editors."""
    bot = {
        "required": ["token", "channel"],
        "properties": {"service": {"const": "slack"}},
        "not": {"required": ["url"]},
    }
    post = {"required": ["url"], "not": {"anyOf": [{"required": ["token"]}, {"required": ["channel"]}]}}
    signed = {"properties": {"service": {"const": "webhook"}}}
    schema["oneOf"] = [bot, post]
    schema["dependentSchemas"] = {"secret": signed}


class Channel(Section):
    """Where messages go: an incoming webhook of a chat service, a Slack bot, or a webhook of your own."""

    model_config = ConfigDict(json_schema_extra=_schema)

    service: Service
    url: SecretSource | None = Field(
        None, description="The incoming webhook; a secret, as who has it can post. https://, http:// on this machine."
    )
    token: SecretSource | None = Field(
        None, description="A Slack bot's token (xoxb-…) with chat:write: messages are then updated in place."
    )
    channel: Annotated[str, StringConstraints(pattern=r"^[#A-Za-z0-9][^\s]{0,90}$")] | None = Field(
        None, description="The bot's channel: its id (C…), or #name."
    )
    api: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/[^\s]*)?$")] = Field(
        "https://slack.com/api", description="Slack's API, for a bot behind a gateway."
    )
    secret: SecretSource | None = Field(
        None, description="Signs plain webhooks: HMAC-SHA256 over time and body, in X-PgVillage-Signature."
    )
    templates: Path | None = Field(None, description="Folder of templates that replace ours, one a kind of message.")
    mention: Mention | None = None
    escalate: float = Field(24, ge=0, description="Hours after which open drift is told again, once; 0: never.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.url is not None and (self.token is not None or self.channel is not None):
            raise ValueError("a channel has either `url` (incoming webhook), or `token` and `channel` (Slack bot)")
        if self.url is None and (self.token is None or self.channel is None):
            raise ValueError("a channel needs `url` (incoming webhook), or `token` and `channel` (Slack bot)")
        if self.token is not None and self.service != "slack":
            raise ValueError("`token` is for Slack bots: the other services take `url`, an incoming webhook")
        if self.secret is not None and self.service != "webhook":
            raise ValueError("`secret` signs messages of `service: webhook`; chat services know no signature")
        return self
