"""JSON Schemas of the manifests, generated from the models: `python -m pgvillage.estate.schema --write schemas/`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from pgvillage.core.schema_files import write_or_say_how
from pgvillage.estate.manifest import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """pydantic's schemas, with what it leaves out or says too loosely."""

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Keys of a pattern: pydantic lets every other key pass unchecked."""
        made = super().dict_schema(schema)
        patterns = made.pop("patternProperties", None)
        if patterns:
            [(pattern, values)] = patterns.items()
            made["additionalProperties"] = values
            made.setdefault("propertyNames", {})["pattern"] = pattern
        return made

    def get_title_from_name(self, name: str) -> str:
        return name


def schemas() -> dict[str, Schema]:
    """File name -> JSON Schema: one a kind, and `any.json` for files with several kinds."""
    made = {f"{kind.lower()}.json": _of_kind(kind, model) for kind, model in KINDS.items()}
    made["any.json"] = _any()
    return made


def _of_kind(kind: str, model: type[BaseModel]) -> Schema:
    schema = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Generator)
    head = {"$schema": DIALECT, "$id": f"urn:pgvillage:v1:{kind.lower()}"}
    return {**head, **_tidied(schema)}


def _any() -> Schema:
    models = [(model, "validation") for model in KINDS.values()]
    _, schema = models_json_schema(models, by_alias=True, schema_generator=_Generator)  # type: ignore[arg-type]
    return {
        "$schema": DIALECT,
        "$id": "urn:pgvillage:v1:any",
        "title": "Manifest",
        "description": "A manifest of any kind.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {
            "apiVersion": {"const": "pgvillage/v1"},
            "kind": {"enum": list(KINDS), "description": "What this document declares."},
            "metadata": {"$ref": "#/$defs/Metadata"},
            "spec": {"type": "object"},
        },
        "allOf": [
            {
                "if": {"required": ["kind"], "properties": {"kind": {"const": kind}}},
                "then": {"$ref": f"#/$defs/{kind}"},
            }
            for kind in KINDS
        ],
        "$defs": _tidied(schema["$defs"]),
    }


def _tidied(schema: Any) -> Any:
    """Without the titles that only repeat a property's name, which editors would show before its description."""
    if isinstance(schema, Mapping):
        return {key: _tidied(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    if isinstance(schema, list):
        return [_tidied(value) for value in schema]
    return schema


def main(arguments: Sequence[str]) -> int:
    """Write the schemas' files into a folder, or say how."""
    return write_or_say_how(arguments, "pgvillage.estate.schema", schemas())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
