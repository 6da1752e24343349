"""Kind Database: a database with its schemas and extensions."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict, JsonValue

from pgvillage.estate.manifest.common import (
    DatabasePrivilege,
    Ensure,
    FunctionPrivilege,
    Metadata,
    ObjectName,
    Part,
    Scalar,
    SchemaPrivilege,
    Selector,
    SequencePrivilege,
    TablePrivilege,
    UsagePrivilege,
    given,
    lacking,
)
from pgvillage.estate.manifest.foreign import ForeignDataWrapperSpec, ForeignServerSpec
from pgvillage.estate.manifest.replication import PublicationSpec, SubscriptionSpec
from pgvillage.estate.manifest.row_security import EventTriggerSpec, OwnershipSpec, RowSecuritySpec

LocaleProvider = Literal["libc", "icu", "builtin"]


class SchemaSpec(Part):
    name: ObjectName
    owner: ObjectName | None = Field(None, description="Left alone when unset.")
    ensure: Ensure = "present"
    comment: str | None = None


class ExtensionSpec(Part):
    name: ObjectName
    version: str | None = Field(None, min_length=1, description="Left alone when unset.")
    schema_: ObjectName | None = Field(None, alias="schema")
    cascade: bool = False
    ensure: Ensure = "present"


class PublicFuture(Part):
    """What PUBLIC gets by itself on what these roles create later, in every schema: only there can it be less."""

    creators: list[ObjectName] = Field(min_length=1)
    function: list[FunctionPrivilege] | None = None
    type: list[UsagePrivilege] | None = None


class PublicGrants(Part):
    """What PUBLIC has, exactly, where it is written; elsewhere PUBLIC is left alone."""

    database: list[DatabasePrivilege] | None = None
    schemas: dict[ObjectName, list[SchemaPrivilege]] = Field(default_factory=dict)
    tables: dict[ObjectName, list[TablePrivilege]] = Field(
        default_factory=dict, description="All tables of a schema; an empty list is nothing."
    )
    sequences: dict[ObjectName, list[SequencePrivilege]] = Field(default_factory=dict)
    functions: dict[ObjectName, list[FunctionPrivilege]] = Field(
        default_factory=dict, description="All functions of a schema; EXECUTE is what PostgreSQL gives by itself."
    )
    types: dict[ObjectName, list[UsagePrivilege]] = Field(default_factory=dict)
    languages: dict[ObjectName, list[UsagePrivilege]] = Field(default_factory=dict)
    future: PublicFuture | None = None


def _provided(provider: str, key: str) -> list[JsonValue]:
    """JSON Schema: this provider has its locale under `key`, and no other provider has."""
    chosen: JsonDict = {"required": ["localeProvider"], "properties": {"localeProvider": {"const": provider}}}
    return [{"if": chosen, "then": given(key), "else": lacking(key)}]


class DatabaseFields(Part):
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["ensure"], "properties": {"ensure": {"const": "absent"}}},
            "then": {"required": ["deletionProtection"], "properties": {"deletionProtection": {"const": False}}},
            "allOf": [*_provided("icu", "icuLocale"), *_provided("builtin", "builtinLocale")],
        }
    )

    owner: ObjectName | None = Field(None, description="Left alone when unset.")
    ensure: Ensure = "present"
    deletion_protection: bool = Field(True, description="Must be false before `ensure: absent` drops it.")
    encoding: str | None = Field(None, description="At creation only.")
    locale: str | None = Field(None, description="Of the C library (LC_COLLATE and LC_CTYPE). At creation only.")
    locale_provider: LocaleProvider | None = Field(
        None, description="icu from PostgreSQL 15, builtin from 17. At creation only."
    )
    icu_locale: str | None = Field(None, min_length=1, description="With `localeProvider: icu`, as `nl-NL`.")
    builtin_locale: str | None = Field(None, min_length=1, description="With `localeProvider: builtin`, as `C.UTF-8`.")
    tablespace: ObjectName | None = Field(
        None, description="At creation only, since moving it means downtime; left alone when unset."
    )
    is_template: bool | None = Field(None, description="Left alone when unset.")
    template: ObjectName | None = Field(None, description="At creation only.")
    connection_limit: int | None = Field(None, ge=-1, le=2_147_483_647)
    allow_connections: bool | None = None
    comment: str | None = None
    settings: dict[str, Scalar] | None = Field(None, description="ALTER DATABASE SET, exact when given.")
    schemas: list[SchemaSpec] = Field(default_factory=list)
    extensions: list[ObjectName | ExtensionSpec] = Field(default_factory=list)
    public: PublicGrants | None = None
    publications: list[PublicationSpec] = Field(default_factory=list)
    subscriptions: list[SubscriptionSpec] = Field(default_factory=list)
    event_triggers: list[EventTriggerSpec] = Field(default_factory=list)
    row_security: list[RowSecuritySpec] = Field(default_factory=list)
    ownership: list[OwnershipSpec] = Field(default_factory=list)
    foreign_data_wrappers: list[ForeignDataWrapperSpec] = Field(
        default_factory=list, description="Others are left alone."
    )
    foreign_servers: list[ForeignServerSpec] = Field(default_factory=list, description="Others are left alone.")

    @model_validator(mode="after")
    def _deletable(self) -> DatabaseFields:
        if self.ensure == "absent" and self.deletion_protection:
            raise ValueError("`ensure: absent` on a database needs `deletionProtection: false` beside it")
        return self

    @model_validator(mode="after")
    def _locale_of_its_provider(self) -> DatabaseFields:
        for provider, key, value in (
            ("icu", "icuLocale", self.icu_locale),
            ("builtin", "builtinLocale", self.builtin_locale),
        ):
            if (self.locale_provider == provider) != (value is not None):
                raise ValueError(f"`localeProvider: {provider}` and `{key}` go together")
        return self


class InlineDatabase(DatabaseFields):
    """A database written inside its Cluster."""

    name: ObjectName


class DatabaseSpec(DatabaseFields):
    database: ObjectName | None = Field(None, description="The database's name; metadata.name when unset.")
    clusters: Selector


class Database(Part):
    """A database with its schemas and extensions."""

    api_version: Literal["pgvillage/v1"]
    kind: Literal["Database"]
    metadata: Metadata
    spec: DatabaseSpec

    @property
    def database(self) -> str:
        return self.spec.database or self.metadata.name
