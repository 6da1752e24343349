"""Small edits of a manifest's text that leave every other line and comment as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

from pgvillage.estate.yaml12 import parse_documents

DocPath = tuple[str | int, ...]


class Unclear(ValueError):
    """The text is not written in a way that can be edited without doubt."""


def set_value(text: str, document: int, path: DocPath, value: Any, render: Callable[[Any], str]) -> str:
    """The text with `value` at `path`; keys that are missing are made. Raises Unclear.

    `render` writes a value as YAML in one line.
    """
    root, step = _root(text, document), 0
    node: yaml.Node = root
    while step < len(path) and (child := _child(node, path[step])) is not None:
        node, step = child, step + 1
    if step == len(path):
        if isinstance(node, yaml.CollectionNode) and not node.flow_style:
            raise Unclear("it is written over several lines")
        new = text[: node.start_mark.index] + render(value) + text[node.end_mark.index :]
    else:
        new = _add_key(text, node, str(path[step]), _nested(path[step + 1 :], value), render)
    return _checked(text, new, document, lambda content: _put(content, path, value))


def append_item(text: str, document: int, path: DocPath, item: Any, render: Callable[[Any], str]) -> str:
    """The text with `item` at the end of the list at `path`, which is made where it is missing. Raises Unclear."""
    root, step = _root(text, document), 0
    node: yaml.Node = root
    while step < len(path) and (child := _child(node, path[step])) is not None:
        node, step = child, step + 1
    if step < len(path):
        return set_value(text, document, path, [item], render)
    if not isinstance(node, yaml.SequenceNode):
        raise Unclear("it is no list")
    if node.flow_style:
        new = _into_flow(text, node, render(item))
    else:
        new = _after(text, node, f"{' ' * node.start_mark.column}- {render(item)}")
    return _checked(text, new, document, lambda content: _get(content, path).append(item))


def take_out(text: str, document: int, path: DocPath) -> str:
    """The text without the key or item at `path`, and without the comment on its line. Raises Unclear."""
    parent = _root(text, document)
    for step in path[:-1]:
        child = _child(parent, step)
        if child is None:
            raise Unclear("it is not there")
        parent = child
    if not isinstance(parent, yaml.CollectionNode):
        raise Unclear("it is neither a list nor a mapping")
    pairs = [each if isinstance(each, tuple) else (each, each) for each in parent.value]
    index = next((i for i, (key, _) in enumerate(pairs) if path[-1] in (i, getattr(key, "value", None))), None)
    if isinstance(path[-1], int):
        index = path[-1]
    if index is None:
        raise Unclear("it is not there")
    new = _without_flow(text, pairs, index) if parent.flow_style else _without_lines(text, parent, pairs, index)
    return _checked(text, new, document, lambda content: _get(content, path[:-1]).__delitem__(path[-1]))


_Pairs = list[tuple[yaml.Node, yaml.Node]]


def _without_flow(text: str, pairs: _Pairs, index: int) -> str:
    key, value = pairs[index]
    start, end = key.start_mark.index, value.end_mark.index
    if index > 0:
        start = pairs[index - 1][1].end_mark.index
    elif len(pairs) > 1:
        end = pairs[1][0].start_mark.index
    return text[:start] + text[end:]


def _without_lines(text: str, parent: yaml.CollectionNode, pairs: _Pairs, index: int) -> str:
    key, value = pairs[index]
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    before = text[start : key.start_mark.index].strip()
    if before not in ("", "-") or (before == "-" and isinstance(parent, yaml.MappingNode)):
        raise Unclear("it shares its line with something else")
    end = text.find("\n", _end(text, value)) + 1 or len(text)
    empty = "{}" if isinstance(parent, yaml.MappingNode) else "[]"
    rest = f"{' ' * parent.start_mark.column}{empty}\n" if len(pairs) == 1 else ""
    return text[:start] + rest + text[end:]


def document_of(text: str, kind: str, name: str) -> int:
    """Which document of a file this is, from 0. Raises Unclear."""
    documents, _ = parse_documents(text, "")
    for index, (content, _) in enumerate(documents):
        if isinstance(content, dict) and content.get("kind") == kind and content["metadata"]["name"] == name:
            return index
    raise Unclear(f"there is no {kind} {name}")


def _root(text: str, document: int) -> yaml.Node:
    if "\r" in text:
        raise Unclear("its lines end as on Windows")
    nodes = [node for node in yaml.compose_all(text, yaml.SafeLoader) if node is not None]
    return nodes[document]


def _child(node: yaml.Node, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        found: yaml.Node = node.value[step]
        return found
    raise Unclear("it is neither a list nor a mapping")


def _add_key(text: str, node: yaml.Node, key: str, value: Any, render: Callable[[Any], str]) -> str:
    if not isinstance(node, yaml.MappingNode):
        raise Unclear("it is no mapping")
    pair = f"{render(key)}: {render(value)}"
    if node.flow_style:
        return _into_flow(text, node, pair)
    return _after(text, node, f"{' ' * node.start_mark.column}{pair}")


def _into_flow(text: str, node: yaml.CollectionNode, piece: str) -> str:
    if not node.value:
        return text[: node.start_mark.index + 1] + piece + text[node.end_mark.index - 1 :]
    last = node.value[-1]
    end = (last[1] if isinstance(last, tuple) else last).end_mark.index
    return f"{text[:end]}, {piece}{text[end:]}"


def _after(text: str, node: yaml.CollectionNode, line: str) -> str:
    """The line below the last one of a block."""
    end = text.find("\n", _end(text, node))
    return f"{text}\n{line}\n" if end < 0 else f"{text[: end + 1]}{line}\n{text[end + 1 :]}"


def _end(text: str, node: yaml.Node) -> int:
    """Where its last value ends; the mark of a block is after the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    end = node.end_mark.index
    return end - 1 if end and text[end - 1] == "\n" else end


def _nested(path: DocPath, value: Any) -> Any:
    for step in reversed(path):
        value = {str(step): value}
    return value


def _get(content: Any, path: DocPath) -> Any:
    for step in path:
        content = content[step]
    return content


def _put(content: Any, path: DocPath, value: Any) -> None:
    for step in path[:-1]:
        content = content.setdefault(step, {}) if isinstance(content, dict) else content[step]
    content[path[-1]] = value


def _checked(before: str, after: str, document: int, edit: Callable[[Any], None]) -> str:
    """The new text, when it says what the old one said but for this edit."""
    # Through JSON, so that what an alias shares is two things: an edit of both is not what was asked for.
    wanted = json.loads(json.dumps([content for content, _ in parse_documents(before, "")[0]]))
    edit(wanted[document])
    documents, faults = parse_documents(after, "")
    if faults or [content for content, _ in documents] != wanted:
        raise Unclear("its text can't be changed in one place")
    return after


__all__ = ["Unclear", "append_item", "document_of", "set_value", "take_out"]
