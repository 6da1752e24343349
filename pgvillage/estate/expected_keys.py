"""What the models allow at a place of a document: keys, and patterns in words."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pgvillage.estate.manifest import KINDS
from pgvillage.estate.source_text import DocPath
from pgvillage.settings import Settings


@lru_cache(maxsize=4096)
def keys_at(model: type[BaseModel], path: DocPath) -> frozenset[str]:
    """The keys that a mapping may have at this path, of all branches of a union."""
    places: list[Any] = [model]
    for step in path:
        places = [inner for place in places for inner in _inside(place, step)]
    return frozenset(alias for place in places for alias in fields_of(place))


def fields_of(place: Any) -> dict[str, FieldInfo]:
    """A model's fields by the name they have in YAML; none for what is no model."""
    if not (isinstance(place, type) and issubclass(place, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in place.model_fields.items()}


def _inside(place: Any, step: str | int) -> Iterator[Any]:
    if (field := fields_of(place).get(str(step))) is not None:
        yield from _branches(field.annotation)
    arguments = get_args(place)
    if get_origin(place) is dict:
        yield from _branches(arguments[1])
    elif get_origin(place) in (list, tuple):
        yield from _branches(arguments[0])


def _branches(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for branch in get_args(annotation):
            yield from _branches(branch)
    elif origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    else:
        yield annotation


@cache
def pattern_words() -> dict[str, str]:
    """Every pattern of the manifests and the settings -> what it asks for, in words (its description)."""
    words: dict[str, str] = {}
    seen: set[Any] = set()
    for model in (*KINDS.values(), Settings):
        _gather(model, words, seen)
    return words


def _gather(annotation: Any, words: dict[str, str], seen: set[Any]) -> None:
    """Descriptions of this type and of every type in it; a named type's own description wins."""
    if get_origin(annotation) is Annotated:
        _note(annotation.__metadata__, words)
    for inner in get_args(annotation):
        if isinstance(inner, type) or get_origin(inner) is not None:
            _gather(inner, words, seen)
    fields = fields_of(annotation)
    if not fields or annotation in seen:
        return
    seen.add(annotation)
    for field in fields.values():
        _gather(field.annotation, words, seen)
        _note([*field.metadata, field], words)


def _note(metadata: Iterable[Any], words: dict[str, str]) -> None:
    notes = list(metadata)
    description = next((note.description for note in notes if isinstance(note, FieldInfo) and note.description), None)
    # StringConstraints, or the class of pydantic's own that Field(pattern=...) makes
    pattern = next((found for note in notes if (found := getattr(note, "pattern", None))), None)
    if isinstance(pattern, str) and description:
        words.setdefault(pattern, description)
