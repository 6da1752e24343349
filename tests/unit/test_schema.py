"""The published JSON Schemas: up to date, and of one mind with the models."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from pgvillage.core.schema_files import written
from pgvillage.estate.expected_keys import pattern_words
from pgvillage.estate.explain_errors import _locate, _one_a_union
from pgvillage.estate.manifest import KINDS
from pgvillage.estate.schema import DIALECT, main, schemas
from pgvillage.estate.yaml12 import parse_documents
from pgvillage.report.json_schema import schemas as report_schemas
from tests.unit.manifest_corpus import good_documents, mutated

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "estate-repo"
COUNT = 5_400


def _message(*words: str) -> Callable[[dict[str, Any]], bool]:
    return lambda error: error["type"] == "value_error" and any(word in error["msg"] for word in words)


# What a JSON Schema can't say: such a document passes the schema, and the model refuses it. Nothing else may differ.
ALLOWED: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "bytes": ("maxLength counts characters, PostgreSQL counts bytes", _message("bytes long")),
    "newline": (
        "`$` matches before a last newline in Python's re (not in ECMA's, which editors use)",
        lambda error: error["type"] == "string_pattern_mismatch" and error["input"].endswith("\n"),
    ),
    "order": ("one number against another one", _message("is larger than max")),
    "date": ("a format is a remark in JSON Schema, not a rule", _message("expected a date")),
    "role": ("a role's name that comes from metadata.name", _message("can't be a role's name", "belong to PostgreSQL")),
    "filter": ("a filter's grammar is no regular expression", _message("not an LDAP filter")),
    "whole": ("4.0 is an integer in JSON Schema", lambda error: error["type"] == "int_type"),
}


@pytest.fixture(scope="module")
def validators() -> dict[str, Draft202012Validator]:
    return {name: Draft202012Validator(schema) for name, schema in schemas().items()}


def _model_errors(document: dict[str, Any]) -> list[Any]:
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return [{"type": "kind", "msg": "", "input": kind}]
    try:
        KINDS[kind].model_validate(document)
    except ValidationError as error:
        groups = _one_a_union([_locate(raw, document) for raw in error.errors()])  # without a union's other branches
        return [{"type": f.kind, "msg": f.message, "input": f.value} for group in groups for f in group]
    return []


def _allowed(errors: list[Any]) -> set[str]:
    """The classes that explain these errors; empty when one of them has none."""
    found = [{name for name, (_, fits) in ALLOWED.items() if fits(error)} for error in errors]
    return set().union(*found) if all(found) else set()


@pytest.mark.parametrize("name", sorted(schemas()))
def test_published_file_is_up_to_date(name: str) -> None:
    assert (ROOT / "schemas" / name).read_text(encoding="utf-8") == written(schemas()[name]), (
        "run: python -m pgvillage.estate.schema --write schemas/"
    )


def test_no_other_file_is_published() -> None:
    assert {path.name for path in (ROOT / "schemas").iterdir()} == set(schemas()) | set(report_schemas())


def test_write_and_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--write", str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(schemas())
    assert main([]) == 64
    assert "usage" in capsys.readouterr().err


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


@pytest.mark.parametrize("name", sorted(schemas()))
def test_schema_is_well_formed(name: str) -> None:
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DIALECT
    assert schema["$id"] == f"urn:pgvillage:v1:{name.removesuffix('.json')}"
    assert schema["description"]
    for node in _nodes(schema):
        if isinstance(reference := node.get("$ref"), str):
            assert reference.removeprefix("#/$defs/") in schema["$defs"]
        assert "patternProperties" not in node, "lets every other key pass unchecked"


def test_every_pattern_is_described() -> None:
    bare = [
        n["pattern"]
        for n in _nodes(schemas()["any.json"])
        if isinstance(n.get("pattern"), str) and "description" not in n
    ]
    assert set(bare) <= {
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",  # HighAvailability.cluster: described around its anyOf
    }


def test_every_pattern_of_the_manifests_is_told_in_words() -> None:
    enforced = {node["pattern"] for node in _nodes(schemas()["any.json"]) if isinstance(node.get("pattern"), str)}
    of_names = {node["pattern"] for node in _nodes(schemas()["any.json"]) if r"\u0000" in str(node.get("pattern"))}
    by_validators = {r"^[^{}]*(\{[A-Za-z][A-Za-z0-9-]*\}[^{}]*)+$", r"^\(.+\)$"}
    assert enforced - of_names - by_validators <= set(pattern_words())


def test_schemas_and_models_agree(validators: dict[str, Draft202012Validator]) -> None:
    seen: Counter[str] = Counter()
    good = bad = 0
    for number, document in enumerate([*good_documents(), *mutated(COUNT, seed=20260104)]):
        errors = _model_errors(document)
        names = [f"{document['kind'].lower()}.json"] if document.get("kind") in list(KINDS) else []
        if not names or number % 3 == 0:
            names.append("any.json")
        for name in names:
            accepted = validators[name].is_valid(document)
            if accepted and errors:
                classes = _allowed(errors)
                assert classes, f"{name} accepts what the model refuses: {document}\n{errors}"
                seen.update(classes)
            complaint = None if accepted else next(iter(validators[name].iter_errors(document)))
            assert accepted or errors, f"{name} refuses what the model accepts: {document}\n{complaint}"
        good, bad = good + (not errors), bad + bool(errors)
    assert set(seen) == set(ALLOWED), "a class of disagreement that does not occur any more: remove it"
    assert good > 300
    assert bad > 2_000


def test_unknown_kind_is_refused_by_any(validators: dict[str, Draft202012Validator]) -> None:
    document = {"apiVersion": "pgvillage/v1", "kind": "Clutser", "metadata": {"name": "a"}, "spec": {}}
    assert [error.json_path for error in validators["any.json"].iter_errors(document)] == ["$.kind"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_example_names_its_schema_and_fits_it(path: Path, validators: dict[str, Draft202012Validator]) -> None:
    text = path.read_text(encoding="utf-8")
    reference = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    schema = (path.parent / reference).resolve()
    assert schema.parent == ROOT / "schemas"
    documents, faults = parse_documents(text, path.name)
    assert not faults
    kinds = {document["kind"] for document, _ in documents if isinstance(document, dict)}
    assert (
        schema.name == "any.json" if len(documents) > 1 else {schema.name} == {f"{kind.lower()}.json" for kind in kinds}
    )
    for document, _ in documents:
        assert [error.message for error in validators[schema.name].iter_errors(document)] == []


def test_there_are_examples() -> None:
    names = {json.dumps(path.name) for path in EXAMPLES.rglob("*.yaml")}
    assert len(names) >= 9
