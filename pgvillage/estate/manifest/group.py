"""Kind Group: a role that others are members of."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from pgvillage.core.ldap_filter import InvalidFilter, parse_filter
from pgvillage.estate.manifest.common import (
    Ensure,
    MemberOf,
    Metadata,
    ObjectName,
    Part,
    RoleAttributes,
    RoleName,
    Selector,
    declarable_role,
    exactly_one,
    given,
    lacking,
)

_FIELD = re.compile(r"\{([A-Za-z][A-Za-z0-9-]*)\}")


@lru_cache(maxsize=1024)  # asked for every member of every group
def template_attributes(template: str) -> tuple[str, ...]:
    """The directory attributes that a role's name template uses, in lower case, sorted."""
    return tuple(sorted({name.lower() for name in _FIELD.findall(template)}))


def fill_template(template: str, attributes: dict[str, str]) -> str:
    """The role's name for one member; `attributes` by lower-case name."""
    return _FIELD.sub(lambda match: attributes[match[1].lower()], template)


def _template(text: str) -> str:
    rest = _FIELD.sub("", text)
    if "{" in rest or "}" in rest:
        raise ValueError("braces hold an attribute's name, for example {uid}")
    if not _FIELD.search(text):
        raise ValueError(
            "the template names no attribute, so every member would be the same role; expected {uid} or such"
        )
    return text


def _filter(text: str) -> str:
    try:
        parse_filter(text)
    except InvalidFilter as error:
        raise ValueError(f"not an LDAP filter: {error}") from None
    return text


LdapFilter = Annotated[str, AfterValidator(_filter)]


class Search(Part):
    """People by a search, where no group holds them."""

    base: str | None = Field(None, description="The DN to search below; the directory's base when unset.")
    filter: LdapFilter = Field(
        description="An LDAP filter (RFC 4515) for the people.", json_schema_extra={"pattern": r"^\(.+\)$"}
    )


class DropAfter(Part):
    """What happens to a role that the directory no longer names: NOLOGIN at once, dropped later if asked."""

    drop: Annotated[str, StringConstraints(pattern=r"^(never|after [1-9][0-9]{0,4}d)$")] = Field(
        "never", description="`never`, or `after 30d` (a number of days)."
    )
    heir: ObjectName | None = None

    @property
    def days(self) -> int | None:
        return None if self.drop == "never" else int(self.drop.removeprefix("after ").removesuffix("d"))


class Members(Part):
    """Who is in the group, exactly: roles by name, or the members of a directory's group."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                exactly_one("roles", "directory"),
                {
                    "if": given("directory"),
                    "then": exactly_one("group", "search"),
                    "else": lacking("group", "search", "filter"),
                },
                {"if": given("search"), "then": lacking("filter")},
            ]
        }
    )

    roles: list[ObjectName] | None = None
    directory: str | None = Field(None, description="A directory of the settings.")
    group: str | None = Field(None, description="The group's DN.")
    search: Search | None = None
    nested: bool = Field(False, description="Follow groups in the group, at any depth.")
    filter: LdapFilter | None = Field(
        None,
        description="An LDAP filter (RFC 4515) that people of the group must fit.",
        json_schema_extra={"pattern": r"^\(.+\)$"},
    )
    disabled: Literal["leave", "keep"] = Field(
        "leave", description="A disabled or expired account leaves the group, or keeps its place in it."
    )
    on_problem: Literal["warn", "fail", "ignore"] = Field(
        "warn",
        description="A member that can't be a role (outside the base, gone, without the template's attribute) is left "
        "out with a warning, makes the whole group unanswered, or is left out in silence.",
    )
    role: Annotated[str, AfterValidator(_template)] = Field(
        "{uid}",
        description="The role's name, with attributes of the entry in braces, such as {uid}.",
        json_schema_extra={"pattern": r"^[^{}]*(\{[A-Za-z][A-Za-z0-9-]*\}[^{}]*)+$"},
    )
    case: Literal["lower", "keep"] = "lower"
    member_of: MemberOf = Field(default_factory=list, description="Further roles that each of these people gets.")
    connection_limit: int = Field(-1, ge=-1, le=2_147_483_647)
    on_leave: DropAfter = DropAfter()
    max: int | None = Field(None, ge=1, description="More members than this are refused as a mistake.")

    @model_validator(mode="after")
    def _one_place(self) -> Members:
        if (self.roles is None) == (self.directory is None):
            raise ValueError("members come from exactly one of: roles, directory")
        if self.directory is None and any(one is not None for one in (self.group, self.search, self.filter)):
            raise ValueError("group, search and filter go with a directory")
        if self.directory is not None and (self.group is None) == (self.search is None):
            raise ValueError("people of a directory come from exactly one of: group, search")
        if self.search is not None and self.filter is not None:
            raise ValueError("a search has its filter in search.filter")
        return self


class GroupSpec(RoleAttributes):
    role: RoleName | None = Field(None, description="The role's name; metadata.name when unset.")
    clusters: Selector
    ensure: Ensure = "present"
    login: bool = False
    members: Members | None = Field(None, description="Exact when given; left alone when unset.")
    heir: ObjectName | None = None


class Group(Part):
    """A role that others are members of."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["Group"]
    metadata: Metadata
    spec: GroupSpec

    @model_validator(mode="after")
    def _role_is_declarable(self) -> Group:
        declarable_role(self.role)
        return self

    @property
    def role(self) -> str:
        return self.spec.role or self.metadata.name
