"""PostgreSQL's tokens, as its own scanner and psql's see them, with standard_conforming_strings on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pgvillage.jobs.fault import TextFault, printable


@dataclass(frozen=True, slots=True)
class Token:
    """Kinds: space, comment, string, quoted (an identifier), word, number, parameter ($1), named (:name), sign."""

    kind: str
    text: str
    at: int


_WORD = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*"
_TAG = r"\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$"
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\n\r\f\v]+)
    |(?P<line>--[^\n\r]*)
    |(?P<block>/\*)
    |(?P<escaped>[eE]')
    |(?P<string>(?:[bBxXnN]|[uU]&)?')
    |(?P<quoted>(?:[uU]&)?")
    |(?P<dollar>{_TAG})
    |(?P<parameter>\$[0-9]+)
    |(?P<word>{_WORD})
    |(?P<number>(?:[0-9][0-9A-Za-z_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:(?<=[eE])[+-]?[0-9_]+)?)
    |(?P<cast>::|:=)
    |(?P<named>:{_WORD})
    |(?P<psql>:(?:'{_WORD}'|"{_WORD}"|\{{\?{_WORD}\}}))
    |(?P<backslash>\\)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_STRING_END = re.compile(r"'(?!')|''")
_ESCAPED_END = re.compile(r"\\.|''|'", re.DOTALL)
# A text goes on in the next line as what it has begun as: E'a' and 'b\n' below it are one.
_GOES_ON = re.compile(r"[ \t\f\v]*(?:--[^\n\r]*)?[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'")
_QUOTED_END = re.compile(r'""|"')
_COMMENT_MARK = re.compile(r"/\*|\*/")


def tokens_of(text: str) -> Iterator[Token]:
    """All of the text, token after token. Raises TextFault: what has no end, and psql's commands."""
    if (zero := text.find("\0")) >= 0:
        raise TextFault("SQL can't hold a zero byte", zero)
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise TextFault("unexpected character", at)
        kind, end = _whole(text, match)
        yield Token(kind, text[at:end], at)
        at = end


def _whole(text: str, match: re.Match[str]) -> tuple[str, int]:
    kind, at, end = match.lastgroup or "", match.start(), match.end()
    if kind in _ENDS:
        name, ends = _ENDS[kind]
        return name, _quote_end(text, at, end, ends)
    match kind:
        case "block":
            return "comment", _comment_end(text, at)
        case "dollar":
            close = text.find(match[0], end)
            if close < 0:
                raise TextFault(f"the text that begins with {printable(match[0][:40])} has no end", at)
            return "string", close + len(match[0])
        case "psql":
            raise TextFault(f"psql's {printable(match[0][:40])} is not known here", at, "write :name for a value")
        case "backslash":
            line = printable(text[at : at + 40].split("\n", maxsplit=1)[0])
            raise TextFault(f"a command of psql: {line}", at, "jobs send SQL to the server; psql is not there")
    return {"line": "comment", "cast": "sign"}.get(kind, kind), end


_ENDS = {
    "escaped": ("string", _ESCAPED_END),
    "string": ("string", _STRING_END),
    "quoted": ("quoted", _QUOTED_END),
}


def _quote_end(text: str, at: int, start: int, ends: re.Pattern[str]) -> int:
    while match := ends.search(text, start):
        start = match.end()
        if match[0] not in ("'", '"'):
            continue
        further = _GOES_ON.match(text, start) if match[0] == "'" else None
        if further is None:
            return start
        start = further.end()
    raise TextFault(f"what begins with {printable(text[at : at + 20])} has no end", at)


def _comment_end(text: str, at: int) -> int:
    depth = 0
    for match in _COMMENT_MARK.finditer(text, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    raise TextFault("this comment has no end", at, "comments within comments are closed one by one")
