"""Notices to text, by templates: ours, or those of a folder that the settings name; no template can harm or end us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any

from pgvillage.core.notice import Notice
from pgvillage.report.words import clipped, counted, show_text, visible

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment

KINDS = ("drift", "unreachable", "failed", "approval", "health", "estate", "group", "test")
_TITLE = 150
_LINE = 400
_LINES = 40
_PIECES = 5_000  # of output, so that a template's endless loop ends


@dataclass(frozen=True, slots=True)
class ChatText:
    """Plain text: no service's markup is meant, whatever stands in it. `problem` is of the template, "" when fine."""

    title: str
    lines: tuple[str, ...] = ()
    problem: str = ""


def chat_text(notice: Notice, own: Mapping[str, str] | None = None) -> ChatText:
    """The text of a notice; `own` are templates by kind that replace ours. One that is broken is told and not used."""
    source = (own or {}).get(notice.kind)
    if source is None:
        return _text(_default(notice.kind), notice)
    try:
        return _text(source, notice)
    except Exception as error:  # noqa: BLE001 - a template may fail in any way, and the message must go out
        problem = f"template {notice.kind}.j2 is broken, ours was used: {_words(error)}"
        text = _text(_default(notice.kind), notice)
        return ChatText(text.title, (*text.lines, problem), problem)


def default_template(kind: str) -> str:
    """Ours, to begin one's own with."""
    return _default(kind)


@lru_cache
def _default(kind: str) -> str:
    file = resources.files("pgvillage.report") / "chat_templates" / f"{kind}.j2"
    return file.read_text(encoding="utf-8")


def _text(source: str, notice: Notice) -> ChatText:
    pieces = islice(_template(source).generate(_variables(notice)), _PIECES)
    lines = [visible(line.strip()) for line in "".join(pieces).split("\n")]
    title, *rest = [line for line in lines if line] or [""]
    if not title:
        raise ValueError("it makes no text")
    return ChatText(clipped(title, _TITLE), tuple(clipped(line, _LINE) for line in rest[:_LINES]))


@lru_cache(maxsize=256)
def _template(source: str) -> Template:
    return _environment().from_string(source)


@lru_cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Text, not HTML: what a service would read as markup is taken care of where its form is made.
    made = ImmutableSandboxedEnvironment(  # nosec - see above
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    made.globals = {"counted": counted}
    return made


def _variables(notice: Notice) -> dict[str, Any]:
    """Every text in one line: no name begins a line of its own."""
    return {f.name: _shown(getattr(notice, f.name)) for f in fields(notice)}


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return show_text(str(value), _LINE)
    return [show_text(each, _LINE) for each in value] if isinstance(value, tuple) else value


def _words(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    where = f"line {line}: " if line else ""
    return show_text(f"{where}{error or type(error).__name__}", 160)
