"""What `who-can` is asked: a privilege, and an object by its name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pgvillage.core.address import parse_address, quote_part
from pgvillage.core.errors import UsageError
from pgvillage.resources.postgres.acl import ALL, WITH_GRANT_OPTION
from pgvillage.resources.postgres.signature import parse_signature

PRIVILEGES = tuple(dict.fromkeys(p for c in ALL for p in ALL[c]))
# What no schema holds is named with its class; of how many parts a name is: those of a database begin with its name.
_OUTSIDE_SCHEMAS = {
    "tablespace": 1, "parameter": 0, "language": 2, "foreignDataWrapper": 2, "foreignServer": 2, "largeObject": 2
}  # fmt: skip
_OTHERS = {"database": 1, "schema": 2, "table": 3, "sequence": 3, "type": 3, "function": 3, "column": 4}
_ALIASES = {"view": "table", "server": "foreignServer", "fdw": "foreignDataWrapper", "procedure": "function"}
_LAST_OID = 2**32 - 1
_EXPECTED = (
    "expected DATABASE, DATABASE.SCHEMA, DATABASE.SCHEMA.OBJECT, DATABASE.SCHEMA.TABLE.COLUMN or "
    "DATABASE.SCHEMA.FUNCTION(TYPES), for example orders.app.customers; what no schema holds goes with its class: "
    "tablespace:NAME, parameter:NAME, language:DATABASE.NAME, foreign-data-wrapper:DATABASE.NAME, "
    "foreign-server:DATABASE.NAME, large-object:DATABASE.OID; "
    'a part with odd characters goes in double quotes: orders."My Schema"."t.1"'
)
_CLASS = re.compile(r"([^\s\".:(]+):(.*)", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SIGNATURE = re.compile(r'((?:(?:"(?:[^"\\]|\\.)*"|[^".(]+)\.){2})([^.(]+\(.*\)|"(?:[^"]|"")+"\s*\(.*\))\Z', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """`privilege` in capitals, perhaps with the grant option; empty parts are not asked about.

    `object_class` is set where the name said it; what the whole cluster has (tablespaces, parameters) has no database.
    """

    privilege: str
    database: str
    schema: str = ""
    name: str = ""
    column: str = ""
    signature: str = ""
    object_class: str = ""

    @property
    def label(self) -> str:
        parts = [*map(quote_part, filter(None, (self.database, self.schema, self.name, self.column)))]
        if self.object_class == "parameter":
            parts = list(map(quote_part, self.name.split(".")))
        before = f"{_hyphened(self.object_class)}:" if self.object_class else ""
        return before + ".".join([*parts, *filter(None, [self.signature])])

    @property
    def outside_schemas(self) -> bool:
        return self.object_class in _OUTSIDE_SCHEMAS

    @property
    def inside(self) -> bool:
        """Whether its database has to be looked into, and connected to by whoever uses the object."""
        return bool(self.schema) or (self.outside_schemas and bool(self.database))


def parse_question(privilege: str, text: str) -> Question:
    """Raises UsageError for a privilege that PostgreSQL does not have, or text that is no name."""
    words = parse_privilege(privilege)
    match = _CLASS.match(text)
    if match is not None:
        return _of_class(words, _class_named(match[1], text), match[2], text)
    if words.removesuffix(WITH_GRANT_OPTION) in ALL["parameter"]:
        return _of_class(words, "parameter", text, text)  # there is nothing else to SET
    return _plain(words, text)


def _plain(words: str, text: str) -> Question:
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


def _class_named(word: str, text: str) -> str:
    plain = word.lower().replace("-", "").replace("_", "")
    known = {name.lower(): name for name in (*_OTHERS, *_OUTSIDE_SCHEMAS)} | _ALIASES
    if plain not in known:
        hint = nearest(word, map(_hyphened, (*_ALIASES, *_OTHERS, *_OUTSIDE_SCHEMAS)))
        quoted = "; a name with a colon goes in double quotes"
        raise UsageError(f"{text!r}: no class of objects {quote_part(word)}; {hint}{quoted}")
    return known[plain]


def _of_class(privilege: str, object_class: str, name: str, text: str) -> Question:
    if object_class in _OTHERS:
        found = _plain(privilege, name)
        is_function = object_class == "function"
        said = 3 if found.signature else len(_parts(name, text))
        if said != _OTHERS[object_class] or bool(found.signature) is not is_function:
            raise UsageError(f"{text!r} is no {object_class}: {_EXPECTED}")
        return replace(found, object_class=object_class)
    parts = _parts(name, text)
    if object_class == "parameter":
        return Question(privilege, "", name=".".join(parts).lower(), object_class=object_class)
    if len(parts) != _OUTSIDE_SCHEMAS[object_class]:
        where = (
            "NAME" if object_class == "tablespace" else f"DATABASE.{'OID' if object_class == 'largeObject' else 'NAME'}"
        )
        raise UsageError(f"{text!r} has {len(parts)} parts; expected {_hyphened(object_class)}:{where}")
    if object_class == "largeObject" and not (re.fullmatch("[0-9]{1,10}", parts[1]) and int(parts[1]) <= _LAST_OID):
        raise UsageError(f"{text!r}: a large object is named by its number, for example large-object:orders.16400")
    database = parts[0] if len(parts) > 1 else ""
    return Question(privilege, database, name=parts[-1], object_class=object_class)


def words_of(object_class: str) -> str:
    """`foreign server` of `foreignServer`."""
    spaced = re.sub("[A-Z]", lambda match: f" {match[0].lower()}", object_class)
    return spaced.replace("foreign data", "foreign-data")


def _hyphened(object_class: str) -> str:
    return words_of(object_class).replace(" ", "-")


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
        raise UsageError(
            f"{label} is a {words_of(object_class)}, and there is no {privilege} on those: there is {there}"
        )


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """`did you mean a or b?`, or what there is."""
    names = sorted(set(known))
    folded = {name.lower(): name for name in names}
    near = [folded[n] for n in difflib.get_close_matches(word.lower(), folded, count, cutoff=0.5)]
    if near:
        return f"did you mean {' or '.join(map(quote_part, near))}?"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"there is {', '.join(map(quote_part, names[:10]))}{more}" if names else "there is none"
