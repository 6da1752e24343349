"""What the manifest kinds share: names, labels, selectors, grants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

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
FunctionPrivilege = Literal["EXECUTE", "ALL"]
UsagePrivilege = Literal["USAGE", "ALL"]
LargeObjectPrivilege = Literal["SELECT", "UPDATE", "ALL"]
TablespacePrivilege = Literal["CREATE", "ALL"]
ParameterPrivilege = Literal["SET", "ALTER SYSTEM", "ALL"]
ColumnPrivilege = Literal["SELECT", "INSERT", "UPDATE", "REFERENCES", "ALL"]
Signature = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\u0000]*$"),
    Field(
        description="A name with the types of its arguments: `refund(integer, text)`; a name that is not plain in "
        "double quotes. Names of arguments are ignored.",
    ),
]
LargeObjectId = Annotated[int, Field(ge=1, le=4_294_967_295)]


class PrivilegeSet(Part):
    """Privileges by object class. `table` reaches views, materialised views, foreign and partitioned tables too;
    `function` procedures and aggregates, `type` domains.
    """

    database: list[DatabasePrivilege] = Field(default_factory=list)
    schema_: list[SchemaPrivilege] = Field(default_factory=list, alias="schema")
    table: list[TablePrivilege] = Field(default_factory=list)
    sequence: list[SequencePrivilege] = Field(default_factory=list)
    function: list[FunctionPrivilege] = Field(default_factory=list)
    type: list[UsagePrivilege] = Field(default_factory=list)

    def of(self, object_class: str) -> frozenset[str]:
        return frozenset(getattr(self, _FIELD.get(object_class, object_class), ()))


_FIELD = {
    "schema": "schema_",
    "foreignDataWrapper": "foreign_data_wrapper",
    "foreignServer": "foreign_server",
    "largeObject": "large_object",
}


class GrantSet(PrivilegeSet):
    """Privileges by object class; beyond those of a profile the classes whose objects a grant names one by one."""

    language: list[UsagePrivilege] = Field(default_factory=list)
    foreign_data_wrapper: list[UsagePrivilege] = Field(default_factory=list)
    foreign_server: list[UsagePrivilege] = Field(default_factory=list)
    large_object: list[LargeObjectPrivilege] = Field(default_factory=list)
    tablespace: list[TablespacePrivilege] = Field(default_factory=list)
    parameter: list[ParameterPrivilege] = Field(default_factory=list, description="PostgreSQL 15 and later.")


class Future(Part):
    """Objects that these roles create later get the same privileges (default privileges).

    Without `schemas` in every schema of the database, and then only these future objects. Future schemas (`schema`
    without `schemas`) and large objects (PostgreSQL 18) are always those of the whole database.
    """

    creators: list[ObjectName] = Field(min_length=1)


_IN_SCHEMAS = ("table", "sequence", "function", "type")
# Classes whose objects are named one by one, and the key that names them
NAMED: Mapping[str, str] = {
    "language": "languages",
    "foreignDataWrapper": "foreignDataWrappers",
    "foreignServer": "foreignServers",
    "largeObject": "largeObjects",
    "tablespace": "tablespaces",
    "parameter": "parameters",
}
CLUSTER_WIDE = ("tablespace", "parameter")
_IN_DATABASES = ("database", "schema", *_IN_SCHEMAS, *(c for c in NAMED if c not in CLUSTER_WIDE))
_OF_DATABASES = (
    *("schemas", "tables", "columns", "sequences", "functions", "types"),
    *(NAMED[c] for c in NAMED if c not in CLUSTER_WIDE),
)
_COLUMN_PRIVILEGES = get_args(ColumnPrivilege)


def _grants(*keys: str) -> JsonDict:
    some: list[JsonValue] = [{"required": [key], "properties": {key: {"minItems": 1}}} for key in keys]
    return {"required": ["grant"], "properties": {"grant": {"type": "object", "anyOf": some}}}


def _some(key: str) -> JsonDict:
    return {"required": [key], "properties": {key: {"type": "array", "minItems": 1}}}


def _none(*keys: str) -> JsonDict:
    return {"properties": {key: {"anyOf": [{"type": "null"}, {"maxItems": 0}]} for key in keys}}


_NO_FUTURE: JsonDict = {"not": given("future")}
_WHOLE_CLUSTER: JsonDict = {
    "allOf": [
        lacking("database", "future"),
        _none(*_OF_DATABASES),
        {"properties": {"grant": {"properties": {c: {"maxItems": 0} for c in _IN_DATABASES}}}},
    ]
}
_COLUMNS: JsonDict = {
    "allOf": [
        _some("tables"),
        _grants("table"),
        lacking("future", "sequences", "functions", "types"),
        {
            "properties": {
                "grant": {
                    "properties": {
                        "table": {"items": {"enum": list(_COLUMN_PRIVILEGES)}},
                        **{c: {"maxItems": 0} for c in ("sequence", "function", "type")},
                    }
                }
            }
        },
    ]
}
_NAMED_RULES: list[JsonValue] = [
    {"if": {**_grants(c), **_NO_FUTURE} if c == "largeObject" else _grants(c), "then": _some(key)}
    for c, key in NAMED.items()
]
_GRANT_RULES: list[JsonValue] = [
    exactly_one("profile", "grant"),
    {"if": {**_grants("schema", *_IN_SCHEMAS), **_NO_FUTURE}, "then": _some("schemas")},
    *_NAMED_RULES,
    {"if": _grants(*CLUSTER_WIDE), "then": _WHOLE_CLUSTER, "else": given("database")},
    {"if": given("columns"), "then": _COLUMNS},
]


class Grant(Part):
    """Privileges by a profile's name or spelled out under `grant`: in one database, or on the whole cluster."""

    model_config = ConfigDict(json_schema_extra={"allOf": _GRANT_RULES})

    profile: str | None = Field(None, description="`reader`, `writer`, `owner`, or a profile of the Estate.")
    grant: GrantSet | None = None
    database: ObjectName | None = Field(None, description="Unset only for tablespaces and parameters.")
    schemas: list[ObjectName] = Field(default_factory=list)
    tables: list[ObjectName] | None = Field(None, description="Only these tables of the schemas; all when unset.")
    columns: list[ObjectName] | None = Field(
        None, min_length=1, description="Only these columns of the tables, which are named then."
    )
    sequences: list[ObjectName] | None = Field(None, description="Only these sequences; all when unset.")
    functions: list[Signature] | None = Field(
        None, description="Only these functions, procedures and aggregates; all when unset."
    )
    types: list[ObjectName] | None = Field(None, description="Only these types and domains; all when unset.")
    languages: list[ObjectName] | None = None
    foreign_data_wrappers: list[ObjectName] | None = None
    foreign_servers: list[ObjectName] | None = None
    large_objects: list[LargeObjectId] | None = None
    tablespaces: list[ObjectName] | None = None
    parameters: list[ObjectName] | None = Field(None, description="Server parameters; PostgreSQL 15 and later.")
    grant_option: bool = False
    future: Future | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Grant:
        if (self.profile is None) == (self.grant is None):
            raise ValueError("a privilege needs exactly one of: profile, grant")
        if not self.schemas and not self.future and self._asks_for("schema", *_IN_SCHEMAS):
            raise ValueError(
                "privileges on schemas and what is in them (tables, sequences, functions, types) need `schemas`"
            )
        for object_class, key in NAMED.items():
            optional = object_class == "largeObject" and self.future
            if self._asks_for(object_class) and not self.named(object_class) and not optional:
                raise ValueError(f"privileges of class {object_class} need `{key}`, a list of names")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> Grant:
        if not self._asks_for(*CLUSTER_WIDE):
            if self.database is None:
                raise ValueError("a privilege needs a `database`, unless it is on tablespaces or parameters")
        elif self._asks_for(*_IN_DATABASES) or any(map(self._value, ("database", "future", *_OF_DATABASES))):
            raise ValueError(
                "tablespaces and parameters belong to the whole cluster: a grant on them has no `database`, no "
                "`future` and nothing of a database; write two grants"
            )
        return self

    @model_validator(mode="after")
    def _of_columns(self) -> Grant:
        if self.columns is None:
            return self
        others = (self.future, self.sequences, self.functions, self.types)
        if not self.tables or not self._asks_for("table") or any(other is not None for other in others):
            raise ValueError("`columns` needs `tables` and `grant: {table: …}`; it goes with nothing else of a schema")
        odd = sorted({*(self.grant.table if self.grant else ())} - {*_COLUMN_PRIVILEGES})
        if odd or self._asks_for("sequence", "function", "type"):
            found = odd[0] if odd else "of another class"
            raise ValueError(f"no privilege {found} on columns: SELECT, INSERT, UPDATE, REFERENCES or ALL")
        return self

    def named(self, object_class: str) -> list[str]:
        """The objects of a class that is in NAMED."""
        return [str(each) for each in self._value(NAMED[object_class]) or ()]

    def _asks_for(self, *classes: str) -> bool:
        return self.grant is not None and any(self.grant.of(c) for c in classes)

    def _value(self, key: str) -> Any:
        return getattr(self, re.sub("[A-Z]", lambda m: "_" + m[0].lower(), key))


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
