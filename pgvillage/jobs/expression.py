"""The language of `when` and of checks: compares what steps left behind. Runs no code; what it costs is bounded."""

from __future__ import annotations

import enum
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pgvillage.jobs.fault import TextFault, printable
from pgvillage.jobs.pattern import Pattern, compile_pattern

LONGEST = 2_000
_DEPTH = 40
_ENTRIES = 200

Value = str | bool | int | float | Decimal | None
Name = tuple[str, ...]


class Kind(enum.Enum):
    NUMBER = "a number"
    TEXT = "text"
    FLAG = "true or false"
    NULL = "null"
    ANY = "any value"


@dataclass(frozen=True, slots=True)
class Constant:
    value: Value
    at: int


@dataclass(frozen=True, slots=True)
class Reference:
    name: Name
    at: int


@dataclass(frozen=True, slots=True)
class Listed:
    values: tuple[Constant, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Comparison:
    sign: str
    left: Constant | Reference
    right: Constant | Reference | Listed
    at: int
    pattern: Pattern | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """`word` is `and` or `or`, or `not` with one part."""

    word: str
    parts: tuple[Term, ...]
    at: int


Term = Constant | Reference | Comparison | Joined

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>-?[0-9]+(?:\.[0-9]+)?)(?![\w.])|(?P<text>'(?:[^'\n]|'')*'|\"(?:[^\"\\\n]|\\[\"\\])*\")"
    r"|(?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*)"
)
_WORDS = frozenset({"and", "or", "not", "in", "matches", "contains", "true", "false", "null"})
_INSTEAD = {"=": "==", "&&": "and", "||": "or", "!": "not", "=~": "matches", "<>": "!="}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_expression(text: str) -> Term:
    """Raises TextFault with the place."""
    if len(text) > LONGEST:
        raise TextFault(f"an expression has at most {LONGEST} characters, found {len(text)}")
    reader = _Reader(_tokens(text), len(text))
    term = reader.either(0)
    if (left := reader.peek()) is not None:
        raise TextFault(f"expected `and`, `or` or the end, found {printable(left.text[:40])}", left.at)
    return term


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unknown(text, at)
        kind = match.lastgroup or ""
        if kind == "name" and match[0] in _WORDS:
            kind = "word"
        if kind != "space":
            tokens.append(_Token(kind, match[0], at))
        at = match.end()
    return tokens


def _unknown(text: str, at: int) -> TextFault:
    if text[at] in "'\"":
        return TextFault("this text has no end", at)
    for wrong in sorted(_INSTEAD, key=len, reverse=True):
        if text.startswith(wrong, at):
            return TextFault(f"unknown sign {wrong}", at, f"write {_INSTEAD[wrong]}")
    return TextFault(f"unexpected {printable(text[at : at + 10])}", at, "signs: == != < <= > >= ( ) [ ] ,")


@dataclass(eq=False)
class _Reader:
    tokens: list[_Token]
    end: int
    here: int = 0

    def peek(self) -> _Token | None:
        return self.tokens[self.here] if self.here < len(self.tokens) else None

    def takes(self, *texts: str) -> _Token | None:
        token = self.peek()
        if token is None or token.kind not in ("word", "sign") or token.text not in texts:
            return None
        self.here += 1
        return token

    def either(self, depth: int) -> Term:
        return self._chain("or", lambda: self._chain("and", lambda: self.negated(depth)))

    def _chain(self, word: str, part: Callable[[], Term]) -> Term:
        parts, start = [part()], self.here
        while self.takes(word):
            parts.append(part())
        return Joined(word, tuple(parts), self.tokens[start - 1].at) if len(parts) > 1 else parts[0]

    def negated(self, depth: int) -> Term:
        if depth > _DEPTH:
            raise TextFault(f"nested deeper than {_DEPTH}", self.tokens[self.here - 1].at)
        if token := self.takes("not"):
            return Joined("not", (self.negated(depth + 1),), token.at)
        if token := self.takes("("):
            inside = self.either(depth + 1)
            if not self.takes(")"):
                raise TextFault("this `(` is not closed", token.at)
            return inside
        return self.comparison()

    def comparison(self) -> Term:
        left = self.operand()
        negation = self.takes("not")
        sign = self.takes("in", "matches", "contains")
        if negation and not sign:
            raise TextFault("expected `in`, `matches` or `contains` after `not`", negation.at)
        sign = sign or self.takes("==", "!=", "<", "<=", ">", ">=")
        if sign is None:
            return left
        found = self._compared(sign, left)
        return Joined("not", (found,), negation.at) if negation else found

    def _compared(self, sign: _Token, left: Constant | Reference) -> Comparison:
        if sign.text == "in":
            return Comparison("in", left, self.listed(sign), sign.at)
        right = self.operand()
        if sign.text != "matches":
            return Comparison(sign.text, left, right, sign.at)
        if not isinstance(right, Constant) or not isinstance(right.value, str):
            raise TextFault("`matches` needs a regular expression in quotes", right.at)
        try:
            return Comparison("matches", left, right, sign.at, compile_pattern(right.value))
        except TextFault as fault:
            raise TextFault(fault.message, right.at + 1 + fault.at, fault.hint) from fault

    def listed(self, sign: _Token) -> Listed:
        opening = self.takes("[")
        if opening is None:
            raise TextFault("`in` needs a list such as [1, 2]", sign.at)
        values: list[Constant] = []
        while True:
            value = self.operand()
            if not isinstance(value, Constant):
                raise TextFault("a list holds numbers and texts only", value.at)
            values.append(value)
            if self.takes("]"):
                return Listed(tuple(values), opening.at)
            if not self.takes(",") or len(values) >= _ENTRIES:
                raise TextFault(f"this list is not closed, or has more than {_ENTRIES} entries", opening.at)

    def operand(self) -> Constant | Reference:
        token = self.peek()
        self.here += 1
        if token is None:
            raise TextFault("expected a name, a number or a text, found the end", self.end)
        match token.kind:
            case "number":
                return Constant(Decimal(token.text), token.at)
            case "text":
                return Constant(_unquoted(token.text), token.at)
            case "name":
                return Reference(tuple(token.text.split(".")), token.at)
        constants: Mapping[str, Value] = {"true": True, "false": False, "null": None}
        if token.text in constants:
            return Constant(constants[token.text], token.at)
        raise TextFault(f"expected a name, a number or a text, found {token.text}", token.at)


def _unquoted(text: str) -> str:
    inside = text[1:-1]
    return inside.replace("''", "'") if text[0] == "'" else re.sub(r"\\(.)", r"\1", inside)


def references(term: Term) -> list[Reference]:
    """Every name in it, from left to right."""
    match term:
        case Reference():
            return [term]
        case Comparison():
            return [side for side in (term.left, term.right) if isinstance(side, Reference)]
        case Joined():
            return [name for part in term.parts for name in references(part)]
    return []


def check_types(term: Term, kinds: Mapping[Name, Kind]) -> None:
    """Raises TextFault where the kinds that are known already don't fit; every name has to be in `kinds`."""
    match term:
        case Joined():
            for part in term.parts:
                check_types(part, kinds)
        case Comparison():
            _check_comparison(term, kinds)
        case _:
            kind = _kind(term, kinds)
            if kind not in (Kind.FLAG, Kind.ANY):
                raise TextFault(f"expected true or false, found {kind.value}", term.at, "compare it with something")


def _kind(side: Constant | Reference, kinds: Mapping[Name, Kind]) -> Kind:
    return kinds[side.name] if isinstance(side, Reference) else kind_of(side.value)


def kind_of(value: Value) -> Kind:
    if value is None:
        return Kind.NULL
    if isinstance(value, bool):
        return Kind.FLAG
    return Kind.TEXT if isinstance(value, str) else Kind.NUMBER


def _check_comparison(term: Comparison, kinds: Mapping[Name, Kind]) -> None:
    left = _kind(term.left, kinds)
    if term.sign in ("matches", "contains"):
        for side in (term.left, term.right):
            if not isinstance(side, Listed) and (kind := _kind(side, kinds)) not in (Kind.TEXT, Kind.ANY):
                raise TextFault(f"`{term.sign}` looks at text, found {kind.value}", side.at)
        return
    rights = term.right.values if isinstance(term.right, Listed) else (term.right,)
    for right in rights:
        _check_pair(term, left, _kind(right, kinds))


def _check_pair(term: Comparison, left: Kind, right: Kind) -> None:
    if term.sign in _ORDER and (bad := [kind for kind in (left, right) if kind in (Kind.FLAG, Kind.NULL)]):
        raise TextFault(f"`{term.sign}` compares numbers or texts, found {bad[0].value}", term.at)
    if left is not right and not {left, right} & {Kind.ANY, Kind.NULL}:
        raise TextFault(f"{left.value} is compared with {right.value}", term.at)


def evaluate(term: Term, values: Mapping[Name, Value]) -> bool:
    """Null is equal to null alone, and every other comparison with it is false.

    Raises TextFault where values of different kinds are compared.
    """
    match term:
        case Joined("and"):
            return all(evaluate(part, values) for part in term.parts)
        case Joined("or"):
            return any(evaluate(part, values) for part in term.parts)
        case Joined():
            return not evaluate(term.parts[0], values)
        case Comparison():
            return _compare(term, values)
    value = _value(term, values)
    if not isinstance(value, bool):
        raise TextFault(f"expected true or false, found {kind_of(value).value}", term.at)
    return value


def _value(side: Constant | Reference, values: Mapping[Name, Value]) -> Value:
    return values[side.name] if isinstance(side, Reference) else side.value


def _compare(term: Comparison, values: Mapping[Name, Value]) -> bool:
    left = _value(term.left, values)
    if isinstance(term.right, Listed):
        return any(_equal(left, each.value, term.at) for each in term.right.values)
    right = _value(term.right, values)
    if term.sign in ("==", "!="):
        return _equal(left, right, term.at) is (term.sign == "==")
    if left is None or right is None:
        return False
    if term.sign in _ORDER:
        if kind_of(left) is not kind_of(right) or isinstance(left, bool):
            raise _differ(left, right, term.at)
        return _ORDER[term.sign](left, right)
    if not isinstance(left, str) or not isinstance(right, str):
        raise TextFault(f"`{term.sign}` looks at text, found {kind_of(left).value}", term.at)
    return term.pattern.found_in(left) if term.pattern else right in left


def _equal(left: Value, right: Value, at: int) -> bool:
    if left is None or right is None:
        return left is right
    if kind_of(left) is not kind_of(right):
        raise _differ(left, right, at)
    return left == right


def _differ(left: Value, right: Value, at: int) -> TextFault:
    return TextFault(f"{kind_of(left).value} is compared with {kind_of(right).value}", at)
