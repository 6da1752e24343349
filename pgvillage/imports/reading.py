"""A foreign file, read key by key: what nobody asked for is named, and no value is ever repeated in a message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgvillage.core.errors import Diagnostic, ManifestError, Position
from pgvillage.estate.explain_errors import nearest
from pgvillage.estate.manifest_files import Unreadable, read_manifest, shown
from pgvillage.estate.source_text import DocPath, Positions, dotted, harmless
from pgvillage.estate.yaml12 import decode, parse_documents

LARGEST = 16 << 20  # bytes; a Terraform state is far larger than any manifest
_MOST = 200_000  # steps of reading one file: aliases and products of lists must not make it endless
_FLAGS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
_BOOKKEEPING = frozenset({"instances", "attributes", 0})  # of a Terraform state; they say nothing to people
_EMPTY: tuple[object, ...] = (None, "", False, 0, [], {})


@dataclass(frozen=True, slots=True)
class Note:
    """A key that is not carried over: why, and what to do. Never holds a secret."""

    position: Position
    key: str
    why: str
    advice: str

    def __str__(self) -> str:
        where = f"{self.position.file}:{self.position.line}"
        return f"{where}: {f'{self.key}: ' if self.key else ''}{self.why}{f'; {self.advice}' if self.advice else ''}"


@dataclass(eq=False)
class Reading:
    """One file on its way into manifests."""

    file: str
    content: object
    positions: Positions
    faults: list[Diagnostic] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    labels: dict[DocPath, str] = field(default_factory=dict)  # what people call this part
    left: int = _MOST

    @property
    def root(self) -> Node:
        return Node(self, (), self.content)

    def finish(self) -> tuple[Note, ...]:
        """Every note, in the order of the file. Raises ManifestError when something in the file can't be."""
        for section in self.sections:
            section.name_the_rest()
        if self.faults:
            raise ManifestError(sorted(self.faults, key=lambda f: _place(f.position)))
        unique = dict.fromkeys(self.notes)
        return tuple(sorted(unique, key=lambda n: _place(n.position)))

    def spend(self, steps: int) -> None:
        """Raises ManifestError where the file asks for more than anybody writes."""
        self.left -= steps
        if self.left < 0:
            message = f"this file stands for more than {_MOST} single things"
            raise ManifestError([Diagnostic(message, Position(self.file, 1), hint="split it")])


def _place(position: Position | None) -> tuple[int, int]:
    return (position.line, position.column) if position else (0, 0)


def read_source(path: Path) -> Reading:
    """The one document of a YAML or JSON file. Raises ManifestError with every fault that keeps it from being read."""
    file = shown(str(path))
    try:
        data = read_manifest(path, LARGEST)
    except Unreadable as error:
        raise ManifestError([Diagnostic(str(error), Position(file, 1))]) from error
    text = decode(data, file)
    if isinstance(text, Diagnostic):
        raise ManifestError([text])
    documents, faults = parse_documents(text, file)
    if faults:
        # Passwords may stand anywhere in a foreign file, so no line of it is shown.
        raise ManifestError([replace(fault, excerpt="") for fault in faults])
    if len(documents) != 1:
        found = "no document" if not documents else f"{len(documents)} documents"
        raise ManifestError([Diagnostic(f"expected one document, found {found}", Position(file, 1))])
    return Reading(file, *documents[0])


def kind_of(value: object) -> str:
    """The kind of a value in words, never the value."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value of the file and its place."""

    reading: Reading
    path: DocPath
    value: object

    @property
    def position(self) -> Position:
        return self.reading.positions.key(self.path)

    @property
    def key(self) -> str:
        labels = self.reading.labels
        cut = next((n for n in range(len(self.path), 0, -1) if self.path[:n] in labels), 0)
        if not cut:
            return harmless(dotted(self.path))
        inside = [step for step in self.path[cut:] if step not in _BOOKKEEPING]
        return harmless(".".join([labels[self.path[:cut]], *([dotted(tuple(inside))] if inside else [])]))

    def note(self, why: str, advice: str = "") -> None:
        self.reading.notes.append(Note(self.position, self.key, why, advice))

    def fault(self, expected: str) -> None:
        """The tool itself would not take this."""
        message = f"expected {expected}, found {kind_of(self.value)}"
        self.reading.faults.append(Diagnostic(message, self.position, self.key))

    def section(self) -> Section:
        """The mapping here; an empty one where there is nothing (or, with a fault, something else)."""
        if self.value is not None and not isinstance(self.value, dict):
            self.fault("a mapping")
        section = Section(self, self.value if isinstance(self.value, dict) else {})
        self.reading.sections.append(section)
        return section

    def named(self) -> Iterator[tuple[str, Node]]:
        """A mapping whose keys are names: each with its value."""
        if self.value is not None and not isinstance(self.value, dict):
            self.fault("a mapping of names")
        for name, value in self.value.items() if isinstance(self.value, dict) else ():
            self.reading.spend(1)
            yield name, Node(self.reading, (*self.path, name), value)

    def items(self) -> list[Node]:
        """The entries of a list; anything else but nothing is a list of one."""
        if not isinstance(self.value, list):
            return [] if self.value is None else [self]
        self.reading.spend(len(self.value))
        return [Node(self.reading, (*self.path, index), value) for index, value in enumerate(self.value)]

    def entries(self) -> list[Node]:
        """As `items`, where only a list will do."""
        if self.value is not None and not isinstance(self.value, list):
            self.fault("a list")
            return []
        return self.items()

    def text(self) -> str:
        """The text here; numbers count, as in YAML 1.1 tools."""
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, int | float) and not isinstance(self.value, bool):
            return str(self.value)
        if self.value is not None:
            self.fault("text")
        return ""

    def texts(self) -> list[str]:
        """Text or a list of texts; empty ones are left out."""
        return [text for each in self.items() if (text := each.text())]

    def flag(self, default: bool = False) -> bool:
        """True or false, in YAML 1.1's words too."""
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, str) and self.value.lower() in _FLAGS:
            return _FLAGS[self.value.lower()]
        if self.value is not None:
            self.fault("true or false")
        return default

    def number(self, default: int) -> int:
        if isinstance(self.value, int) and not isinstance(self.value, bool):
            return self.value
        if self.value is not None:
            self.fault("a whole number")
        return default


@dataclass(eq=False)
class Section:
    """A mapping with known keys. What is left at the end is named as unknown."""

    node: Node
    values: Mapping[str, object]
    asked: dict[str, None] = field(default_factory=dict)
    empties_count: bool = True
    rest: str = ""

    def get(self, *keys: str) -> Node:
        """The value of the first of these keys that is there (they mean the same); nothing where none is."""
        self.asked.update(dict.fromkeys(keys))
        there = [key for key in keys if key in self.values]
        for key in there[1:]:
            node = Node(self.node.reading, (*self.node.path, key), self.values[key])
            node.note(f"`{there[0]}` stands beside it and means the same; only that one is read", "merge the two")
        for key in keys:
            if key in self.values:
                return Node(self.node.reading, (*self.node.path, key), self.values[key])
        return Node(self.node.reading, (*self.node.path, keys[0]), None)

    def has(self, key: str) -> bool:
        return key in self.values

    def decline(self, key: str, why: str, advice: str = "") -> None:
        """Name this key as not carried over, if it is there and says anything."""
        node = self.get(key)
        if key in self.values and (self.empties_count or not _is_empty(node.value)):
            node.note(why, advice)

    def pass_over(self) -> None:
        """The whole of it is named already."""
        self.asked.update(dict.fromkeys(self.values))

    def name_the_rest(self) -> None:
        for key, value in self.values.items():
            if key in self.asked or (not self.empties_count and _is_empty(value)):
                continue
            close = nearest(key, self.asked)
            advice = f"did you mean {harmless(close)}?" if close else self.rest or "take it up by hand if it matters"
            Node(self.node.reading, (*self.node.path, key), value).note("unknown key, nothing was made of it", advice)


def _is_empty(value: object) -> bool:
    return any(type(value) is type(empty) and value == empty for empty in _EMPTY)
