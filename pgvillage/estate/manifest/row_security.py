"""Row security, event triggers and ownership of what a Database holds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonValue

from pgvillage.estate.manifest.common import Ensure, ObjectName, Part, given, lacking
from pgvillage.estate.manifest.qualified_name import QualifiedName
from pgvillage.estate.manifest.replication import Expression

_ONLY_CHECK: JsonValue = {
    "if": {"required": ["command"], "properties": {"command": {"const": "insert"}}},
    "then": lacking("using"),
}
_ONLY_USING: JsonValue = {
    "if": {"required": ["command"], "properties": {"command": {"enum": ["select", "delete"]}}},
    "then": lacking("withCheck"),
}
_SOMETHING: JsonValue = {
    "if": {"required": ["ensure"], "properties": {"ensure": {"const": "absent"}}},
    "then": True,
    "else": {"anyOf": [given("using"), given("withCheck")]},
}


class PolicySpec(Part):
    """One policy: who may see (`using`) and write (`withCheck`) which rows."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_ONLY_CHECK, _ONLY_USING, _SOMETHING]})

    name: ObjectName
    command: Literal["all", "select", "insert", "update", "delete"] = "all"
    permissive: bool = Field(True, description="false is a restrictive policy: it narrows what others allow.")
    roles: list[ObjectName] = Field(
        default_factory=lambda: ["public"], min_length=1, description="Whom it is for; `public` is everybody."
    )
    using: Expression | None = None
    with_check: Expression | None = None
    comment: str | None = Field(None, description="Left alone when unset.")
    ensure: Ensure = "present"

    @model_validator(mode="after")
    def _fits_its_command(self) -> PolicySpec:
        if self.command == "insert" and self.using is not None:
            raise ValueError("a policy for insert has `withCheck` and no `using`")
        if self.command in ("select", "delete") and self.with_check is not None:
            raise ValueError(f"a policy for {self.command} has `using` and no `withCheck`")
        if self.ensure == "present" and self.using is None and self.with_check is None:
            raise ValueError("a policy needs an expression: `using`, `withCheck` or both")
        return self


class RowSecuritySpec(Part):
    """Row security of one table."""

    table: QualifiedName
    enabled: bool = True
    forced: bool = Field(False, description="It holds for the table's owner too.")
    policies: list[PolicySpec] = Field(default_factory=list)
    exact: bool = Field(False, description="Policies of this table that are not written here are drift.")


CommandTag = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]+( [A-Z]+)*$"),
    Field(description="A command in capitals, such as `CREATE TABLE`."),
]


class EventTriggerSpec(Part):
    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                {
                    "if": {"required": ["ensure"], "properties": {"ensure": {"const": "absent"}}},
                    "then": True,
                    "else": given("event", "function"),
                },
                {
                    "if": {"required": ["event"], "properties": {"event": {"const": "login"}}},
                    "then": {"properties": {"tags": {"maxItems": 0}}},
                },
            ]
        }
    )

    name: ObjectName
    event: Literal["ddl_command_start", "ddl_command_end", "table_rewrite", "sql_drop", "login"] | None = None
    tags: list[CommandTag] = Field(
        default_factory=list, description="Only these commands, as `CREATE TABLE`; every one when empty."
    )
    function: QualifiedName | None = None
    owner: ObjectName | None = Field(None, description="A superuser; left alone when unset.")
    enabled: Literal["origin", "replica", "always", "disabled"] = "origin"
    comment: str | None = Field(None, description="Left alone when unset.")
    ensure: Ensure = "present"

    @model_validator(mode="after")
    def _whole(self) -> EventTriggerSpec:
        if self.ensure == "present" and (self.event is None or self.function is None):
            raise ValueError("an event trigger needs `event` and `function`")
        if self.event == "login" and self.tags:
            raise ValueError("an event trigger for login has no `tags`")
        return self


OwnedClass = Literal["table", "view", "sequence", "function", "procedure", "type"]
OWNED_CLASSES: tuple[OwnedClass, ...] = ("table", "view", "sequence", "function", "procedure", "type")


class OwnershipSpec(Part):
    """Whose the objects of these schemas are, those to come too."""

    owner: ObjectName
    schemas: list[ObjectName] = Field(min_length=1)
    objects: list[OwnedClass] = Field(
        default_factory=lambda: list(OWNED_CLASSES),
        min_length=1,
        description="`table` reaches partitioned and foreign ones, `view` materialised ones, `function` aggregates.",
    )
    except_: list[ObjectName] = Field(
        default_factory=list, alias="except", description="Objects of these names are left alone."
    )
