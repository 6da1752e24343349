"""Tells a listener of one run: secrets taken out, nothing after the run was lost, and never at the run's cost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pgvillage.core.errors import PgVillageError
from pgvillage.core.job_run import RunRecord, StepRecord
from pgvillage.core.secret import Secret
from pgvillage.running.contract import RunListener

log = logging.getLogger("pgvillage.jobs")
_HIDDEN = "(secret)"


@dataclass(eq=False)
class Telling:
    """`record` is the run as it is now; `silent` from the moment on that somebody else may be at it."""

    listener: RunListener
    record: RunRecord
    silent: bool = False
    _secrets: set[str] = field(default_factory=set, repr=False)
    _failed: bool = False

    def hide(self, secrets: Iterable[Secret]) -> None:
        for secret in secrets:
            text = secret.reveal()
            self._secrets.update(each for each in (text, *text.splitlines()) if each)

    def without_secrets(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text

    def clean(self, step: StepRecord) -> StepRecord:
        value = self.without_secrets(step.value) if step.value is not None else None
        return replace(
            step, output=self.without_secrets(step.output), error=self.without_secrets(step.error), value=value
        )

    def begun(self) -> None:
        self._tell(lambda: self.listener.begun(self.record))

    def output(self, step: str, number: int, text: str) -> None:
        self._tell(lambda: self.listener.output(self.record, step, number, self.without_secrets(text)))

    def step(self, step: StepRecord) -> None:
        self._tell(lambda: self.listener.step(self.record, step))

    def ended(self) -> None:
        self._tell(lambda: self.listener.ended(self.record))

    def _tell(self, what: Callable[[], None]) -> None:
        if self.silent:
            return
        try:
            what()
        except (PgVillageError, OSError) as error:
            # Once a run: a state database that is away would say it for every line of output.
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            log.log(level, "the history of run %s of job %s: %s", self.record.key.id, self.record.key.job, error)
