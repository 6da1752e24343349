"""Settings of the dashboard: who may look, who may sign in, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pgvillage.settings.common import SecretSource, Section

RoleName = Literal["viewer", "approver", "admin"]


class DashboardUser(Section):
    """Somebody who signs in with a password."""

    name: Annotated[str, StringConstraints(pattern=r"^[^\s:]{1,64}$")]
    password: SecretSource = Field(description="Where the hash is that `pgvillage password-hash` made.")
    role: RoleName = "viewer"


class OidcRoles(Section):
    """Values of the role claim that give each role; the greatest one counts, and `*` is everybody."""

    viewer: list[str] = Field(default_factory=list)
    approver: list[str] = Field(default_factory=list)
    admin: list[str] = Field(default_factory=list)


class Oidc(Section):
    """Sign-in by OpenID Connect: authorization code with PKCE."""

    issuer: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")] = Field(
        description="As the provider writes it in `iss`; https:// except on this machine."
    )
    client_id: str = Field(alias="clientId", min_length=1)
    client_secret: SecretSource | None = Field(None, alias="clientSecret", description="None for a public client.")
    scopes: list[str] = Field(default=["openid", "profile", "email"], min_length=1)
    name_claim: str = Field("preferred_username", alias="nameClaim", description="What audit and pages call people.")
    role_claim: str = Field("groups", alias="roleClaim", description="The claim that `roles` is about.")
    roles: OidcRoles
    ca: Path | None = Field(None, description="CA file that the provider's certificate must chain to.")
    timeout: float = Field(10, gt=0, le=60, description="Seconds for each request.")
    logout: bool = Field(False, description="Signing out here also signs out at the provider.")

    @model_validator(mode="after")
    def _asks_for_identity(self) -> Oidc:
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold `openid`: without it there is no ID token")
        return self


class SessionTimes(Section):
    """Seconds."""

    idle: int = Field(8 * 3600, ge=60, le=30 * 86_400, description="Signed out after so long without a request.")
    longest: int = Field(24 * 3600, ge=60, le=90 * 86_400, description="Signed out after so long in any case.")


class DashboardSettings(Section):
    """The web pages."""

    public: bool | None = Field(
        None,
        description="Whether everybody who reaches it may look without signing in; "
        "when unset, only where `serve.listen` is this machine alone.",
    )
    users: list[DashboardUser] = Field(default_factory=list)
    oidc: Oidc | None = None
    sessions: SessionTimes = SessionTimes()

    @model_validator(mode="after")
    def _one_user_a_name(self) -> DashboardSettings:
        names = [user.name for user in self.users]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"users: {', '.join(twice)} stands there twice")
        return self
