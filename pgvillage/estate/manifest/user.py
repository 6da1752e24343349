"""Kind User: a role that logs in."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from pgvillage.estate.manifest.common import (
    Ensure,
    Metadata,
    ObjectName,
    Part,
    RoleAttributes,
    RoleName,
    Selector,
    declarable_role,
    given,
    lacking,
)

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:([T ])[0-9:.+Z-]+)?")
_EXPECTED = "expected a date such as 2027-06-30, or a date and time such as 2027-06-30T12:00:00+02:00"


def _dated(value: Any) -> Any:
    # not left to pydantic: it reads a bare number as seconds since 1970, so 20270630 would be a day in August 1970
    if value is None or isinstance(value, date):
        return value
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(_EXPECTED)
    try:
        return datetime.fromisoformat(value) if match[1] else date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"no such day or time; {_EXPECTED}") from error


class SecretName(Part):
    secret: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$",
        description="The name of a secret of the settings: letters, digits, `.`, `_`, `-`.",
    )


class Rotate(Part):
    """Two login roles whose passwords are renewed by turns; the user's own role is their group."""

    every: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,3}[dh]$")] = Field(
        description="Days (`30d`) or hours (`12h`) that a login is in use, and stays valid after its turn."
    )
    roles: list[RoleName] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="The two login roles; the user's role with `_a` and `_b` at its end when unset.",
        json_schema_extra={"uniqueItems": True},
    )
    keep_login: bool = Field(
        False, description="The user's own role still logs in, with the password it has: while applications move over."
    )

    @model_validator(mode="after")
    def _two_roles(self) -> Rotate:
        if self.roles is not None and self.roles[0] == self.roles[1]:
            raise ValueError("roles are two different ones")
        return self

    @property
    def period(self) -> timedelta:
        number = int(self.every[:-1])
        return timedelta(days=number) if self.every.endswith("d") else timedelta(hours=number)


class Auth(Part):
    """How the user proves who they are. `certificate`, `ldap` and `none` mean that the role has no password."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"method": {"const": "scram"}}},
            "then": given("password"),
            "else": lacking("password", "rotate"),
        }
    )

    method: Literal["scram", "certificate", "ldap", "none"]
    password: SecretName | None = None
    rotate: Rotate | None = Field(None, description="The secret holds two logins, which are renewed by turns.")

    @model_validator(mode="after")
    def _password_fits(self) -> Auth:
        if self.method == "scram" and self.password is None:
            raise ValueError("method scram needs `password: {secret: NAME}`")
        if self.method != "scram" and self.password is not None:
            raise ValueError(f"method {self.method} has no password: remove `password` or use scram")
        if self.rotate is not None and self.password is None:
            raise ValueError(f"method {self.method} has no password to rotate: remove `rotate` or use scram")
        return self


class UserSpec(RoleAttributes):
    role: RoleName | None = Field(None, description="The role's name; metadata.name when unset.")
    clusters: Selector
    ensure: Ensure = "present"
    login: bool = True
    auth: Auth | None = Field(None, description="The password is left alone when unset.")
    valid_until: Annotated[datetime | date | None, BeforeValidator(_dated)] = Field(
        None, description="VALID UNTIL; a date ends at its midnight in UTC."
    )
    heir: ObjectName | None = Field(None, description="Who gets what it owns when it goes.")


class User(Part):
    """A role that logs in."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["User"]
    metadata: Metadata
    spec: UserSpec

    @model_validator(mode="after")
    def _role_is_declarable(self) -> User:
        declarable_role(self.role)
        return self

    @property
    def role(self) -> str:
        return self.spec.role or self.metadata.name
