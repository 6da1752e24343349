"""YAML 1.2 (core schema) with positions: what the manifests and the settings are written in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from pgvillage.core.errors import Diagnostic, Position
from pgvillage.estate.source_text import DocPath, Positions, SourceText, Span, dotted, is_secret_key
from pgvillage.estate.yaml12_scalars import CORE, NotCore, resolve, written

__all__ = ["MAX_ALIASED", "MAX_DEPTH", "Positions", "decode", "parse_documents"]

MAX_DEPTH = 50
MAX_ALIASED = 10_000  # nodes that aliases may stand for in one file
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NEW_LINE = re.compile(r"\r\n|[\r\n]")
_BYTE_NEW_LINE = re.compile(rb"\r\n|[\r\n]")
_TAB_HINT = "YAML is indented with spaces, never with tabs"


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not come yet."""

    value: Any
    path: DocPath
    anchor: str | None
    before: int  # nodes built before it, to know its size
    is_mapping: bool
    key: str | None = None
    key_mark: Any = None
    has_key: bool = False
    seen: dict[str, int] = field(default_factory=dict)  # key -> line
    height: int = 1  # levels in it, itself included


@dataclass(slots=True)
class _Anchored:
    value: Any
    size: int = 1
    height: int = 0


class _Stop(Exception):
    """The document can't be followed any further."""


class _Builder:
    """Builds documents from events, without recursion; faults are collected."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.faults: list[tuple[str, Position, DocPath, str]] = []
        self.documents: list[tuple[object, Positions]] = []
        self.aliased = 0

    def fault(self, message: str, mark: Any, hint: str = "", path: DocPath = ()) -> None:
        self.spoilt = True
        self.faults.append((message, Position(self.source.file, mark.line + 1, mark.column + 1), path, hint))

    def diagnostics(self) -> list[Diagnostic]:
        """Made last: only then every secret is known that an excerpt must hide."""
        return [
            Diagnostic(message, position, dotted(path), self.source.excerpt(position), hint)
            for message, position, path, hint in self.faults
        ]

    def run(self, events: Iterator[Any]) -> None:
        actions: dict[type, Any] = {
            yaml.ScalarEvent: self.scalar,
            yaml.MappingStartEvent: self.open_mapping,
            yaml.SequenceStartEvent: self.open_sequence,
            yaml.MappingEndEvent: self.close,
            yaml.SequenceEndEvent: self.close,
            yaml.AliasEvent: self.alias,
            yaml.DocumentStartEvent: self.start_document,
            yaml.DocumentEndEvent: self.end_document,
        }
        for event in events:
            action = actions.get(type(event))
            if action is not None:
                action(event)

    def start_document(self, _: Any) -> None:
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Anchored | None] = {}  # None while it is being built
        self.positions = Positions(self.source)
        self.nodes = 0
        self.root: object = None
        self.spoilt = False

    def end_document(self, _: Any) -> None:
        if self.root is not None and not self.spoilt:
            self.documents.append((self.root, self.positions))

    def scalar(self, event: Any) -> None:
        plain = event.implicit[0]
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.is_mapping and not parent.has_key:
            self.key(event, parent, plain)
            return
        if parent is not None and parent.key is not None and is_secret_key(parent.key):
            start, end = event.start_mark, event.end_mark
            self.source.hide(Span((start.line, start.column), (end.line, end.column)))
        try:
            value = resolve(event.value, event.tag, plain=plain)
        except NotCore as error:
            self.fault(str(error), event.start_mark, error.hint, self.here())
            value = event.value
        self.nodes += 1
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(value)
        self.place(value, event.start_mark)

    def key(self, event: Any, parent: _Open, plain: bool) -> None:
        name = event.value
        parent.has_key, parent.key_mark = True, event.start_mark
        parent.key = name if isinstance(name, str) else str(name)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(name)
        try:
            value = resolve(name, event.tag, plain=plain)
        except NotCore as error:
            self.fault(str(error), event.start_mark, error.hint, parent.path)
            return
        if plain and name == "<<":
            self.fault("merge keys (`<<`) are not YAML 1.2", event.start_mark, "write the keys out", parent.path)
        elif not isinstance(value, str):
            shown = "an empty key" if name == "" else f"the key {name[:40]}"
            self.fault(f"keys are text, and {shown} is not", event.start_mark, "put it in quotes", parent.path)
        elif name in parent.seen:
            message = f"the key {name[:60]!r} is here a second time; it stands on line {parent.seen[name]} already"
            spoilt = self.spoilt
            self.fault(message, event.start_mark, "remove one of the two", (*parent.path, name))
            self.spoilt = spoilt  # the first one counts, so the rest can still be checked
        parent.seen.setdefault(name, event.start_mark.line + 1)

    def here(self) -> DocPath:
        """The path of the value that comes next."""
        if not self.stack:
            return ()
        parent = self.stack[-1]
        return (*parent.path, parent.key or "" if parent.is_mapping else len(parent.value))

    def place(self, value: object, mark: Any) -> DocPath:
        """Put a value where it belongs and remember its position."""
        line, column = mark.line + 1, mark.column + 1
        if not self.stack:
            self.root = value
            self.positions.marks[()] = (line, column, line, column)
            return ()
        parent = self.stack[-1]
        if not parent.is_mapping:
            path = (*parent.path, len(parent.value))
            parent.value.append(value)
            self.positions.marks[path] = (line, column, line, column)
            return path
        name, key_mark = parent.key or "", parent.key_mark
        path = (*parent.path, name)
        if name not in parent.value:  # the first of two keys counts
            parent.value[name] = value
            self.positions.marks[path] = (key_mark.line + 1, key_mark.column + 1, line, column)
        parent.has_key, parent.key = False, None
        return path

    def open_mapping(self, event: Any) -> None:
        self.open(event, {}, is_mapping=True)

    def open_sequence(self, event: Any) -> None:
        self.open(event, [], is_mapping=False)

    def open(self, event: Any, value: Any, *, is_mapping: bool) -> None:
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.is_mapping and not parent.has_key:
            self.fault("a key is text; found a list or a mapping", event.start_mark, path=parent.path)
            raise _Stop
        if len(self.stack) >= MAX_DEPTH:
            self.fault(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
            raise _Stop
        if event.tag not in (None, "!", CORE + ("map" if is_mapping else "seq")):
            self.fault(f"the tag {written(event.tag)} is not allowed here", event.start_mark, "remove it", self.here())
        # a list inside a list under `password:` is as secret as the string itself
        inherited = parent.key if parent is not None and not is_mapping else None
        path = self.place(value, event.start_mark)
        self.stack.append(_Open(value, path, event.anchor, self.nodes, is_mapping, key=inherited))
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.nodes += 1

    def close(self, _: Any) -> None:
        done = self.stack.pop()
        if done.anchor is not None:
            self.anchors[done.anchor] = _Anchored(done.value, self.nodes - done.before, done.height)
        if self.stack:
            self.stack[-1].height = max(self.stack[-1].height, done.height + 1)

    def alias(self, event: Any) -> None:
        name, parent = event.anchor, self.stack[-1] if self.stack else None
        if parent is not None and parent.is_mapping and not parent.has_key:
            self.fault("an alias can't be a key", event.start_mark, "write the key out", parent.path)
            raise _Stop
        if name not in self.anchors:
            self.fault(f"the alias *{name[:60]} has no anchor above it", event.start_mark, path=self.here())
            raise _Stop
        anchored = self.anchors[name]
        if anchored is None:
            self.fault(f"the alias *{name[:60]} stands inside its own anchor", event.start_mark, path=self.here())
            raise _Stop
        self.expand(anchored, event.start_mark)

    def expand(self, anchored: _Anchored, mark: Any) -> None:
        self.nodes += anchored.size
        self.aliased += anchored.size
        if self.aliased > MAX_ALIASED:
            self.fault(f"the aliases of this file stand for more than {MAX_ALIASED} values", mark)
            raise _Stop
        if len(self.stack) + anchored.height > MAX_DEPTH:
            self.fault(f"nested more than {MAX_DEPTH} levels deep", mark)
            raise _Stop
        if self.stack:
            self.stack[-1].height = max(self.stack[-1].height, anchored.height + 1)
        self.place(anchored.value, mark)


def parse_documents(text: str, file: str) -> tuple[list[tuple[object, Positions]], list[Diagnostic]]:
    """Every document that could be followed (empty ones left out), and every fault of the file.

    Positions count from 1. A document with a fault is not among the documents. Never raises.
    """
    source = SourceText(file, text)
    if (bad := _FORBIDDEN.search(text)) is not None:
        return [], [_forbidden(source, bad)]
    builder, syntax = _Builder(source), []
    loader = _LOADER(text)
    try:
        builder.run(_events(loader))
    except _Stop:
        pass
    except yaml.YAMLError as error:
        syntax.append(_syntax(source, error))
    finally:
        loader.dispose()
    return builder.documents, builder.diagnostics() + syntax


def _events(loader: Any) -> Iterator[Any]:
    while loader.check_event():
        yield loader.get_event()


def decode(data: bytes, file: str) -> str | Diagnostic:
    """The text of a file, or what keeps it from being UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        breaks = list(_BYTE_NEW_LINE.finditer(data, 0, error.start))
        start = breaks[-1].end() if breaks else 0
        column = len(data[start : error.start].decode(errors="replace")) + 1
        position = Position(file, len(breaks) + 1, column)
        return Diagnostic(f"not UTF-8: byte 0x{data[error.start]:02x}", position, hint="save the file as UTF-8")


def _forbidden(source: SourceText, match: re.Match[str]) -> Diagnostic:
    breaks = list(_NEW_LINE.finditer(source.text, 0, match.start()))
    position = Position(source.file, len(breaks) + 1, match.start() - (breaks[-1].end() if breaks else 0) + 1)
    code = f"U+{ord(match[0]):04X}"
    if match[0] == "\ufeff":
        message, hint = f"a byte order mark ({code})", "save the file as UTF-8 without BOM"
    else:
        message, hint = f"the character {code} is not allowed in YAML", "remove it, or escape it in double quotes"
    return Diagnostic(message, position, excerpt=source.excerpt(position), hint=hint)


def _syntax(source: SourceText, error: yaml.YAMLError) -> Diagnostic:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    if line > len(source.lines) or not "".join(source.lines[line - 1 :]).strip():  # the end: show what stands last
        line = max((number for number, text in enumerate(source.lines, 1) if text.strip()), default=1)
        column = len(source.lines[line - 1].rstrip()) + 1
    position = Position(source.file, line, column)
    problem = getattr(error, "problem", None) or "this is not YAML"
    context = getattr(error, "context", None)
    text = source.lines[position.line - 1]
    hint = _TAB_HINT if "\t" in text[: column + 1] else ""
    message = f"{problem} ({context})" if context else problem
    return Diagnostic(message, position, excerpt=source.excerpt(position), hint=hint)
