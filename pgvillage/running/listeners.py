"""Who hears of a run: its history, and several listeners at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pgvillage.core.errors import PgVillageError
from pgvillage.core.job_run import RunRecord, StepRecord
from pgvillage.running.contract import RunListener


class JobHistory(Protocol):
    """Raises StateError."""

    def note_run(self, record: RunRecord) -> None: ...
    def note_step(self, run: str, step: StepRecord) -> None: ...
    def add_output(self, run: str, step: str, number: int, text: str) -> None: ...


class Recording:
    """Writes what it hears into the history."""

    def __init__(self, history: JobHistory) -> None:
        self._history = history

    def begun(self, record: RunRecord) -> None:
        self._history.note_run(record)

    def output(self, record: RunRecord, step: str, number: int, text: str) -> None:
        self._history.add_output(record.key.id, step, number, text)

    def step(self, record: RunRecord, step: StepRecord) -> None:
        self._history.note_step(record.key.id, step)

    def ended(self, record: RunRecord) -> None:
        self._history.note_run(record)


class Several:
    """Tells each; one that fails does not keep it from the others, and is raised when all have heard."""

    def __init__(self, listeners: Sequence[RunListener]) -> None:
        self._listeners = listeners

    def begun(self, record: RunRecord) -> None:
        self._each(lambda each: each.begun(record))

    def output(self, record: RunRecord, step: str, number: int, text: str) -> None:
        self._each(lambda each: each.output(record, step, number, text))

    def step(self, record: RunRecord, step: StepRecord) -> None:
        self._each(lambda each: each.step(record, step))

    def ended(self, record: RunRecord) -> None:
        self._each(lambda each: each.ended(record))

    def _each(self, tell: Callable[[RunListener], None]) -> None:
        failed: Exception | None = None
        for each in self._listeners:
            try:
                tell(each)
            except (PgVillageError, OSError) as error:
                failed = error
        if failed is not None:
            raise failed
