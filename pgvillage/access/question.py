"""What `who-can` is asked: a privilege, and an object by its name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pgvillage.core.address import parse_address, quote_part
from pgvillage.core.errors import UsageError
from pgvillage.resources.postgres.acl import ALL, WITH_GRANT_OPTION
from pgvillage.resources.postgres.signature import parse_signature

# Classes that a name can stand for; a column's four parts are told from a table's three.
CLASSES = ("database", "schema", "table", "sequence", "function", "type", "column")
PRIVILEGES = tuple(dict.fromkeys(p for c in CLASSES for p in ALL[c]))
_EXPECTED = (
    "expected DATABASE, DATABASE.SCHEMA, DATABASE.SCHEMA.OBJECT, DATABASE.SCHEMA.TABLE.COLUMN or "
    "DATABASE.SCHEMA.FUNCTION(TYPES), for example orders.app.customers; "
    'a part with odd characters goes in double quotes: orders."My Schema"."t.1"'
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SIGNATURE = re.compile(r'((?:(?:"(?:[^"\\]|\\.)*"|[^".(]+)\.){2})([^.(]+\(.*\)|"(?:[^"]|"")+"\s*\(.*\))\Z', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """`privilege` in capitals, perhaps with the grant option; empty parts are not asked about."""

    privilege: str
    database: str
    schema: str = ""
    name: str = ""
    column: str = ""
    signature: str = ""

    @property
    def label(self) -> str:
        parts = map(quote_part, filter(None, (self.database, self.schema, self.name, self.column)))
        return ".".join([*parts, *filter(None, [self.signature])])


def parse_question(privilege: str, text: str) -> Question:
    """Raises UsageError for a privilege that PostgreSQL does not have, or text that is no name."""
    words = parse_privilege(privilege)
    if match := _SIGNATURE.match(text):
        database, schema = _parts(match[1][:-1], text)
        try:
            parse_signature(match[2])
        except ValueError as error:
            raise UsageError(f"{text!r}: {error}") from None
        return Question(words, database, schema, signature=match[2])
    if "(" in _QUOTED.sub("", text):
        raise UsageError(f"{text!r} is no name of a function: {_EXPECTED}")
    parts = _parts(text, text)
    if len(parts) > 4:
        raise UsageError(f"{text!r} has {len(parts)} parts; {_EXPECTED}")
    return Question(words, *parts)


def _parts(label: str, text: str) -> tuple[str, ...]:
    try:
        return parse_address(f"-/object/{label}").name
    except UsageError:
        raise UsageError(f"{text!r} is no name of an object: {_EXPECTED}") from None


def parse_privilege(text: str) -> str:
    """`select` as SELECT, `temp` as TEMPORARY, with ` WITH GRANT OPTION` where that is asked.

    Raises UsageError with the nearest there is.
    """
    words = " ".join(text.upper().replace("_", " ").split())
    option = WITH_GRANT_OPTION if words.endswith(WITH_GRANT_OPTION) else ""
    bare = words.removesuffix(WITH_GRANT_OPTION)
    bare = "TEMPORARY" if bare == "TEMP" else bare
    if bare not in PRIVILEGES:
        raise UsageError(f"no privilege {text!r}; {nearest(bare, PRIVILEGES)}")
    return bare + option


def check_fits(privilege: str, object_class: str, label: str) -> None:
    """Raises UsageError when objects of this class have no such privilege."""
    if privilege.removesuffix(WITH_GRANT_OPTION) not in ALL[object_class]:
        there = ", ".join(ALL[object_class])
        raise UsageError(f"{label} is a {object_class}, and there is no {privilege} on those: there is {there}")


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """`did you mean a or b?`, or what there is."""
    names = sorted(set(known))
    folded = {name.lower(): name for name in names}
    near = [folded[n] for n in difflib.get_close_matches(word.lower(), folded, count, cutoff=0.5)]
    if near:
        return f"did you mean {' or '.join(map(quote_part, near))}?"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"there is {', '.join(map(quote_part, names[:10]))}{more}" if names else "there is none"
