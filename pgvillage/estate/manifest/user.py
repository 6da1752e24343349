"""Kind User: a role that logs in."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import Field, model_validator

from pgvillage.estate.manifest.common import Ensure, Metadata, ObjectName, Part, RoleAttributes, RoleName, Selector


class SecretName(Part):
    secret: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$", description="A secret of the settings.")


class Auth(Part):
    """How the user proves who they are. `certificate`, `ldap` and `none` mean that the role has no password."""

    method: Literal["scram", "certificate", "ldap", "none"]
    password: SecretName | None = None

    @model_validator(mode="after")
    def _password_fits(self) -> Auth:
        if self.method == "scram" and self.password is None:
            raise ValueError("method scram needs `password: {secret: NAME}`")
        if self.method != "scram" and self.password is not None:
            raise ValueError(f"method {self.method} has no password: remove `password` or use scram")
        return self


class UserSpec(RoleAttributes):
    role: RoleName | None = Field(None, description="The role's name; metadata.name when unset.")
    clusters: Selector
    ensure: Ensure = "present"
    login: bool = True
    auth: Auth | None = Field(None, description="The password is left alone when unset.")
    valid_until: datetime | date | None = Field(None, description="VALID UNTIL; a date ends at its midnight in UTC.")
    heir: ObjectName | None = Field(None, description="Who gets what it owns when it goes.")


class User(Part):
    """A role that logs in."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["User"]
    metadata: Metadata
    spec: UserSpec

    @property
    def role(self) -> str:
        return self.spec.role or self.metadata.name
