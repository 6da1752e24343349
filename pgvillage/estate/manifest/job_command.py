"""What a Job's steps and checks do: SQL, a program, an HTTP call."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from pgvillage.estate.manifest.common import ObjectName, Part, Scalar, exactly_one, lacking
from pgvillage.estate.manifest.duration import Duration, ShortDuration
from pgvillage.estate.manifest.user import SecretName

StepName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"),
    Field(description="Lower-case letters, digits, `_` and `-`, a letter or digit at both ends; at most 63."),
]
ParameterName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}$"),
    Field(description="Lower-case letters, digits and `_`, no digit first; at most 63. In SQL it is `:name`."),
]
VariableName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,126}$"),
    Field(description="Letters, digits and `_`, no digit first."),
]
HeaderName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"),
    Field(description="A header's name."),
]
# A line's end in a header would begin another one; a zero byte ends an argument early.
HeaderText = Annotated[
    str,
    StringConstraints(pattern=r"^[^\u0000-\u001f\u007f]*$", max_length=8_000),
    Field(description="Text without control characters."),
]
Argument = Annotated[
    str, StringConstraints(pattern=r"^[^\u0000]*$", max_length=100_000), Field(description="Text without zero bytes.")
]
Matrix = dict[ParameterName, Annotated[list[Scalar], Field(min_length=1, max_length=1000)]]
COMMANDS = ("sql", "file", "shell", "http")


class Shell(Part):
    """A program, or a script for sh. A time limit ends it and all that it has begun."""

    model_config = ConfigDict(json_schema_extra=exactly_one("command", "script"))

    command: list[Argument] | None = Field(None, min_length=1, description="An argument list; no shell reads it.")
    script: Annotated[Argument, Field(min_length=1)] | None = None
    on: Literal["host", "local"] = Field(
        "host",
        description="`host`: the cluster's node by SSH. `local`: where PgVillage runs, if the settings allow it.",
    )
    env: dict[VariableName, Argument | SecretName] = Field(
        default_factory=dict, description="Added to the environment; nothing is taken out of it."
    )
    folder: Annotated[Argument, Field(min_length=1)] | None = Field(None, description="Where it is started.")

    @model_validator(mode="after")
    def _one_way(self) -> Shell:
        if (self.command is None) == (self.script is None):
            raise ValueError("a shell step needs exactly one of: command, script")
        return self


class Http(Part):
    """One HTTP call, to a host that the settings allow. Redirects are not followed."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Annotated[
        str,
        StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^\s#\u0000-\u001f\u007f]*)?$"),
        Field(description="http(s)://HOST[:PORT]/PATH; no user and password, no fragment."),
    ]
    headers: dict[HeaderName, HeaderText | SecretName] = Field(default_factory=dict)
    body: Annotated[str, Field(max_length=1_000_000)] | None = None
    status: list[Annotated[int, Field(ge=100, le=599)]] = Field(
        default_factory=list, description="What counts as success; 200 to 299 when empty."
    )


class Retries(Part):
    """Tries after a failure."""

    count: int = Field(ge=1, le=100)
    wait: Duration = Field("10s", description="Before the first further try.")
    factor: float = Field(2, ge=1, le=10, strict=False, description="How much longer each next wait is.")
    most: Duration = Field("5m", description="The longest wait.")


class Command(Part):
    sql: Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)] | None = None
    file: str | None = Field(None, min_length=1, description="SQL: a file of the estate repository.")
    shell: Shell | None = None
    http: Http | None = None
    role: ObjectName | None = Field(None, description="What SQL runs as (SET ROLE); the Job's role when unset.")
    statement_timeout: ShortDuration | None = None
    lock_timeout: ShortDuration | None = None
    max_runtime: Duration | None = None
    matrix: Matrix = Field(
        default_factory=dict,
        description="Runs once for each combination; the values are `:name` in SQL and PGV_MATRIX_NAME in a shell.",
    )

    def commands(self) -> list[str]:
        """Those of COMMANDS that are written."""
        return [key for key in COMMANDS if getattr(self, key) is not None]

    @property
    def is_sql(self) -> bool:
        return self.sql is not None or self.file is not None


class JobStep(Command):
    """Exactly one of `sql`, `file`, `shell`, `http`; or nothing runs."""

    model_config = ConfigDict(json_schema_extra=exactly_one(*COMMANDS))

    name: StepName
    needs: list[StepName] = Field(default_factory=list, description="Steps that must have succeeded before.")
    when: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = Field(
        None, description="An expression; the step is skipped where it is false."
    )
    transaction: bool | None = Field(
        None, description="SQL in one transaction, which is the default, or each statement for itself."
    )
    retries: Retries | None = None

    @model_validator(mode="after")
    def _one_command(self) -> JobStep:
        if len(self.commands()) != 1:
            raise ValueError(f"a step needs exactly one of: {', '.join(COMMANDS)}")
        return self


_WAYS = ("value", "rows", "matches", "that")


class Expectation(Part):
    """Exactly one of `value`, `rows`, `matches`, `that`."""

    model_config = ConfigDict(json_schema_extra=exactly_one(*_WAYS))

    value: Scalar | None = Field(None, description="The first column of the first row, as it is.")
    rows: int | None = Field(None, ge=0)
    matches: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="A regular expression that is found in the output."
    )
    that: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = Field(
        None, description="An expression over `value`, `rows`, `rc`, `output` and the steps."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Expectation:
        if sum(getattr(self, way) is not None for way in _WAYS) != 1:
            raise ValueError(f"expect exactly one of: {', '.join(_WAYS)}")
        return self


_ALONE: JsonDict = {
    "allOf": [lacking(*COMMANDS), {"required": ["expect"], "properties": {"expect": {"required": ["that"]}}}]
}


class Check(Command):
    """Looks whether the steps did what they should. Without a command, `expect: {that}` looks at the steps alone."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [*exactly_one(*COMMANDS)["oneOf"], _ALONE]})  # type: ignore[misc]

    name: StepName
    expect: Expectation

    @model_validator(mode="after")
    def _one_command(self) -> Check:
        commands = self.commands()
        if len(commands) > 1 or (not commands and self.expect.that is None):
            raise ValueError(f"a check needs exactly one of: {', '.join(COMMANDS)} (or none and `expect: {{that}}`)")
        return self
