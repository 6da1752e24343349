"""Logical replication in a Database: publications and subscriptions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonValue

from pgvillage.estate.manifest.common import Ensure, ObjectName, Part
from pgvillage.estate.manifest.qualified_name import QualifiedName
from pgvillage.estate.manifest.user import SecretName
from pgvillage.settings import SslMode

Published = Literal["insert", "update", "delete", "truncate"]
PUBLISHED: tuple[Published, ...] = ("insert", "update", "delete", "truncate")
Expression = Annotated[
    str,
    StringConstraints(min_length=1, pattern=r"^[^\x00]*$"),
    Field(description="An SQL expression; names of functions and types with their schema."),
]
OptionText = Annotated[
    str, StringConstraints(pattern=r"^[^\x00]*$"), Field(description="Any text without a zero byte.")
]
SlotName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9_]{1,63}$"),
    Field(description="Lower-case letters, digits and `_`; at most 63."),
]
_ELSEWHERE = (
    "password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key",
    "passfile", "service", "servicefile",
)  # fmt: skip
_OWN_KEYS = ("host", "port", "dbname", "user", "sslmode")
_REFUSED: JsonValue = {"enum": [*_ELSEWHERE, *_OWN_KEYS]}
OptionName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z_]{0,62}$"),
    Field(
        description="A parameter of libpq's connection strings that holds no secret.",
        json_schema_extra={"not": _REFUSED},
    ),
]


class PublishedTable(Part):
    """A table with a column list or a row filter; both since PostgreSQL 15."""

    table: QualifiedName
    columns: list[ObjectName] | None = Field(None, min_length=1, description="Only these columns; all when unset.")
    where: Expression | None = Field(None, description="Only rows for which this is true.")


class PublicationSpec(Part):
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["allTables"], "properties": {"allTables": {"const": True}}},
            "then": {"properties": {"tables": {"maxItems": 0}, "schemas": {"maxItems": 0}}},
        }
    )

    name: ObjectName
    owner: ObjectName | None = Field(None, description="Left alone when unset.")
    all_tables: bool = Field(False, description="FOR ALL TABLES: those to come too.")
    tables: list[QualifiedName | PublishedTable] = Field(default_factory=list)
    schemas: list[ObjectName] = Field(
        default_factory=list, description="TABLES IN SCHEMA, those to come too; since PostgreSQL 15."
    )
    publish: list[Published] = Field(
        default_factory=lambda: list(PUBLISHED), description="What is sent; all when unset."
    )
    via_root: bool = Field(False, description="Changes of partitions as changes of their root table.")
    comment: str | None = Field(None, description="Left alone when unset.")
    ensure: Ensure = "present"

    @model_validator(mode="after")
    def _all_or_some(self) -> PublicationSpec:
        if self.all_tables and (self.tables or self.schemas):
            raise ValueError("`allTables: true` publishes everything: leave `tables` and `schemas` out")
        return self


class SubscribedServer(Part):
    """Where the publications are; the password stands beside it, as a secret's name."""

    host: OptionText = Field(min_length=1)
    port: int = Field(5432, ge=1, le=65535)
    database: ObjectName
    user: ObjectName
    sslmode: SslMode | None = None
    options: dict[OptionName, OptionText] = Field(
        default_factory=dict, description="More of libpq's parameters, such as sslrootcert or connect_timeout."
    )

    @model_validator(mode="after")
    def _no_secret(self) -> SubscribedServer:
        for name in self.options:
            if name in _ELSEWHERE:
                raise ValueError(
                    f"{name} does not belong into `options`: a password goes to `password: {{secret: ...}}`"
                )
            if name in _OWN_KEYS:
                raise ValueError(f"{name} has a key of its own in `connection`")
        return self


class SubscriptionSpec(Part):
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["ensure"], "properties": {"ensure": {"const": "absent"}}},
            "then": True,
            "else": {
                "required": ["connection", "publications"],
                "properties": {"connection": {"type": "object"}, "publications": {"minItems": 1}},
                "if": {"required": ["createSlot"], "properties": {"createSlot": {"const": False}}},
                "then": True,
                "else": {"not": {"required": ["slotName"], "properties": {"slotName": {"const": "none"}}}},
            },
        }
    )

    name: ObjectName
    owner: ObjectName | None = Field(None, description="Left alone when unset.")
    connection: SubscribedServer | None = None
    password: SecretName | None = None
    publications: list[ObjectName] = Field(default_factory=list)
    enabled: bool = True
    slot_name: SlotName | None = Field(
        None, description="The slot at the publisher; the subscription's name when unset, `none` for no slot."
    )
    create_slot: bool = Field(True, description="At creation only.")
    copy_data: bool = Field(True, description="At creation only: copy what the tables hold already.")
    binary: bool | None = Field(None, description="Since PostgreSQL 14; left alone when unset.")
    streaming: Literal["off", "on", "parallel"] | None = Field(None, description="Since 14, `parallel` since 16.")
    synchronous_commit: Literal["off", "local", "remote_write", "remote_apply", "on"] | None = None
    two_phase: bool | None = Field(None, description="Since PostgreSQL 15; before 18 at creation only.")
    disable_on_error: bool | None = Field(None, description="Since PostgreSQL 15.")
    password_required: bool | None = Field(None, description="Since PostgreSQL 16.")
    run_as_owner: bool | None = Field(None, description="Since PostgreSQL 16.")
    origin: Literal["any", "none"] | None = Field(None, description="Since PostgreSQL 16.")
    failover: bool | None = Field(None, description="Since PostgreSQL 17.")
    comment: str | None = Field(None, description="Left alone when unset.")
    ensure: Ensure = "present"

    @model_validator(mode="after")
    def _whole(self) -> SubscriptionSpec:
        if self.ensure == "absent":
            return self
        if self.connection is None or not self.publications:
            raise ValueError("a subscription needs `connection` and at least one of `publications`")
        if self.slot_name == "none" and self.create_slot:
            raise ValueError("`slotName: none` needs `createSlot: false` beside it")
        return self


__all__ = ["PublicationSpec", "PublishedTable", "SubscribedServer", "SubscriptionSpec"]
