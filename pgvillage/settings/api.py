"""Settings of the JSON API."""

from __future__ import annotations

import enum

from pydantic import Field, model_validator

from pgvillage.settings.common import Name, SecretSource, Section


class Scope(enum.StrEnum):
    """What a token may do; none includes another."""

    READ = "read"
    RECONCILE = "reconcile"
    APPROVE = "approve"
    SUSPEND = "suspend"
    AUDIT = "audit"


class TokenTargets(Section):
    labels: dict[str, str] = Field(min_length=1, description="Only targets with all of these labels.")


class ApiToken(Section):
    """A program's, or a person's on the command line."""

    name: Name = Field(description="How the audit calls who has it.")
    secret: SecretSource = Field(description="The token itself, 20 characters or more.")
    scopes: list[Scope] = Field(min_length=1, description="What it may do; none includes another.")
    targets: TokenTargets | None = Field(None, description="Every target when unset.")


class Api(Section):
    """The JSON API."""

    tokens: list[ApiToken] = Field(default_factory=list)
    anonymous_read: bool | None = Field(
        None,
        alias="anonymousRead",
        description="Whether everybody who reaches it may read without a token (never the audit); "
        "when unset, only where `serve.listen` is this machine alone.",
    )

    @model_validator(mode="after")
    def _one_token_a_name(self) -> Api:
        names = [token.name for token in self.tokens]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tokens: {', '.join(twice)} stands there twice")
        return self
