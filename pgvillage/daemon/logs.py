"""The daemon's log: one line an entry on stderr, as JSON or as text, with the ids of target, run and replica."""

from __future__ import annotations

import json
import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_PROCESSORS: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_FIRST = ("replica", "target", "run")


def configure_logs(form: Literal["json", "text"], replica: str) -> None:
    """What libraries say included, from warnings up."""
    render: Processor = structlog.processors.JSONRenderer() if form == "json" else as_text
    structlog.configure(
        processors=[*_PROCESSORS, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(replica=replica)
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_PROCESSORS, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.dict_tracebacks,
                render,
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[of_libraries], force=True)


def as_text(_: WrappedLogger, __: str, entry: EventDict) -> str:
    """`2026-01-02T03:04:05Z info planned target=crm changes=2`; no value can begin a line of its own."""
    values = dict(entry)
    head = [str(values.pop(name, "")) for name in ("timestamp", "level", "event")]
    names = [name for name in _FIRST if name in values] + [name for name in values if name not in _FIRST]
    return " ".join([*map(_plain, head), *(f"{name}={_quoted(values[name])}" for name in names)])


def _plain(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)


def _quoted(value: object) -> str:
    text = str(value)
    simple = text.isprintable() and not set(text) & set(' "=') and text
    return text if simple else json.dumps(text)
