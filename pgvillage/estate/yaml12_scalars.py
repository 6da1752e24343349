"""The core schema of YAML 1.2: which plain words are null, booleans and numbers; everything else is text."""

from __future__ import annotations

import re

CORE = "tag:yaml.org,2002:"
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAYBE_NUMBER = frozenset("-+.0123456789")
_MAX_DIGITS = 400  # more is no setting's value, and Python's own limit would be a traceback
_KINDS = {"null": type(None), "bool": bool, "int": int, "float": float}

Value = str | int | float | bool | None


class NotCore(ValueError):
    """A scalar outside the core schema, with a hint."""

    def __init__(self, message: str, hint: str) -> None:
        self.hint = hint
        super().__init__(message)


def resolve(text: str, tag: str | None, *, plain: bool) -> Value:
    """The value of a scalar.

    Raises NotCore for a tag that is not of the core schema, or one that the text does not fit.
    """
    if tag is None or tag == "!":
        return _plain(text) if plain and tag is None else text
    name = tag.removeprefix(CORE)
    if name == "str" and tag != name:
        return text
    if tag == name or name not in _KINDS:
        raise NotCore(f"the tag {written(tag)} is not allowed here", "remove it; manifests need no tags")
    value = _plain(text)
    if name == "float" and type(value) is int:
        return float(value)
    if type(value) is not _KINDS[name]:
        raise NotCore(f"this is no value of the tag !!{name}", "remove the tag or correct the value")
    return value


def written(tag: str) -> str:
    """The tag as it is usually written."""
    return tag.replace(CORE, "!!", 1)[:60]


def _plain(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAYBE_NUMBER:
        return text
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    special = _SPECIAL.fullmatch(text)
    return float(text.replace(".", "")) if special else text


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise NotCore(f"a number of {len(text)} digits", "put it in quotes if it is text")
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
