"""The text of one file: positions of what stands in it, and excerpts that are safe to show."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from pgvillage.core.errors import Diagnostic, Position

DocPath = tuple[str | int, ...]

WIDTH = 100  # columns of an excerpt
LONGEST = 4_000  # characters of a line worth an excerpt
HIDDEN = "***"
_SECRET_WORD = r"(?:password|passwd|passphrase|pwd|secret|token|private_?key|api_?key)(?!_encryption)\w{0,20}"  # noqa: S105
_SECRET_KEY = re.compile(_SECRET_WORD, re.IGNORECASE)
_SECRET_PAIR = re.compile(rf"""({_SECRET_WORD}["']?\s{{0,20}}[:=]\s{{0,99}})([^\s{{\[,}}\]#].*)""", re.IGNORECASE)
_SECRET_OPENS = re.compile(
    rf"""{_SECRET_WORD}["']?\s{{0,20}}:\s{{0,99}}(?:[&!]\S+\s+){{0,2}}([|>][-+0-9]*\s*)?(?:#.*)?$""", re.IGNORECASE
)
_PAIR = re.compile(r"\s*(?:- )?[\w-]+:(?:\s|$)")


@lru_cache(maxsize=4096)
def is_secret_key(key: str) -> bool:
    """Whether a plain string under this key must never be shown."""
    return bool(_SECRET_KEY.search(key))


def harmless(text: str) -> str:
    """The text with everything escaped that a terminal or a log would act on."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def dotted(path: DocPath) -> str:
    """`spec.databases[0].owner`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{_step(step)}" for step in path)
    return text.removeprefix(".")


def _step(key: str) -> str:
    return key if re.fullmatch(r"[\w$-]+", key) else f'"{harmless(key[:60])}"'


@dataclass(frozen=True, slots=True)
class Span:
    """From (line, column) up to and without (line, column), all from 0."""

    start: tuple[int, int]
    end: tuple[int, int]


@dataclass(eq=False)
class SourceText:
    """One file. `secrets` are the plain strings that are never shown: line -> spans."""

    file: str
    text: str
    secrets: dict[int, list[Span]] = field(default_factory=dict)

    @cached_property
    def lines(self) -> list[str]:
        return re.split(r"\r\n|[\r\n]", self.text)

    def hide(self, span: Span) -> None:
        """Never show this."""
        for line in range(span.start[0], span.end[0] + 1):
            self.secrets.setdefault(line, []).append(span)

    def excerpt(self, position: Position) -> str:
        """The line with a caret under the column; secrets hidden, at most about 100 columns."""
        if not 1 <= position.line <= len(self.lines) or len(self.lines[position.line - 1]) > LONGEST:
            return ""
        line, column = self._masked(position.line - 1, position.column - 1)
        before = harmless(line[:column])
        start = max(0, len(before) - WIDTH * 2 // 3) if len(harmless(line)) > WIDTH else 0
        shown = harmless(line)[start : start + WIDTH]
        return f"  {shown}\n  {' ' * (len(before) - start)}^"

    def _masked(self, number: int, column: int) -> tuple[str, int]:
        line = self.lines[number]
        if self._inside_secret(number):
            return line[: _indent(line)] + HIDDEN, min(column, _indent(line))
        for span in sorted(self.secrets.get(number, ()), key=lambda s: -s.start[1]):
            start = span.start[1] if span.start[0] == number else 0
            end = span.end[1] if span.end[0] == number else len(line)
            line, column = _cut(line, column, start, end)
        searched = 0
        while pair := _SECRET_PAIR.search(line, searched):
            searched = pair.start(2) + len(HIDDEN)
            if not pair[2].startswith(HIDDEN):
                line, column = _cut(line, column, pair.start(2), _end_of_value(line, pair.start(2)))
        return line, min(column, len(line))

    def _inside_secret(self, number: int) -> bool:
        """Whether the line goes on with what a secret's key opened on a line above (known without a parse)."""
        line, lowest = self.lines[number], len(self.lines[number]) + 1
        for above in range(number - 1, max(-1, number - 200), -1):
            text = self.lines[above]
            if not text.strip():
                continue
            if opens := _SECRET_OPENS.search(text):
                deeper = min(lowest, _indent(line)) > _indent(text)
                # `password:` may open a mapping; after `password: |` everything deeper is the secret
                is_pair = bool(_PAIR.match(line)) and opens[1] is None
                return (deeper or above == number - 1) and not is_pair
            lowest = min(lowest, _indent(text))
            if lowest == 0:
                break  # nothing above opens what this line is in
        return False


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _cut(line: str, column: int, start: int, end: int) -> tuple[str, int]:
    if column > start:
        column = start if column < end else column - (end - start) + len(HIDDEN)
    return line[:start] + HIDDEN + line[end:], column


def _end_of_value(line: str, start: int) -> int:
    """Where a value that was never parsed may end: its closing quote and nothing less, else the line's end."""
    quote = line[start] if line[start] in "\"'" else None
    if quote:
        close = line.find(quote, start + 1)
        return len(line) if close < 0 or line[close + 1 :].lstrip()[:1] not in ("", ",", "}", "#") else close + 1
    return len(line)


@dataclass(eq=False, slots=True)
class Positions:
    """Where the keys and values of one document stand: path -> key's line, column, value's line, column (from 1)."""

    source: SourceText
    marks: dict[DocPath, tuple[int, int, int, int]] = field(default_factory=dict)

    def __getitem__(self, path: DocPath) -> tuple[Position, Position]:
        """The key's and the value's position; KeyError when there is no such path."""
        key_line, key_column, line, column = self.marks[path]
        file = self.source.file
        return Position(file, key_line, key_column), Position(file, line, column)

    def __contains__(self, path: DocPath) -> bool:
        return path in self.marks

    def __len__(self) -> int:
        return len(self.marks)

    def known(self, path: DocPath) -> DocPath:
        """The longest beginning of the path that stands in the document."""
        while path and path not in self.marks:
            path = path[:-1]
        return path

    def key(self, path: DocPath) -> Position:
        """Of the key, or of its nearest known ancestor's key."""
        return self[self.known(path)][0]

    def value(self, path: DocPath) -> Position:
        """Of the value, or of its nearest known ancestor's value."""
        return self[self.known(path)][1]

    def diagnose(
        self, message: str, path: DocPath, *, at_key: bool = False, hint: str = "", severity: str = "error"
    ) -> Diagnostic:
        """A fault at this path, with its position and excerpt."""
        position = self.key(path) if at_key else self.value(path)
        return Diagnostic(message, position, dotted(path), self.source.excerpt(position), hint, severity)
