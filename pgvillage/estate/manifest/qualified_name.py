"""Names of two parts, `schema.name`, as manifests write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from pgvillage.estate.manifest.common import NAME_BYTES

_PART = r'(?:"(?:[^"\u0000]|"")+"|[^".\u0000]+)'
_TWO = re.compile(rf"({_PART})\.({_PART})\Z")


def split_name(text: str) -> tuple[str, str]:
    """The schema and the name; a part in double quotes may hold dots, and quotes doubled.

    Raises ValueError for anything else.
    """
    match = _TWO.match(text)
    if match is None:
        raise ValueError(f'{text!r} is not a name of two parts: expected schema.name, or "a.b"."c" where one has dots')
    schema, name = (_bare(part) for part in match.groups())
    return schema, name


def join_name(schema: str, name: str) -> str:
    """The inverse of split_name, always the same for the same name."""
    return ".".join(_quoted(part) if "." in part or '"' in part else part for part in (schema, name))


def _bare(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(part: str) -> str:
    return '"' + part.replace('"', '""') + '"'


def _checked(text: str) -> str:
    schema, name = split_name(text)
    for part in (schema, name):
        if (size := len(part.encode())) > NAME_BYTES:
            raise ValueError(f"{part!r} is {size} bytes long; PostgreSQL allows {NAME_BYTES}")
    return join_name(schema, name)


QualifiedName = Annotated[
    str,
    AfterValidator(_checked),
    Field(
        description='schema.name, as they are (no folding); a part that holds a dot goes in double quotes: "a.b".c',
        json_schema_extra={"pattern": rf"^{_PART}\.{_PART}(?![\s\S])"},
    ),
]
