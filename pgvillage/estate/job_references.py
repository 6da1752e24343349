"""What a Job says in its texts: schedules, steps that need each other, SQL, parameters, expressions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.explain_errors import suggestion
from pgvillage.estate.job_expressions import expression_faults, expression_names
from pgvillage.estate.job_reach import commands_of
from pgvillage.estate.job_schedule import schedule_of, written_schedules
from pgvillage.estate.job_sql import FileFault, Script, faults_of, placed, read_script
from pgvillage.estate.located import Located
from pgvillage.estate.manifest import Job
from pgvillage.estate.manifest.job_command import Command, JobStep
from pgvillage.estate.ownership import Edge, find_circles
from pgvillage.estate.source_text import DocPath, harmless
from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.graph import combinations
from pgvillage.jobs.schedule import known_zones, time_zone

_SQL_ONLY = (("role", "role"), ("statement_timeout", "statementTimeout"), ("lock_timeout", "lockTimeout"))


def check_job(job: Located[Job], root: Path) -> Iterator[Diagnostic]:
    """Every fault of a Job that its shape can't show. Reads the SQL files that it names."""
    yield from _schedules(job)
    yield from _steps(job)
    yield from _commands(job, root)
    yield from expression_faults(job)


def _schedules(job: Located[Job]) -> Iterator[Diagnostic]:
    for written, path in written_schedules(job.document.spec):
        try:
            time_zone(written.time_zone)
        except TextFault as fault:
            known = known_zones()
            if known:  # without a time zone database nothing can be said
                yield job.fault(fault.message, *path, "timeZone", hint=suggestion(written.time_zone, known))
            continue
        try:
            schedule_of(written)
        except TextFault as fault:
            key = "cron" if written.cron is not None else "calendar" if written.calendar is not None else "every"
            yield job.fault(fault.message, *path, key, hint=fault.hint)


def _steps(job: Located[Job]) -> Iterator[Diagnostic]:
    places: dict[Edge, DocPath] = {}
    steps = job.document.spec.steps
    names = {step.name for step in steps}
    yield from _twice(job, "steps", [step.name for step in steps])
    yield from _twice(job, "checks", [check.name for check in job.document.spec.checks])
    for index, step in enumerate(steps):
        for number, need in enumerate(step.needs):
            path: DocPath = ("spec", "steps", index, "needs", number)
            places.setdefault((step.name, need), path)
            if need not in names:
                yield job.fault(f"unknown step {need}", *path, hint=suggestion(need, names, what="known steps"))
    for circle in find_circles(places):
        words = " needs ".join([circle[0][0], *(need for _, need in circle)])
        yield job.fault(f"steps need each other: {words}", *places[circle[0]])


def _twice(job: Located[Job], key: str, names: list[str]) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            other = job.at("spec", key, first[name], "name")
            what = key.removesuffix("s")
            yield job.fault(f"a second {what} {name}; the first one is at {other}", "spec", key, index, "name")


def _commands(job: Located[Job], root: Path) -> Iterator[Diagnostic]:
    given = set(job.document.spec.parameters)
    used: set[str] = set()
    unread = False
    for command, path in commands_of(job):
        yield from _matrix(job, command, path)
        if not command.is_sql:
            yield from _sql_only(job, command, path)
            continue
        script, fault = _script(job, root, command, path)
        if script is None:
            unread = True
            if fault:
                yield fault
            continue
        used |= script.names()
        yield from _script_faults(job, script, command, path)
    for name in sorted(given - used) if not unread else ():
        yield job.fault(f"no SQL uses the parameter {name}", "spec", "parameters", name, severity="warning")


def _script(job: Located[Job], root: Path, command: Command, path: DocPath) -> tuple[Script | None, Diagnostic | None]:
    key = "file" if command.file is not None else "sql"
    try:
        return read_script(root, command), None
    except FileFault as fault:
        return None, job.fault(str(fault), *path, key)
    except TextFault as fault:
        return None, job.fault(fault.message, *path, key, hint=fault.hint)


def _script_faults(job: Located[Job], script: Script, command: Command, path: DocPath) -> Iterator[Diagnostic]:
    for fault in faults_of(script, command):
        yield job.fault(fault.message, *path, script.key, hint=fault.hint)
    given = {*job.document.spec.parameters, *command.matrix}
    told: set[str] = set()
    for statement in script.statements:
        for token in statement.parameters:
            name = token.text[1:]
            if name in given or name in told:
                continue
            told.add(name)
            fault = placed(
                TextFault(f"nothing gives the parameter {harmless(name)}", token.at), script.text, command.file or ""
            )
            hint = suggestion(name, given, what="given") or "add it to `parameters`, or to the step's `matrix`"
            yield job.fault(fault.message, *path, script.key, hint=hint)
    for name in sorted(set(command.matrix) - script.names() - expression_names(command)):
        yield job.fault(f"nothing uses {name} of this matrix", *path, "matrix", name, severity="warning")


def _matrix(job: Located[Job], command: Command, path: DocPath) -> Iterator[Diagnostic]:
    try:
        combinations(command.matrix)
    except TextFault as fault:
        yield job.fault(fault.message, *path, "matrix", hint=fault.hint)
    for name in sorted(set(command.matrix) & set(job.document.spec.parameters)):
        yield job.fault(f"{name} is a parameter of the Job already", *path, "matrix", name, hint="rename one of them")
    if command.http is not None and set(command.matrix) - expression_names(command):
        yield job.fault("a matrix reaches SQL and shells, and no HTTP call", *path, "matrix")


def _sql_only(job: Located[Job], command: Command, path: DocPath) -> Iterator[Diagnostic]:
    keys = list(_SQL_ONLY) + ([("transaction", "transaction")] if isinstance(command, JobStep) else [])
    for attribute, key in keys:
        if getattr(command, attribute) is not None:
            yield job.fault(f"`{key}` is about SQL, and this is none", *path, key)
