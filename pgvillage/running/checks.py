"""Looks, after its steps, whether a run did what it should."""

from __future__ import annotations

from dataclasses import replace

from pgvillage.core.job_run import Outcome, StepRecord
from pgvillage.core.job_work import WorkResult
from pgvillage.estate.manifest.job_command import Check
from pgvillage.jobs.fault import TextFault, printable
from pgvillage.jobs.graph import Instance, combinations
from pgvillage.jobs.pattern import compile_pattern
from pgvillage.running.steps import Try
from pgvillage.running.values import fits, holds, of_itself, of_matrix, of_steps

_SHOWN = 200  # characters of what was found


async def check_all(done: Try) -> list[StepRecord]:
    """Every check with each combination of its matrix, one after the other; those that failed."""
    failed = []
    for check in done.order.job.spec.checks:
        for instance in combinations(check.matrix):
            record = await _check(done, check, instance)
            done.telling.step(record)
            if record.outcome is Outcome.FAILED:
                failed.append(record)
    return failed


async def _check(done: Try, check: Check, instance: Instance) -> StepRecord:
    if check.commands():
        record, result = await done.one(check, instance, done.telling.record.attempt)
    else:
        now = done.means.now()
        record = StepRecord(check.name, instance.number, Outcome.DONE, now, now, values=instance.values, check=True)
        result = WorkResult()
    error = _fault(done, check, record, result)
    outcome = Outcome.FAILED if error else Outcome.DONE
    return done.telling.clean(replace(record, outcome=outcome, error=error))


def _fault(done: Try, check: Check, record: StepRecord, result: WorkResult) -> str:
    expect = check.expect
    # A program's exit code and a call's status are something that `that` may look at; no answer is nothing.
    answered = record.rc is not None and not result.uncertain
    judged = expect.that is not None and not check.is_sql and answered
    if record.error and not judged:
        return record.error
    if expect.rows is not None and record.rows != expect.rows:
        return f"expected {expect.rows} rows, found {'none were asked for' if record.rows is None else record.rows}"
    if expect.value is not None and not fits(record.value, expect.value):
        return f"expected value {_shown(expect.value)}, found {_shown(record.value)}"
    if expect.matches is not None and not compile_pattern(expect.matches).found_in(record.output):
        return f"expected output that matches {_shown(expect.matches)}, found {_shown(record.output)}"
    return _unmet(done, expect.that, record, instance=Instance(record.number, record.values)) if expect.that else ""


def _unmet(done: Try, that: str, record: StepRecord, instance: Instance) -> str:
    names = [step.name for step in done.order.job.spec.steps]
    values = {**of_steps(done.records, names), **of_matrix(instance), **of_itself(record)}
    try:
        if holds(that, values):
            return ""
    except TextFault as fault:
        return f"{_shown(that)}: {fault.message}"
    own = ", ".join(f"{name} {_shown(values[name,])}" for name in ("rc", "rows", "value") if values[name,] is not None)
    return f"not so: {_shown(that)}" + (f" ({own})" if own else "")


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = printable(str(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
