"""Names of functions and columns: one text each that is shown, compared and turned into SQL."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache

from pgvillage.core.address import parse_address, quote_part

# PostgreSQL's own names for the types that SQL knows by other words (format_type writes those on the right).
_ALIASES = {
    "int": "integer",
    "int4": "integer",
    "int2": "smallint",
    "int8": "bigint",
    "float": "double precision",
    "float8": "double precision",
    "float4": "real",
    "bool": "boolean",
    "decimal": "numeric",
    "dec": "numeric",
    "varchar": "character varying",
    "char varying": "character varying",
    "bpchar": "character",
    "char": "character",
    "varbit": "bit varying",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
}
_SEVERAL_WORDS = re.compile(
    r"(double precision|(national )?(character|char) varying|bit varying|(timestamp|time)( with(out)? time zone)?"
    r"|interval [a-z ]+)(\[\])*\Z"
)
_MODE = re.compile(r"(inout|in|variadic)\s+", re.IGNORECASE)
_TOKEN = re.compile(r'"(?:[^"]|"")*"|\([^()"]*\)|[^"()]')

Signature = tuple[str, tuple[str, ...]]


@lru_cache(maxsize=65536)
def parse_signature(text: str) -> Signature:
    """`Refund (INT, a varchar(20))` as ("refund", ("integer", "character varying")).

    Raises ValueError when it is no signature.
    """
    match = re.match(r'\s*("(?:[^"]|"")+"|[^\s"(]+)\s*\((.*)\)\s*\Z', text, re.DOTALL)
    if not match:
        raise ValueError("expected a name and its argument types, such as refund(integer, text)")
    name = match[1][1:-1].replace('""', '"') if match[1].startswith('"') else match[1].lower()
    arguments = (_argument(each) for each in _split(match[2]) if each.strip())
    return name, tuple(a for a in arguments if a)


def _split(text: str) -> Iterator[str]:
    """At the commas that stand neither in quotes nor in parentheses."""
    piece = ""
    for token in _TOKEN.findall(text):
        if token == ",":
            yield piece
            piece = ""
        else:
            piece += token
    yield piece


def _argument(text: str) -> str:
    """The type alone: without mode, name, default and modifiers; nothing for an OUT argument."""
    text = re.split(r"\s+default\s|=", text.strip(), maxsplit=1, flags=re.IGNORECASE)[0].strip()
    if re.match(r"out\s", text, re.IGNORECASE):
        return ""
    found = _type(_MODE.sub("", text, count=1))
    if " " in found and '"' not in found and not _SEVERAL_WORDS.match(found):
        return _type(_MODE.sub("", text, count=1).split(None, 1)[1])
    if (named := re.match(r'(?:"(?:[^"]|"")*"|\w+)\s+(.+)', found)) and not _SEVERAL_WORDS.match(found):
        return _type(named[1])
    return found


def _type(text: str) -> str:
    words = re.split(r'("(?:[^"]|"")*")', text)
    plain = "".join(w if i % 2 else re.sub(r"\([^()]*\)", " ", w).lower() for i, w in enumerate(words))
    plain = re.sub(r"\s*([.\[\]])\s*", r"\1", " ".join(plain.split())).removeprefix("pg_catalog.")
    base, brackets = re.match(r"(.*?)((?:\[\d*\])*)\Z", plain, re.DOTALL).groups()  # type: ignore[union-attr]
    base = re.sub(r'"([a-z_][a-z0-9_$]*)"', _unquoted, base)
    return _ALIASES.get(base, base) + ("[]" if brackets else "")


def _unquoted(match: re.Match[str]) -> str:
    return match[0] if match[1] == "char" else match[1]  # "char" is another type than char


class Signatures:
    """The functions of one schema, as the server writes them, to be found by what people write."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._exact: dict[Signature, str] = {}
        self._bare: dict[Signature, list[str]] = {}
        for text in known:
            name, types = parse_signature(text)
            self._exact[name, types] = text
            self._bare.setdefault((name, tuple(map(_last, types))), []).append(text)

    def find(self, text: str) -> str | None:
        """The server's text; a type without a schema stands for the one of that name, if there is but one."""
        wanted = parse_signature(text)
        if (found := self._exact.get(wanted)) is not None:
            return found
        several = self._bare.get(wanted, []) if not any("." in t for t in wanted[1]) else []
        return several[0] if len(several) == 1 else None

    def nearest(self, text: str) -> str:
        """The known one that looks most like it, first of all one of the same name."""
        import difflib

        try:
            name = parse_signature(text)[0]
        except ValueError:
            name = text.partition("(")[0].strip()
        same = [known for known in self._known if parse_signature(known)[0] == name]
        near = difflib.get_close_matches(text, same or self._known, 1, cutoff=0.0 if same else 0.6)
        return near[0] if near else ""


def _last(type_name: str) -> str:
    return re.sub(r'^(?:"(?:[^"]|"")*"|[^".]+)\.', "", type_name)


def column_name(table: str, column: str) -> str:
    """`customers.id`, each part quoted as in an address where it has to be."""
    return f"{quote_part(table)}.{quote_part(column)}"


@lru_cache(maxsize=65536)
def column_parts(name: str) -> tuple[str, str]:
    """The inverse of column_name: table and column."""
    table, column = parse_address(f"-/column/{name}").name
    return table, column
