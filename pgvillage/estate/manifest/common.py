"""What the manifest kinds share: names, labels, selectors, grants."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict, JsonValue

NAME_BYTES = 63  # NAMEDATALEN - 1: PostgreSQL would cut a longer name silently

DocumentName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"),
    Field(description="Lower-case letters, digits, `-`, `_` and `.`, a letter or digit at both ends; at most 63."),
]
LabelKey = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$"),
    Field(description="Letters, digits, `-`, `_`, `.` and `/`, a letter or digit at both ends; at most 63."),
]
LabelValue = Annotated[
    str,
    StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"),
    Field(description="Empty, or letters, digits, `-`, `_` and `.`, a letter or digit at both ends; at most 63."),
]
Labels = dict[LabelKey, LabelValue]


_NO_ZERO_BYTE: JsonDict = {"pattern": r"^[^\u0000]*$"}


def given(*keys: str) -> JsonDict:
    """JSON Schema: these keys are there, and not null."""
    return {"required": list(keys), "properties": {key: {"not": {"type": "null"}} for key in keys}}


def lacking(*keys: str) -> JsonDict:
    """JSON Schema: these keys are missing, or null."""
    return {"properties": {key: {"type": "null"} for key in keys}}


def exactly_one(*keys: str) -> JsonDict:
    """JSON Schema: one of these keys is given and the others are not."""
    return {"oneOf": [given(key) for key in keys]}


def _fits(name: str) -> str:
    if "\0" in name:
        raise ValueError("a name can't hold a zero byte")
    if (size := len(name.encode())) > NAME_BYTES:
        raise ValueError(f"the name is {size} bytes long; PostgreSQL allows {NAME_BYTES}")
    return name


def declarable_role(name: str) -> str:
    """The name itself; ValueError when PostgreSQL keeps it for itself."""
    if name in ("public", "none"):
        raise ValueError(f"{name!r} is a word of PostgreSQL and can't be a role's name")
    if name.startswith("pg_"):
        raise ValueError("names that begin with pg_ belong to PostgreSQL")
    return name


ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    AfterValidator(_fits),
    Field(description="A name in PostgreSQL, as it is (no quoting); 1 to 63 bytes.", json_schema_extra=_NO_ZERO_BYTE),
]
RoleName = Annotated[
    ObjectName,
    AfterValidator(declarable_role),
    Field(
        description="A role's name, as it is (no quoting); 1 to 63 bytes, not `public`, not `none`, not `pg_...`.",
        json_schema_extra={"pattern": r"^(?!pg_|(public|none)(?![\s\S]))[^\u0000]*$"},
    ),
]


def _no_number(value: Any) -> Any:
    if type(value) in (int, float):  # 1 == True, and pydantic's Literal compares
        raise ValueError(f"expected true or false, found the number {value}")
    return value


OnlyTrue = Annotated[Literal[True], BeforeValidator(_no_number)]
OnlyFalse = Annotated[Literal[False], BeforeValidator(_no_number)]
Ensure = Literal["present", "absent"]
Scalar = str | bool | int | float


class Part(BaseModel):
    """A part of a manifest: unknown keys are errors, keys are camelCase."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=False
    )


class Metadata(Part):
    name: DocumentName
    labels: Labels = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict, description="Free text for people and other tools.")


class Selector(Part):
    """Which clusters: by name, by labels (all must match), or `all: true`."""

    model_config = ConfigDict(json_schema_extra=exactly_one("names", "labels", "all"))

    names: list[DocumentName] | None = Field(None, min_length=1)
    labels: Annotated[Labels, Field(min_length=1)] | None = None
    all: OnlyTrue | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Selector:
        if sum(value is not None for value in (self.names, self.labels, self.all)) != 1:
            raise ValueError("select clusters by exactly one of: names, labels, all")
        return self

    def matches(self, name: str, labels: dict[str, str]) -> bool:
        if self.names is not None:
            return name in self.names
        if self.labels is not None:
            return all(labels.get(key) == value for key, value in self.labels.items())
        return True


DatabasePrivilege = Literal["CONNECT", "CREATE", "TEMPORARY", "ALL"]
SchemaPrivilege = Literal["USAGE", "CREATE", "ALL"]
TablePrivilege = Literal[
    "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN", "ALL"
]  # fmt: skip
SequencePrivilege = Literal["USAGE", "SELECT", "UPDATE", "ALL"]


class PrivilegeSet(Part):
    """Privileges by object class. `table` reaches views, materialised views, foreign and partitioned tables too."""

    database: list[DatabasePrivilege] = Field(default_factory=list)
    schema_: list[SchemaPrivilege] = Field(default_factory=list, alias="schema")
    table: list[TablePrivilege] = Field(default_factory=list)
    sequence: list[SequencePrivilege] = Field(default_factory=list)

    def of(self, object_class: str) -> frozenset[str]:
        return frozenset(self.schema_ if object_class == "schema" else getattr(self, object_class))


class Future(Part):
    """Objects that these roles create later get the same privileges (default privileges).

    Without `schemas` in every schema of the database, and then only these future objects.
    """

    creators: list[ObjectName] = Field(min_length=1)


def _grants(*keys: str) -> JsonDict:
    some: list[JsonValue] = [{"required": [key], "properties": {key: {"minItems": 1}}} for key in keys]
    return {"required": ["grant"], "properties": {"grant": {"type": "object", "anyOf": some}}}


_SCHEMAS_GIVEN: JsonDict = {"required": ["schemas"], "properties": {"schemas": {"minItems": 1}}}


class Grant(Part):
    """Privileges in one database: by a profile's name or spelled out under `grant`."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                exactly_one("profile", "grant"),
                {"if": _grants("schema"), "then": _SCHEMAS_GIVEN},
                {"if": {**_grants("table", "sequence"), "not": given("future")}, "then": _SCHEMAS_GIVEN},
            ]
        }
    )

    profile: str | None = Field(None, description="`reader`, `writer`, `owner`, or a profile of the Estate.")
    grant: PrivilegeSet | None = None
    database: ObjectName
    schemas: list[ObjectName] = Field(default_factory=list)
    tables: list[ObjectName] | None = Field(None, description="Only these tables of the schemas; all when unset.")
    sequences: list[ObjectName] | None = Field(None, description="Only these sequences; all when unset.")
    grant_option: bool = False
    future: Future | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Grant:
        if (self.profile is None) == (self.grant is None):
            raise ValueError("a privilege needs exactly one of: profile, grant")
        grant = self.grant
        if grant and not self.schemas and (grant.schema_ or (not self.future and (grant.table or grant.sequence))):
            raise ValueError("privileges on schemas, tables and sequences need `schemas`")
        return self


class MembershipOptions(Part):
    """Membership in one role. `inherit` and `set` exist from PostgreSQL 16 on."""

    role: ObjectName
    admin: bool = False
    inherit: bool | None = None
    set: bool | None = None


MemberOf = list[ObjectName | MembershipOptions]


class RoleAttributes(Part):
    """Attributes of a role; what is not written has PostgreSQL's default."""

    superuser: bool = False
    createdb: bool = False
    createrole: bool = False
    inherit: bool = True
    replication: bool = False
    bypassrls: bool = False
    connection_limit: int = Field(-1, ge=-1, le=2_147_483_647, description="-1 is no limit.")
    comment: str | None = Field(None, description="COMMENT ON ROLE; left alone when unset.")
    settings: dict[str, Scalar] = Field(default_factory=dict, description="ALTER ROLE SET, in every database.")
    database_settings: dict[ObjectName, dict[str, Scalar]] = Field(
        default_factory=dict, description="ALTER ROLE IN DATABASE SET."
    )
    member_of: MemberOf = Field(default_factory=list)
    privileges: list[Grant] = Field(default_factory=list)


def text_of(value: Any) -> str:
    """A setting's value as PostgreSQL reads it; booleans are on and off."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
