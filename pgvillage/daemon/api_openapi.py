"""The OpenAPI 3.1 document of the API, from the table of endpoints and the models that render."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from pgvillage import __version__
from pgvillage.daemon.api_endpoints import ENDPOINTS, PARAMETERS, PREFIX, Endpoint
from pgvillage.report.json_schema import plan_schema
from pgvillage.report.state_models import PlanAnswer, Problem

Document = dict[str, Any]
_REF = "#/components/schemas/{model}"
_ABOUT = """\
What the reconciler knows of its targets, and what may be asked of it. Every answer that is none is a problem of
RFC 9457. Lists are paged by `limit` and `cursor`, and carry an ETag.
"""
_FAULTS = {
    400: "A parameter or the body is wrong.",
    401: "No token, or an unknown one.",
    403: "The token may not.",
    404: "There is no such thing, or none that this token may see.",
    429: "Too many wrong tokens from this address.",
    503: "The state database failed; ask again.",
}
_FAULTS_OF_ACTS = {
    408: "The body was too slow.",
    409: "The target has another plan by now, or nothing waits for an approval.",
    413: "The body is too long.",
    415: "The body is no JSON.",
}


@cache
def openapi() -> Document:
    """Not to be changed by who gets it."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "PgVillage", "version": __version__, "description": _ABOUT},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}, {}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
            "responses": {"Problem": _content("What went wrong.", Problem.__name__, "application/problem+json")},
        },
    }


def _paths() -> Document:
    paths: Document = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return paths


def _operation(endpoint: Endpoint) -> Document:
    path = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    query = [
        {"name": name, "in": "query", "schema": PARAMETERS[name][0], "description": PARAMETERS[name][1]}
        for name in endpoint.query
    ]
    faults = {**_FAULTS, **(_FAULTS_OF_ACTS if endpoint.body is not None else {})}
    name = endpoint.answer.__name__ if endpoint.answer is not None else None
    found: Document = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [*(path if "{name}" in endpoint.path else []), *query],
        "responses": {
            "200": _content(endpoint.summary, name, "application/json"),
            **{str(status): {"$ref": "#/components/responses/Problem"} for status in sorted(faults)},
        },
    }
    if endpoint.scope is not None:
        found["description"] = f"Needs the scope `{endpoint.scope}`."
    if endpoint.body is not None:
        found["requestBody"] = {
            "required": any(field.is_required() for field in endpoint.body.model_fields.values()),
            "content": {"application/json": {"schema": {"$ref": _REF.format(model=endpoint.body.__name__)}}},
        }
    return found


def _content(text: str, model: str | None, kind: str) -> Document:
    schema = {"$ref": _REF.format(model=model)} if model is not None else {"type": "object"}
    return {"description": text, "content": {kind: {"schema": schema}}}


def _schemas() -> Document:
    answers = {e.answer for e in ENDPOINTS if e.answer is not None} | {Problem}
    bodies = {e.body for e in ENDPOINTS if e.body is not None}
    wanted = [(model, "serialization") for model in answers] + [(model, "validation") for model in bodies]
    wanted.sort(key=lambda pair: pair[0].__name__)
    _, found = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]
    schemas: Document = found["$defs"]
    schemas[PlanAnswer.__name__]["properties"]["document"] = {"$ref": _REF.format(model="PlanDocument")}
    plan = plan_schema()
    parts = {f"Plan{name.capitalize()}": part for name, part in plan.pop("$defs").items()}
    body = {key: value for key, value in plan.items() if key not in ("$schema", "$id")}
    return {**schemas, **{name: _moved(part) for name, part in {**parts, "PlanDocument": body}.items()}}


def _moved(node: Any) -> Any:
    """References of a published schema, to where its parts are in this document."""
    if isinstance(node, dict):
        if "$ref" in node:
            return {"$ref": _REF.format(model=f"Plan{node['$ref'].rsplit('/', 1)[1].capitalize()}")}
        return {key: _moved(value) for key, value in node.items()}
    return [_moved(each) for each in node] if isinstance(node, list) else node
