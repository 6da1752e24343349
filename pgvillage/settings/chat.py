"""Settings of chat channels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pgvillage.settings.common import SecretSource, Section


class Webhook(Section):
    """A chat end point for drift reports."""

    url: SecretSource = Field(description="The URL is a secret: who has it can post.")
    format: Literal["json", "slack"] = "json"
