"""SQL expressions as tokens: what PostgreSQL's lexer would see, for comparing what people write with what it stores."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>[eE]?'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")+")
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[^\W\d][\w$]*)
      | (?P<sign>::|[()\[\],.:])
      | (?P<operator>[-+*/<>=~!@\#%^&|`?]+)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """`kind` is text, quoted, number, word, sign or operator; words are in lower case, texts without quotes."""

    kind: str
    value: str


class NotUnderstood(ValueError):
    """An expression beyond what is compared part by part."""


def tokens(source: str) -> list[Token]:
    """Raises NotUnderstood for what is no token here (dollar quotes, backslash escapes)."""
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise NotUnderstood(source[at:])
        at = match.end()
        kind, value = str(match.lastgroup), match[0]
        if kind != "space":
            found.append(_token(kind, value))
    return found


def _token(kind: str, value: str) -> Token:
    if kind == "text":
        if value[0] in "eE":
            value = (
                value[1:].replace("\\\\", "\\") if re.fullmatch(r"[eE]'(?:[^'\\]|''|\\\\)*'", value) else _refuse(value)
            )
        return Token(kind, value[1:-1].replace("''", "'"))
    if kind == "quoted":
        return Token(kind, value[1:-1].replace('""', '"'))
    if kind == "operator" and ("--" in value or "/*" in value):
        return Token(kind, _refuse(value))
    return Token(kind, value.lower() if kind in ("word", "number") else value)


def _refuse(value: str) -> str:
    raise NotUnderstood(value)


def expression_fault(source: str) -> str:
    """Why this text can't be put into a statement as one expression; empty when it can."""
    depth = 0
    try:
        for token in tokens(source):
            depth += (token == ("sign", "(")) - (token == ("sign", ")"))
            if depth < 0:
                break
    except NotUnderstood as error:
        place = repr(str(error)[:20])
        return f"{source!r} is not one plain expression: no comments, `;`, dollar quotes or escapes (at {place})"
    return "" if depth == 0 else f"the parentheses of {source!r} don't match"
