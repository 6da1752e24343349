"""SQL expressions as trees, by PostgreSQL's precedence; what is beyond it (joins, windows) is not understood."""

from __future__ import annotations

from typing import Any, NamedTuple

from pgvillage.resources.postgres.expression_tokens import NotUnderstood, Token, tokens


class Node(NamedTuple):
    """`kind`: word, text, number, call, cast, operator, and, or, not, is, array, row, case, index,
    exists, select.

    `name` is what a leaf says, or a function's, operator's or type's name.
    """

    kind: str
    name: str = ""
    parts: tuple[Any, ...] = ()


_TYPES = {
    "int": "integer", "int4": "integer", "int8": "bigint", "int2": "smallint", "bool": "boolean",
    "varchar": "character varying", "char": "character", "bpchar": "character", "decimal": "numeric",
    "float8": "double precision", "float": "double precision", "float4": "real",
    "timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone",
    "timetz": "time with time zone", "time": "time without time zone", "varbit": "bit varying",
}  # fmt: skip
_COMPARE = ("<", ">", "=", "<=", ">=", "<>", "!=")
_NEVER = frozenset({
    "select", "with", "extract", "overlay", "position", "substring", "trim", "row", "distinct", "variadic", "treat",
})  # fmt: skip
_ENDS = ("where", ")")
_LIKE = {"like": "~~", "ilike": "~~*"}
_OPPOSITE = {"~~": "!~~", "~~*": "!~~*"}
_DEEPEST = 200


def tree(source: str) -> Node:
    """Raises NotUnderstood."""
    reader = _Reader(tokens(source))
    found = reader.disjunction()
    if reader.peek() is not None:
        raise NotUnderstood(source)
    return found


class _Reader:
    """Recursive descent; one method a level of precedence, loosest first."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens, self._at, self._depth = found, 0, 0

    def peek(self, ahead: int = 0) -> Token | None:
        return self._tokens[self._at + ahead] if self._at + ahead < len(self._tokens) else None

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise NotUnderstood("it ends too early")
        self._at += 1
        return token

    def accept(self, value: str) -> bool:
        token = self.peek()
        if token is None or token.kind in ("text", "quoted") or token.value != value:
            return False
        self._at += 1
        return True

    def expect(self, value: str) -> None:
        if not self.accept(value):
            raise NotUnderstood(value)

    def disjunction(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotUnderstood("it is nested too deeply")
        parts = [self.conjunction()]
        while self.accept("or"):
            parts.append(self.conjunction())
        self._depth -= 1
        return _joined("or", parts)

    def conjunction(self) -> Node:
        parts = [self.negation()]
        while self.accept("and"):
            parts.append(self.negation())
        return _joined("and", parts)

    def negation(self) -> Node:
        count = 0
        while self.accept("not"):
            count += 1
        found = self.test()
        for _ in range(count):
            found = Node("not", "", (found,))
        return found

    def test(self) -> Node:
        found = self.comparison()
        while True:
            if self.accept("isnull"):
                found = Node("is", "null", (found,))
            elif self.accept("notnull"):
                found = Node("is", "not null", (found,))
            elif self.accept("is"):
                found = self._is(found)
            else:
                return found

    def _is(self, left: Node) -> Node:
        word = "not " if self.accept("not") else ""
        if self.accept("distinct"):
            self.expect("from")
            return Node("is", f"{word}distinct from", (left, self.range()))
        token = self.take()
        if token.value not in ("null", "true", "false", "unknown"):
            raise NotUnderstood(token.value)
        return Node("is", word + token.value, (left,))

    def comparison(self) -> Node:
        left = self.range()
        token = self.peek()
        if token is not None and token.kind == "operator" and token.value in _COMPARE:
            self._at += 1
            name = "<>" if token.value == "!=" else token.value
            return self._compared(left, name)
        return left

    def _compared(self, left: Node, name: str) -> Node:
        for word in ("any", "all", "some"):
            if self.accept(word):
                self.expect("(")
                right = self.disjunction()
                self.expect(")")
                return Node("operator", f"{name} {'any' if word == 'some' else word}", (left, right))
        return Node("operator", name, (left, self.range()))

    def range(self) -> Node:
        left = self.other()
        negated = False
        if (token := self.peek(1)) and token.value in ("between", "in", "like", "ilike"):
            negated = self.accept("not")
        if self.accept("between"):
            return self._between(left, negated=negated)
        if self.accept("in"):
            return self._in(left, negated=negated)
        for word, name in _LIKE.items():
            if self.accept(word):
                return Node("operator", _OPPOSITE[name] if negated else name, (left, self.other()))
        return left

    def _between(self, left: Node, *, negated: bool) -> Node:
        low = self.other()
        self.expect("and")
        high = self.other()
        if negated:
            return _joined("or", [Node("operator", "<", (left, low)), Node("operator", ">", (left, high))])
        return _joined("and", [Node("operator", ">=", (left, low)), Node("operator", "<=", (left, high))])

    def _in(self, left: Node, *, negated: bool) -> Node:
        self.expect("(")
        if self.accept("select"):
            found = [self._select()]
            self.expect(")")
            inside = Node("operator", "in", (left, *found))
            return Node("not", "", (inside,)) if negated else inside
        found = self._list(")")
        if len(found) == 1:
            return Node("operator", "<>" if negated else "=", (left, found[0]))
        return Node("operator", "<> all" if negated else "= any", (left, Node("array", "", tuple(found))))

    def other(self) -> Node:
        """Operators that have no level of their own, such as ~, ||, -> and @>."""
        left = self.sum()
        while (token := self.peek()) and token.kind == "operator" and token.value not in {*_COMPARE, *"+-*/%^"}:
            self._at += 1
            left = self._compared(left, token.value) if self._quantified() else self._operator(token.value, left)
        return left

    def _quantified(self) -> bool:
        token = self.peek()
        return token is not None and token.kind == "word" and token.value in ("any", "all", "some")

    def _operator(self, name: str, left: Node) -> Node:
        return Node("operator", name, (left, self.sum()))

    def sum(self) -> Node:
        left = self.product()
        while (token := self.peek()) and token.kind == "operator" and token.value in ("+", "-"):
            self._at += 1
            left = Node("operator", token.value, (left, self.product()))
        return left

    def product(self) -> Node:
        left = self.power()
        while (token := self.peek()) and token.kind == "operator" and token.value in ("*", "/", "%"):
            self._at += 1
            left = Node("operator", token.value, (left, self.power()))
        return left

    def power(self) -> Node:
        left = self.sign()
        while self.accept("^"):
            left = Node("operator", "^", (left, self.sign()))
        return left

    def sign(self) -> Node:
        token = self.peek()
        if token is not None and token.kind == "operator" and token.value in ("-", "+"):
            self._at += 1
            inner = self.sign()
            if inner.kind == "number" and token.value == "-":
                return Node("number", f"-{inner.name}")
            return inner if token.value == "+" else Node("operator", "-", (inner,))
        return self.cast()

    def cast(self) -> Node:
        found = self.primary()
        while True:
            if self.accept("::"):
                found = _cast(found, self.type())
            elif self.accept("["):
                found = Node("index", "", (found, self.disjunction()))
                self.expect("]")
            else:
                return found

    def type(self) -> str:
        token = self.take()
        if token.kind not in ("word", "quoted"):
            raise NotUnderstood(token.value)
        name = token.value
        while self.accept("."):
            name = f"{name}.{self.take().value}"
        name = name.removeprefix("pg_catalog.")
        if name == "double":
            self.expect("precision")
            name = "double precision"
        elif name in ("character", "bit", "char") and self.accept("varying"):
            name = "bit varying" if name == "bit" else "character varying"
        length = ""
        if self.accept("("):
            length = f"({','.join(part.name for part in self._list(')'))})"
        name = self._zoned(name)
        while self.accept("["):
            self.expect("]")
            length += "[]"
        return _TYPES.get(name, name) + length

    def _zoned(self, name: str) -> str:
        if name in ("timestamp", "time"):
            for word in ("with", "without"):
                if (token := self.peek(1)) and token.value == "time" and self.accept(word):
                    self.expect("time")
                    self.expect("zone")
                    return f"{name} {word} time zone"
        return name

    def primary(self) -> Node:
        token = self.take()
        if token.kind in ("text", "number"):
            return Node(token.kind, token.value)
        if token == ("sign", "("):
            if self.accept("select"):
                inner = self._select()
                self.expect(")")
                return inner
            found = self._list(")")
            return found[0] if len(found) == 1 else Node("row", "", tuple(found))
        if token.kind == "quoted":
            return self._named(token.value)
        if token.kind == "word":
            return self._worded(token.value)
        raise NotUnderstood(token.value)

    def _worded(self, word: str) -> Node:
        if word in _NEVER:
            raise NotUnderstood(word)
        if word == "exists":
            self.expect("(")
            self.expect("select")
            inner = self._select()
            self.expect(")")
            return Node("exists", "", (inner,))
        if word == "case":
            return self._case()
        if word == "array":
            self.expect("[")
            return Node("array", "", tuple(self._list("]")))
        if word == "cast":
            return self._long_cast()
        if (after := self.peek()) and after.kind == "text":
            self._at += 1
            return _cast(Node("text", after.value), _TYPES.get(word, word))
        return self._named(word)

    def _long_cast(self) -> Node:
        self.expect("(")
        inner = self.disjunction()
        self.expect("as")
        found = _cast(inner, self.type())
        self.expect(")")
        return found

    def _named(self, name: str) -> Node:
        names = [name]
        while self.accept("."):
            token = self.take()
            if token.kind not in ("word", "quoted"):
                raise NotUnderstood(token.value)
            names.append(token.value)
        if names[0] == "pg_catalog" and len(names) == 2:
            names = names[1:]
        if self.accept("("):
            return Node("call", "\0".join(names), tuple(self._list(")")))
        return Node("word", "\0".join(names))

    def _select(self) -> Node:
        """A subquery on plain tables: what it takes, where from, and which rows."""
        parts = [self.disjunction()]
        while self.accept(","):
            parts.append(self.disjunction())
        source: list[str] = []
        if self.accept("from"):
            while (token := self.peek()) and token.value not in _ENDS:
                if token.kind not in ("word", "quoted") and token.value not in (".", ","):
                    raise NotUnderstood(token.value)
                source += [] if token == ("word", "as") else [token.value]
                self._at += 1
        if self.accept("where"):
            parts.append(self.disjunction())
        return Node("select", "\0".join(source), tuple(parts))

    def _list(self, end: str) -> list[Node]:
        if self.accept(end):
            return []
        found = [self.disjunction()]
        while self.accept(","):
            found.append(self.disjunction())
        self.expect(end)
        return found

    def _case(self) -> Node:
        parts: list[Node] = []
        if (token := self.peek()) and token != ("word", "when"):
            parts.append(self.disjunction())
        subject = str(len(parts))
        while self.accept("when"):
            parts.append(self.disjunction())
            self.expect("then")
            parts.append(self.disjunction())
        if self.accept("else"):
            parts.append(self.disjunction())
        elif parts:
            parts.append(Node("cast", "?", (Node("word", "null"),)))
        self.expect("end")
        return Node("case", subject, tuple(parts))


def _joined(kind: str, parts: list[Node]) -> Node:
    """AND and OR are flat: the server keeps nested ones apart, and nothing follows from it."""
    if len(parts) == 1:
        return parts[0]
    flat: list[Node] = []
    for part in parts:
        flat += part.parts if part.kind == kind else [part]
    return Node(kind, "", tuple(flat))


def _cast(inner: Node, name: str) -> Node:
    """A number that the server keeps as a text with a type is a number again."""
    numeric = name in ("integer", "bigint", "smallint", "numeric", "real", "double precision")
    if inner.kind == "text" and numeric and inner.name.removeprefix("-").replace(".", "", 1).isdigit():
        inner = Node("number", inner.name)
    return Node("cast", name, (inner,))
