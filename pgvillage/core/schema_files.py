"""JSON Schemas as files: one text for a schema, one way to write them all."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def written(schema: Mapping[str, Any]) -> str:
    """The text of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write_schemas(folder: Path, schemas: Mapping[str, Mapping[str, Any]]) -> None:
    """Every schema by its file name, into a folder that is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas.items():
        (folder / name).write_text(written(schema), encoding="utf-8")


def write_or_say_how(arguments: Sequence[str], module: str, schemas: Mapping[str, Mapping[str, Any]]) -> int:
    """`--write FOLDER` writes the files; anything else is told how, exit code 64."""
    if len(arguments) != 2 or arguments[0] != "--write":
        sys.stderr.write(f"usage: python -m {module} --write FOLDER\n")
        return 64
    write_schemas(Path(arguments[1]), schemas)
    return 0
