"""Edits of manifests that adopting makes: a key, an item of a list, a document of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvillage.estate.located import Located
from pgvillage.estate.yaml_edit import DocPath, append_item, document_of, set_value, take_out
from pgvillage.usecases.estate_files import dumped, inline

NEW_FILE = "adopted.yaml"
_HEAD = "# What was found living and adopted; move it where it belongs.\n"


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one document: `item` is appended to the list at `path`, or the value there becomes `value`.

    With `out` what stands at `path` is taken out. Without a path `value` is a whole document for a file of its own.
    """

    value: Any
    file: str = NEW_FILE
    kind: str = ""
    name: str = ""
    path: DocPath = ()
    item: bool = False
    out: bool = False


def key(located: Located[Any], path: DocPath, value: Any) -> Edit:
    document = located.document
    return Edit(value, located.file, document.kind, document.metadata.name, path)


def item(located: Located[Any], path: DocPath, value: Any) -> Edit:
    document = located.document
    return Edit(value, located.file, document.kind, document.metadata.name, path, item=True)


def out(located: Located[Any], path: DocPath) -> Edit:
    document = located.document
    return Edit(None, located.file, document.kind, document.metadata.name, path, out=True)


def applied(edits: Iterable[Edit], root: Path, texts: dict[str, str]) -> dict[str, str]:
    """The texts of files with these edits; those that are not there yet are read. Raises Unclear."""
    found = dict(texts)
    for edit in edits:
        path = root / edit.file
        text = found.get(edit.file)
        if text is None:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
        found[edit.file] = _edited(text, edit)
    return found


def _edited(text: str, edit: Edit) -> str:
    if not edit.path:
        return f"{text or _HEAD}---\n{dumped([edit.value])}"
    document = document_of(text, edit.kind, edit.name)
    if edit.out:
        return take_out(text, document, edit.path)
    change = append_item if edit.item else set_value
    return change(text, document, edit.path, edit.value, inline)
