"""Writing manifests: YAML 1.2 as people write it, small things on one line, the schema named for editors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pgvillage.core.schema_files import written
from pgvillage.estate.schema import schemas
from pgvillage.estate.yaml12_scalars import NotCore, resolve

Document = dict[str, Any]
_LINE = 88


def write_estate(
    folder: Path, files: Mapping[str, list[Document]], remark: str | Mapping[str, str] = ""
) -> tuple[str, ...]:
    """Every file that has documents, below `folder`/estate; their schemas beside it. The names that were written.

    `remark` is a comment for the head of each file, or one by file.
    """
    names = write_manifests(folder, files, remark)
    for name, schema in schemas().items():
        _write(folder / "schemas" / name, written(schema))
    return (*names, "schemas/")


def write_manifests(
    folder: Path, files: Mapping[str, list[Document]], remark: str | Mapping[str, str] = ""
) -> tuple[str, ...]:
    """As `write_estate`, without the schemas."""
    some = {name: documents for name, documents in files.items() if documents}
    for name, documents in some.items():
        words = remark if isinstance(remark, str) else remark.get(name, "")
        _write(folder / "estate" / name, head_of(name, documents) + words + dumped(documents))
    return tuple(f"estate/{name}" for name in some)


def head_of(name: str, documents: list[Document]) -> str:
    kinds = {document["kind"].lower() for document in documents}
    up = os.path.relpath("schemas", Path("estate", name).parent)
    return f"# yaml-language-server: $schema={up}/{kinds.pop() if len(kinds) == 1 else 'any'}.json\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def dumped(documents: list[Document]) -> str:
    return yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, explicit_start=len(documents) > 1
    )


def inline(value: Any) -> str:
    """A value as YAML in one line, fit to stand in another one's brackets."""
    text = yaml.dump([value], Dumper=_InlineDumper, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.strip()[1:-1]


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would not read as text, and nothing else."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 - PyYAML's own way to have none of YAML 1.1

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - an alias is never shorter to read
        return True

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is not yaml.ScalarNode or not implicit[0]:
            return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        try:
            found = resolve(value, None, plain=True)
        except NotCore:
            found = 0
        return f"tag:yaml.org,2002:{_TAGS[type(found)]}"

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        return _compact(super().represent_sequence(tag, sequence, flow_style))

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> Any:
        node = _compact(super().represent_mapping(tag, mapping, flow_style))
        if "apiVersion" in mapping or "spec" in mapping:
            node.flow_style = False
        return node

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002 - PyYAML's signature
        return super().increase_indent(flow, False)


class _InlineDumper(_Dumper):
    """All in one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = True
        return node

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> Any:
        node = super().represent_mapping(tag, mapping, flow_style)
        node.flow_style = True
        return node


def _text(dumper: _Dumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None)


_Dumper.add_representer(str, _text)
_TAGS = {str: "str", bool: "bool", int: "int", float: "float", type(None): "null"}


def _compact(node: Any) -> Any:
    """On one line what fits there; long lists of plain names go on in the next line."""
    names = isinstance(node, yaml.SequenceNode) and all(isinstance(each, yaml.ScalarNode) for each in node.value)
    node.flow_style = names or _width(node) <= _LINE
    return node


def _width(node: yaml.Node) -> int:
    if isinstance(node, yaml.ScalarNode):
        return len(node.value) if "\n" not in node.value else _LINE + 1
    if isinstance(node, yaml.MappingNode):
        return sum(_width(key) + _width(value) + 4 for key, value in node.value)
    return sum(_width(each) + 2 for each in node.value)
