"""Foreign data in a Database: wrappers, servers, user mappings."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from pgvillage.estate.manifest.common import Ensure, ObjectName, Part
from pgvillage.estate.manifest.user import SecretName

_WORDS = ("password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "_key", "-key")
_ENDS = "|".join("".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in word) for word in _WORDS)
_SECRET = rf"(?![\s\S]*({_ENDS})(?![\s\S])|[Kk][Ee][Yy](?![\s\S]))"
_PUBLIC_NAME = rf"^{_SECRET}[^\u0000=]+$"


def looks_secret(option: str) -> bool:
    """Whether an option of this name holds what nobody should read: `password`, `sslpassword`, `api_key`."""
    return re.match(rf"^{_SECRET}", option) is None


def _no_equals(name: str) -> str:
    if "\0" in name or "=" in name:
        raise ValueError("the name of an option can't hold `=` or a zero byte")
    return name


def _public(name: str) -> str:
    if looks_secret(name):
        raise ValueError(
            "an option of this name holds a secret: write it under `secretOptions` of a user mapping, "
            "as `{secret: NAME}` with a secret of the settings"
        )
    return _no_equals(name)


OptionName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    AfterValidator(_public),
    Field(
        description="An option's name; what holds a secret goes under `secretOptions` of a user mapping.",
        json_schema_extra={"pattern": _PUBLIC_NAME},
    ),
]
SecretOptionName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    AfterValidator(_no_equals),
    Field(description="An option's name.", json_schema_extra={"pattern": r"^[^\u0000=]+$"}),
]
OptionValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$"), Field(description="An option's value, as text.")]
OptionValues = dict[OptionName, OptionValue]


class FunctionName(Part):
    """A function in a schema."""

    schema_: ObjectName = Field(alias="schema")
    name: ObjectName


class ForeignDataWrapperSpec(Part):
    name: ObjectName
    handler: FunctionName | None = Field(None, description="Left alone when unset.")
    validator: FunctionName | None = Field(None, description="Left alone when unset.")
    extension: ObjectName | None = Field(
        None, description="The extension that brings it along; then it is never created here, only altered."
    )
    owner: ObjectName | None = Field(None, description="A superuser; left alone when unset.")
    options: OptionValues | None = Field(None, description="Exact when given.")
    comment: str | None = Field(None, description="Left alone when unset.")
    ensure: Ensure = "present"


class UserMappingSpec(Part):
    role: ObjectName = Field(description="A role, or `public` for PUBLIC.")
    options: OptionValues | None = Field(
        None, description="Exact together with `secretOptions` when one of them is given; never shown."
    )
    secret_options: dict[SecretOptionName, SecretName] | None = Field(
        None, description="Options with their values from secrets of the settings."
    )
    ensure: Ensure = "present"

    @property
    def secrets(self) -> dict[str, str]:
        """The names of secrets by option."""
        return {option: value.secret for option, value in (self.secret_options or {}).items()}


class ForeignServerSpec(Part):
    name: ObjectName
    wrapper: ObjectName = Field(description="Its foreign-data wrapper, as `postgres_fdw`. At creation only.")
    type: str | None = Field(None, min_length=1, description="At creation only; left alone when unset.")
    version: str | None = Field(None, min_length=1, description="Left alone when unset.")
    owner: ObjectName | None = Field(None, description="Left alone when unset.")
    options: OptionValues | None = Field(None, description="Exact when given.")
    comment: str | None = Field(None, description="Left alone when unset.")
    user_mappings: list[UserMappingSpec] = Field(default_factory=list, description="Others are left alone.")
    ensure: Ensure = "present"
