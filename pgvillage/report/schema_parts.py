"""Pieces that published JSON Schemas are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]


def object_of(description: str, **properties: Schema) -> Schema:
    """An object that has all of these properties and no other."""
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


def string(description: str, *, null: bool = False, **more: Any) -> Schema:
    return {"type": ["string", "null"] if null else "string", "description": description, **more}


def flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def count(description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": description}


def list_of(of: Schema, description: str, **more: Any) -> Schema:
    return {"type": "array", "description": description, "items": of, **more}


def one_of(words: Sequence[str], description: str) -> Schema:
    return {"enum": list(words), "description": description}


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
