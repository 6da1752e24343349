"""What pydantic found wrong, in words: one diagnostic a fault, with its place and the nearest valid word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.expected_keys import keys_at, pattern_words
from pgvillage.estate.source_text import DocPath, Positions, harmless, is_secret_key

_QUOTED = re.compile(r"'([^']*)'")
_OLD_BOOLEANS = frozenset({"yes", "no", "on", "off", "y", "n"})
_TYPES = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "path_type": "a path",
}
_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_LENGTHS = {
    "too_short": ("min_length", "at least", "entry", "entries"),
    "too_long": ("max_length", "at most", "entry", "entries"),
    "string_too_short": ("min_length", "at least", "character", "characters"),
    "string_too_long": ("max_length", "at most", "character", "characters"),
}


@dataclass(frozen=True, slots=True)
class _Fault:
    """One error of pydantic, its place joined to the document's."""

    kind: str
    path: DocPath
    value: Any
    context: Mapping[str, Any]
    message: str
    branches: tuple[tuple[DocPath, str], ...]  # where a union was entered, and which of its branches this is about
    of_key: bool


def explain(error: ValidationError, model: type[BaseModel], document: object, positions: Positions) -> list[Diagnostic]:
    """Every fault of a document once, where it stands; the branches of a union make one fault."""
    faults = [_locate(raw, document) for raw in error.errors(include_url=False)]
    return [_diagnose(group, model, positions) for group in _one_a_union(faults)]


def nearest(word: str, words: Iterable[str]) -> str:
    """The valid word that this one was probably meant to be, or nothing."""
    return _nearest(word, tuple(sorted(words)))


@lru_cache(maxsize=1024)
def _nearest(word: str, words: tuple[str, ...]) -> str:
    close = len(word) // 2 + 1  # far longer or shorter words are not near; spares time in a large estate
    by_lower = {known.lower(): known for known in words if abs(len(known) - len(word)) <= close}
    found = difflib.get_close_matches(word.lower()[:100], list(by_lower)[:2_000], 1, 0.6 if len(word) > 3 else 0.5)
    return by_lower[found[0]] if found else ""


def suggestion(word: str, words: Iterable[str], *, what: str = "known") -> str:
    """A hint: the nearest valid word, else all of them if they are few."""
    known = sorted(words)
    if found := nearest(word, known):
        return f"did you mean {harmless(found)}?"
    return f"{what}: {', '.join(map(harmless, known))}" if 0 < len(known) <= 16 else ""


def found_text(value: object, path: DocPath) -> str:
    """What stands there, short and safe to show."""
    if isinstance(value, str):
        if any(isinstance(step, str) and is_secret_key(step) for step in path[-2:]):
            return "text (hidden)"
        return f"the text '{harmless(value[:40])}{'…' if len(value) > 40 else ''}'"
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {str(value)[:40]}"
    return "a list" if isinstance(value, Sequence) else "a mapping"


def _locate(raw: Any, document: object) -> _Fault:
    path: DocPath = ()
    branches: list[tuple[DocPath, str]] = []
    here: Any = document
    of_key, missing = False, raw["type"] == "missing"
    for index, step in enumerate(raw["loc"]):
        last = index == len(raw["loc"]) - 1
        if step == "[key]" and last:
            of_key = True
        elif _leads_on(here, step):
            path, here = (*path, step), here[step]
        elif missing and last:
            break
        else:
            branches.append((path, str(step)))
    name = str(raw["loc"][-1]) if missing else ""
    context = {**raw.get("ctx", {}), "missing": name}
    return _Fault(raw["type"], path, raw["input"], context, raw["msg"], tuple(branches), of_key)


def _leads_on(here: object, step: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(step, int) and step < len(here)
    return isinstance(here, dict) and step in here


def _one_a_union(faults: list[_Fault]) -> list[list[_Fault]]:
    """Faults that are shown together: alone, or all branches of one union when the value is of no branch's kind."""
    groups: list[list[_Fault]] = []
    unions: dict[DocPath, list[_Fault]] = {}
    for fault in faults:
        if not fault.branches:
            groups.append([fault])
        elif fault.branches[0][0] in unions:
            unions[fault.branches[0][0]].append(fault)
        else:
            unions[fault.branches[0][0]] = [fault]
    for place, members in unions.items():
        groups.extend(_best_branch(place, members))
    return groups


def _best_branch(place: DocPath, members: list[_Fault]) -> list[list[_Fault]]:
    by_branch: dict[str, list[_Fault]] = {}
    for fault in members:
        by_branch.setdefault(fault.branches[0][1], []).append(fault)
    fitting = [faults for faults in by_branch.values() if not any(_wrong_kind(fault, place) for fault in faults)]
    if not fitting:
        return [members]
    return [[fault] for fault in min(fitting, key=len)]


def _wrong_kind(fault: _Fault, place: DocPath) -> bool:
    return fault.path == place and (fault.kind in _TYPES or fault.kind in {"literal_error", "none_required"})


def _diagnose(faults: list[_Fault], model: type[BaseModel], positions: Positions) -> Diagnostic:
    fault = faults[0]
    if len(faults) > 1:
        return _of_union(faults, positions)
    match fault.kind:
        case "extra_forbidden":
            return _unknown_key(fault, model, positions)
        case "missing":
            message = f"the key `{fault.context['missing']}` is missing"
            return positions.diagnose(message, fault.path, at_key=_has_key(fault.path))
        case "literal_error":
            return _word(fault, _QUOTED.findall(str(fault.context["expected"])), positions)
        case "value_error":
            message = fault.message.removeprefix("Value error, ")
            at_key = fault.of_key or (isinstance(fault.value, dict) and _has_key(fault.path))
            return positions.diagnose(message, fault.path, at_key=at_key)
    message = f"expected {_expected(fault)}, found {found_text(fault.value, fault.path)}"
    return positions.diagnose(message, fault.path, at_key=fault.of_key, hint=_hint(fault))


def _has_key(path: DocPath) -> bool:
    """A whole mapping is best shown at its key; one in a list has none."""
    return bool(path) and isinstance(path[-1], str)


def _unknown_key(fault: _Fault, model: type[BaseModel], positions: Positions) -> Diagnostic:
    name = str(fault.path[-1])
    known = keys_at(model, fault.path[:-1])
    hint = suggestion(name, known, what="known keys")
    return positions.diagnose(f"unknown key `{harmless(name[:60])}`", fault.path, at_key=True, hint=hint)


def _word(fault: _Fault, words: list[str], positions: Positions) -> Diagnostic:
    if fault.path == ("apiVersion",):
        message = f"this pgvillage reads pgvillage/v1, found {found_text(fault.value, fault.path)}"
        return positions.diagnose(message, fault.path, hint="write `apiVersion: pgvillage/v1`")
    expected = _any_of(words) if words else str(fault.context["expected"]).lower()
    message = f"expected {expected}, found {found_text(fault.value, fault.path)}"
    close = nearest(fault.value, words) if isinstance(fault.value, str) else ""
    return positions.diagnose(message, fault.path, hint=f"did you mean {close}?" if close else "")


def _of_union(faults: list[_Fault], positions: Positions) -> Diagnostic:
    place, value = faults[0].branches[0][0], faults[0].value
    mine = [fault for fault in faults if fault.path == place]
    value = mine[0].value if mine else value
    words = [word for fault in mine for word in _literal_words(fault)]
    kinds = list(dict.fromkeys(_TYPES[fault.kind] for fault in mine if fault.kind in _TYPES))
    if "a number" in kinds and "a whole number" in kinds:
        kinds.remove("a whole number")
    message = f"expected {_any_of([*words, *kinds])}, found {found_text(value, place)}"
    close = nearest(value, words) if isinstance(value, str) else ""
    return positions.diagnose(message, place, hint=f"did you mean {close}?" if close else "")


def _literal_words(fault: _Fault) -> list[str]:
    if fault.kind != "literal_error":
        return []
    expected = str(fault.context["expected"])
    return _QUOTED.findall(expected) or [expected.lower()]


def _any_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _expected(fault: _Fault) -> str:
    context = fault.context
    if fault.kind in _TYPES:
        return _TYPES[fault.kind]
    if fault.kind in _LIMITS:
        name, words = _LIMITS[fault.kind]
        return f"{words} {context[name]}"
    if fault.kind in _LENGTHS:
        name, words, one, many = _LENGTHS[fault.kind]
        return f"{words} {context[name]} {one if context[name] == 1 else many}"
    if fault.kind == "string_pattern_mismatch":
        words = pattern_words().get(context["pattern"], f"text like {context['pattern']}").removesuffix(".")
        return words if words[1:2].isupper() else words[:1].lower() + words[1:]
    return fault.message[:1].lower() + fault.message[1:].removeprefix("nput should be ")


def _hint(fault: _Fault) -> str:
    if fault.kind == "bool_type" and isinstance(fault.value, str) and fault.value.lower() in _OLD_BOOLEANS:
        return "in YAML 1.2 only true and false are booleans"
    if fault.kind == "string_type" and isinstance(fault.value, bool | int | float):
        return "put it in quotes if it is text"
    if fault.kind == "int_type" and isinstance(fault.value, str) and re.fullmatch(r"-?[0-9]+", fault.value):
        return "remove the quotes"
    return ""
