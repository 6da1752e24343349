"""A SQL script cut into statements, as psql cuts it, and its `:name` parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pgvillage.jobs.fault import TextFault, printable
from pgvillage.jobs.sql_tokens import Token, tokens_of

LARGEST = 4 << 20  # characters
_TRIVIA = ("space", "comment")
# What psql looks at to know that BEGIN opens a body and no transaction.
_CREATES = (["create", "function"], ["create", "procedure"])
_REPLACES = (["create", "or", "replace", "function"], ["create", "or", "replace", "procedure"])
# Only these take parameters: utility statements have no plan to put them in.
_TAKES_PARAMETERS = frozenset({"select", "insert", "update", "delete", "merge", "values", "with", "table", "call"})
_TAKES_THEM_WITHIN = frozenset({"explain", "declare", "create"})  # ... EXPLAIN SELECT, CREATE TABLE ... AS SELECT
_ALONE = frozenset({"vacuum"})
_ALONE_PAIRS = frozenset(
    f"{verb} {what}"
    for verb, what in (
        *((verb, what) for verb in ("create", "drop") for what in ("database", "tablespace")),
        *(
            ("alter", "system"),
            ("reindex", "database"),
            ("reindex", "system"),
            ("reindex", "schema"),
            ("discard", "all"),
        ),
    )
)
_TRANSACTION = frozenset({"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"})


@dataclass(frozen=True)
class Statement:
    """One statement with the space and the comments before it, and its semicolon. `at` is its place in the script."""

    tokens: Sequence[Token] = field(repr=False)
    at: int
    parameters: tuple[Token, ...] = ()

    @cached_property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words in lower case, what is quoted left out."""
        return tuple(token.text.lower() for token in self.tokens if token.kind == "word")

    @property
    def empty(self) -> bool:
        """Nothing but space, comments and a semicolon: there is nothing to send."""
        return all(token.kind in _TRIVIA or token.text == ";" for token in self.tokens)

    @property
    def begins(self) -> int:
        """Where in the script its first word is."""
        return next((token.at for token in self.tokens if token.kind not in _TRIVIA), self.at)

    @property
    def names(self) -> tuple[str, ...]:
        """Its parameters, each once, in the order of their numbers in `bound`."""
        return tuple(dict.fromkeys(token.text[1:] for token in self.parameters))

    @property
    def bound(self) -> str:
        """The text with `$1`, `$2`, … in the places of parameters, ready for the server."""
        numbers = {name: number for number, name in enumerate(self.names, 1)}
        places = {token.at for token in self.parameters}
        return "".join(f"${numbers[t.text[1:]]}" if t.at in places else t.text for t in self.tokens)

    @property
    def alone(self) -> bool:
        """Whether PostgreSQL refuses it inside a transaction."""
        if not self.words:
            return False
        head, pair = self.words[0], " ".join(self.words[:2])
        if head in _ALONE or pair in _ALONE_PAIRS or self.words == ("cluster",):
            return True
        return "concurrently" in self.words and head in ("create", "drop", "reindex", "alter")

    @property
    def controls_transaction(self) -> bool:
        head = self.words[:2]
        return bool(head) and (head[0] in _TRANSACTION or head == ("prepare", "transaction"))


def split(text: str) -> list[Statement]:
    """Statements whose texts, joined, are the script. Raises TextFault: what can't be run, and where."""
    if len(text) > LARGEST:
        raise TextFault(f"a script has at most {LARGEST >> 20} Mi characters")
    statements = []
    for tokens in _pieces(text):
        statement = Statement(tokens, tokens[0].at, tuple(_parameters(tokens)))
        _refuse_copy(statement)
        _refuse_parameters(statement)
        statements.append(statement)
    return statements


@dataclass
class _Depth:
    """What stands open: brackets, and bodies that BEGIN ATOMIC has begun."""

    parentheses: int = 0
    bodies: int = 0
    words: list[str] = field(default_factory=list)

    def feed(self, token: Token) -> bool:
        """Whether the statement ends with this token."""
        if token.kind == "word":
            self._word(token.text.lower())
        elif token.kind == "sign":
            if token.text == "(":
                self.parentheses += 1
            elif token.text == ")":
                self.parentheses = max(0, self.parentheses - 1)
            elif token.text == ";":
                return self.parentheses == 0 and self.bodies == 0
        return False

    def _word(self, word: str) -> None:
        if len(self.words) < 4:
            self.words.append(word)
        if self.parentheses or not (self.words[:2] in _CREATES or self.words in _REPLACES):
            return
        if word == "begin" or (word == "case" and self.bodies):
            self.bodies += 1
        elif word == "end" and self.bodies:
            self.bodies -= 1


def _pieces(text: str) -> Iterator[list[Token]]:
    piece: list[Token] = []
    depth = _Depth()
    for token in tokens_of(text):
        piece.append(token)
        if depth.feed(token):
            yield piece
            piece, depth = [], _Depth()
    if depth.parentheses or depth.bodies:
        what = "BEGIN ATOMIC" if depth.bodies else "("
        start = next(token.at for token in piece if token.kind not in _TRIVIA)
        raise TextFault(f"the statement ends while {what} is open", start)
    if piece:
        yield piece


def _parameters(tokens: Sequence[Token]) -> Iterator[Token]:
    """The tokens that are parameters, and not a part of `[a:b]` or of `{{'key':value}}`."""
    brackets: list[str] = []  # what stands open; `array` is where values are listed
    before: Token | None = None
    for token in tokens:
        if token.kind in _TRIVIA:
            continue
        if token.kind == "named" and not _is_slice(before, brackets):
            if before is not None and before.text == "[" and brackets[-1] == "subscript":
                hint = f"write [({printable(token.text[:64])})] for the parameter, [: name] for a slice"
                raise TextFault("after `[` this may be a parameter or a slice", token.at, hint)
            yield token
        if token.text in ("[", "("):
            brackets.append(_opened(token, before, brackets))
        elif token.text in ("]", ")") and brackets:
            brackets.pop()
        before = token


def _opened(token: Token, before: Token | None, brackets: list[str]) -> str:
    if token.text == "(":
        return "parentheses"
    listed = before is not None and (
        before.text.lower() == "array" or (before.text in ("[", ",") and brackets[-1:] == ["array"])
    )
    return "array" if listed else "subscript"


def _is_slice(before: Token | None, brackets: list[str]) -> bool:
    """After a value no parameter can follow, so the colon is an operator; a word may be a key word, except in `[…]`."""
    if before is None:
        return False
    value = before.kind in ("string", "quoted", "number", "parameter", "named") or before.text in (")", "]")
    return value or (before.kind == "word" and brackets[-1:] == ["subscript"])


def _refuse_copy(statement: Statement) -> None:
    words = statement.words
    if words[:1] != ("copy",):
        return
    for token in statement.tokens:
        if token.kind == "word" and token.text.lower() in ("stdin", "stdout"):
            what = f"COPY {'FROM STDIN' if token.text.lower() == 'stdin' else 'TO STDOUT'}"
            raise TextFault(f"{what} has no client to talk to in a job", token.at, "use INSERT, or COPY of a file")


def _refuse_parameters(statement: Statement) -> None:
    if not statement.parameters:
        return
    first = statement.parameters[0]
    if numbered := next((token for token in statement.tokens if token.kind == "parameter"), None):
        raise TextFault(f"{numbered.text} stands beside {printable(first.text[:64])}", numbered.at, "name all of them")
    head = statement.words[0] if statement.words else ""
    starts = _first(statement.tokens)
    if starts == "(" or head in _TAKES_PARAMETERS:
        return
    if head in _TAKES_THEM_WITHIN and _TAKES_PARAMETERS.intersection(statement.words):
        return
    hint = "PostgreSQL takes them in SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES and CALL; elsewhere use set_config()"
    raise TextFault(f"{head.upper() or 'this'} takes no parameter {printable(first.text[:64])}", first.at, hint)


def _first(tokens: Sequence[Token]) -> str:
    return next((token.text for token in tokens if token.kind not in _TRIVIA), "")
