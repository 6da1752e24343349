"""What manifests can say: the one place to switch on what a new kind or class makes sayable."""

from __future__ import annotations

from typing import get_args

from pgvillage.estate.manifest.common import (
    DatabasePrivilege,
    FunctionPrivilege,
    PrivilegeSet,
    SchemaPrivilege,
    UsagePrivilege,
)
from pgvillage.estate.manifest.common import SequencePrivilege as Sequence
from pgvillage.estate.manifest.common import TablePrivilege as Table

# Words of other tools for classes of objects -> the key of `grant:` in a manifest, or None where manifests have none.
# To switch a class on: give it the key of PrivilegeSet that it has become (`"function": "function"`).
OBJECT_CLASSES: dict[str, str | None] = {
    "database": "database",
    "schema": "schema",
    "table": "table",
    "sequence": "sequence",
    "function": "function",
    "procedure": "function",
    "routine": "function",
    "type": "type",
    "language": None,
    "foreign_data_wrapper": None,
    "foreign_server": None,
    "large_object": None,
    "tablespace": None,
    "parameter": None,
    "column": None,
}
# Classes that `future` reaches.
FUTURE_CLASSES = frozenset({"table", "sequence", "function", "type"})
# Classes whose objects a manifest can name one by one: class -> the key of Grant.
NAMED_CLASSES = {"table": "tables", "sequence": "sequences", "function": "functions", "type": "types"}
# Classes that grants of other tools are about, in the order that manifests have them.
GRANTED_CLASSES = ("database", "schema", "table", "sequence", "function", "type")

_WORDS: dict[str, tuple[str, ...]] = {
    "database": get_args(DatabasePrivilege),
    "schema": get_args(SchemaPrivilege),
    "table": get_args(Table),
    "sequence": get_args(Sequence),
    "function": get_args(FunctionPrivilege),
    "type": get_args(UsagePrivilege),
}


def class_of(word: str) -> str | None:
    """The key of `grant:` for a tool's word (`table`, `TABLES`), or None where manifests have none."""
    lower = word.lower()
    return OBJECT_CLASSES.get(lower) or OBJECT_CLASSES.get(lower.removesuffix("s"))


def is_privilege(object_class: str, privilege: str) -> bool:
    """Whether manifests know this privilege on this class; of a class without a list every one is let through."""
    known = _WORDS.get(object_class)
    return object_class in _keys() if known is None else privilege in known


def _keys() -> frozenset[str]:
    return frozenset(field.alias or name for name, field in PrivilegeSet.model_fields.items())
