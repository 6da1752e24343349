"""Regular expressions that are matched in linear time: no back-tracking, so no text makes them slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from pgvillage.jobs.fault import TextFault, printable

LONGEST = 500
_STATES = 1_000
_REPEATS = 100
_DEPTH = 20
_CACHED = 2_000
_BUDGET = 5_000_000  # states looked at; reached only by patterns made for it

Test = Callable[[str], bool]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class _Op:
    """One state: `char` reads one, `split` goes two ways, `start` and `end` are a line's, `done` has matched."""

    kind: str
    test: Test | None = None
    one: int = 0
    other: int = 0


@dataclass(eq=False)
class Pattern:
    """A compiled pattern; `^` and `$` are the beginning and the end of a line."""

    text: str
    ops: list[_Op]
    fold: bool
    _closures: dict[tuple[frozenset[int], bool, bool], tuple[frozenset[int], bool]] = field(default_factory=dict)
    _steps: dict[tuple[frozenset[int], str], frozenset[int]] = field(default_factory=dict)

    def found_in(self, text: str) -> bool:
        """Whether it matches anywhere. Raises TextFault where that takes too many steps."""
        text = text.lower() if self.fold else text
        left, here = _BUDGET, frozenset({0})
        for at in range(len(text) + 1):
            begins = at == 0 or text[at - 1] == "\n"
            ends = at == len(text) or text[at] == "\n"
            key = (here, begins, ends)
            if key not in self._closures:
                left -= len(self.ops)
                self._remember(self._closures, key, self._closure(*key))
            reading, matched = self._closures[key]
            if matched:
                return True
            if at == len(text):
                break
            step = (reading, text[at])
            if step not in self._steps:
                left -= len(reading)
                self._remember(self._steps, step, self._step(*step))
            here = self._steps[step]
            if left < 0:
                raise TextFault("the pattern takes too many steps on this text", 0, "make it simpler")
        return False

    @staticmethod
    def _remember(known: dict[K, V], key: K, value: V) -> None:
        if len(known) >= _CACHED:
            known.clear()
        known[key] = value

    def _closure(self, states: frozenset[int], begins: bool, ends: bool) -> tuple[frozenset[int], bool]:
        seen, waiting, matched = set(states), list(states), False
        while waiting:
            op = self.ops[waiting.pop()]
            ways: tuple[int, ...] = ()
            if op.kind == "split":
                ways = (op.one, op.other)
            elif (op.kind == "start" and begins) or (op.kind == "end" and ends):
                ways = (op.one,)
            matched = matched or op.kind == "done"
            for way in ways:
                if way not in seen:
                    seen.add(way)
                    waiting.append(way)
        return frozenset(state for state in seen if self.ops[state].kind == "char"), matched

    def _step(self, reading: frozenset[int], char: str) -> frozenset[int]:
        ops = (self.ops[state] for state in reading)
        return frozenset({0, *(op.one for op in ops if op.test is not None and op.test(char))})


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Pattern:
    """Raises TextFault: what is no such expression, and what can't be had in linear time."""
    if len(text) > LONGEST:
        raise TextFault(f"a regular expression has at most {LONGEST} characters, found {len(text)}")
    fold = text.startswith("(?i)")
    reader = _Reader(text, 4 if fold else 0, fold)
    tree = reader.choice(0)
    if reader.at < len(text):
        raise TextFault("a closing `)` without an opening one", reader.at)
    ops: list[_Op] = []
    _emit(tree, ops)
    ops.append(_Op("done"))
    return Pattern(text, ops, fold)


@dataclass(frozen=True, slots=True)
class _Tree:
    """`char`, `start`, `end`, `chain` of parts, `choice` of parts, `repeat` of one part."""

    kind: str
    parts: tuple[_Tree, ...] = ()
    test: Test | None = None
    least: int = 0
    most: int | None = None


def _emit(tree: _Tree, ops: list[_Op]) -> None:
    if len(ops) > _STATES:
        raise TextFault(f"the regular expression has more than {_STATES} states", 0, "repeat less")
    match tree.kind:
        case "chain":
            for part in tree.parts:
                _emit(part, ops)
        case "choice":
            _emit_choice(tree.parts, ops)
        case "repeat":
            _emit_repeat(tree, ops)
        case kind:
            ops.append(_Op(kind, tree.test, len(ops) + 1))


def _emit_choice(parts: tuple[_Tree, ...], ops: list[_Op]) -> None:
    jumps = []
    for part in parts[:-1]:
        split = len(ops)
        ops.append(_Op("split"))
        _emit(part, ops)
        jumps.append(len(ops))
        ops.append(_Op("split"))
        ops[split] = _Op("split", None, split + 1, len(ops))
    _emit(parts[-1], ops)
    for jump in jumps:
        ops[jump] = _Op("split", None, len(ops), len(ops))


def _emit_repeat(tree: _Tree, ops: list[_Op]) -> None:
    (part,) = tree.parts
    for _ in range(tree.least):
        before = len(ops)
        _emit(part, ops)
        if len(ops) == before:
            return  # nothing, repeated, is nothing; nested counts would take for ever to find that out
    if tree.most is None:
        split = len(ops)
        ops.append(_Op("split"))
        _emit(part, ops)
        ops.append(_Op("split", None, split, split))
        ops[split] = _Op("split", None, split + 1, len(ops))
        return
    splits = []
    for _ in range(tree.most - tree.least):
        splits.append(len(ops))
        ops.append(_Op("split"))
        _emit(part, ops)
    for split in splits:
        ops[split] = _Op("split", None, split + 1, len(ops))


_CLASSES: dict[str, Test] = {
    "d": lambda c: "0" <= c <= "9",
    "D": lambda c: not "0" <= c <= "9",
    "w": lambda c: c.isalnum() or c == "_",
    "W": lambda c: not (c.isalnum() or c == "_"),
    "s": str.isspace,
    "S": lambda c: not c.isspace(),
}
_MARKS = {"^": _Tree("start"), "$": _Tree("end"), ".": _Tree("char", test=lambda c: c != "\n")}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(eq=False)
class _Reader:
    text: str
    at: int
    fold: bool

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def choice(self, depth: int) -> _Tree:
        if depth > _DEPTH:
            raise TextFault(f"groups are nested deeper than {_DEPTH}", self.at)
        parts = [self.chain(depth)]
        while self.peek() == "|":
            self.at += 1
            parts.append(self.chain(depth))
        return _Tree("choice", tuple(parts)) if len(parts) > 1 else parts[0]

    def chain(self, depth: int) -> _Tree:
        parts = []
        while (char := self.peek()) and char not in "|)":
            parts.append(self.repeated(depth))
        return _Tree("chain", tuple(parts))

    def repeated(self, depth: int) -> _Tree:
        start, part = self.at, self.single(depth)
        count = self.counts()
        if count is None:
            return part
        if part.kind in ("start", "end"):
            raise TextFault("the beginning and the end of a line can't be repeated", start)
        if (mark := self.peek()) and mark in "*+?":
            raise TextFault(f"`{mark}` after a repetition is not supported", self.at, "take it away, or use a group")
        return _Tree("repeat", (part,), None, *count)

    def counts(self) -> tuple[int, int | None] | None:
        marks: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if (char := self.peek()) and char in marks:
            self.at += 1
            return marks[char]
        if char != "{":
            return None
        start, end = self.at, self.text.find("}", self.at)
        low, comma, high = self.text[start + 1 : max(end, start + 1)].partition(",")
        if not low.isascii() or not low.isdigit() or (high and not (high.isascii() and high.isdigit())):
            raise TextFault("expected a count such as {3}, {2,} or {2,5}", start, "for the character itself write \\{")
        least = int(low[:4])
        most = None if comma and not high else int(high[:4]) if comma else least
        if least > _REPEATS or (most or 0) > _REPEATS or (most is not None and most < least):
            raise TextFault(f"counts go from 0 to {_REPEATS}, the smaller one first", start)
        self.at = end + 1
        return least, most

    def single(self, depth: int) -> _Tree:
        start, char = self.at, self.peek()
        self.at += 1
        if char in _MARKS:
            return _MARKS[char]
        if char == "(":
            return self.group(start, depth)
        if char in "*+?{":
            raise TextFault(f"`{char}` repeats nothing", start, f"for the character itself write \\{char}")
        if char == "[":
            return _Tree("char", test=self.klass(start))
        return _Tree("char", test=self.escaped(start) if char == "\\" else self.one(char))

    def one(self, char: str) -> Test:
        return (char.lower() if self.fold else char).__eq__

    def group(self, start: int, depth: int) -> _Tree:
        if self.text.startswith("?:", self.at):
            self.at += 2
        elif self.peek() == "?":
            raise TextFault("groups that look around, name or set something are not supported", start, "use (…)")
        inside = self.choice(depth + 1)
        if self.peek() != ")":
            raise TextFault("this `(` is not closed", start)
        self.at += 1
        return inside

    def escaped(self, start: int) -> Test:
        char = self.peek()
        self.at += 1
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _ESCAPES:
            return _ESCAPES[char].__eq__
        if not char or char.isalnum():
            what = f"\\{printable(char)}" if char else "a backslash at the end"
            raise TextFault(f"{what} is not supported", start, "known: \\d \\w \\s \\D \\W \\S \\n \\t \\r")
        return char.__eq__

    def klass(self, start: int) -> Test:
        negated = self.peek() == "^"
        self.at += negated
        tests: list[Test] = []
        first = True
        while (char := self.peek()) != "]" or first:
            if not char:
                raise TextFault("this `[` is not closed", start)
            tests.append(self.member())
            first = False
        self.at += 1
        return lambda c: any(test(c) for test in tests) is not negated

    def member(self) -> Test:
        start, char = self.at, self.peek()
        self.at += 1
        if char == "\\":
            return self.escaped(start)
        if char == "[" and self.peek() in (":", ".", "="):
            raise TextFault("classes such as [:alpha:] are not supported", start, "use \\w, \\d, \\s")
        if self.peek() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return self.one(char)
        last = self.text[self.at + 1]
        self.at += 2
        if last == "\\" or last < char:
            raise TextFault("a range goes from the smaller character to the larger one", start)
        if self.fold:
            return lambda c: char <= c <= last or char <= c.upper() <= last
        return lambda c: char <= c <= last
