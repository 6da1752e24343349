"""The expressions of a Job: `when` of its steps, `expect` of its checks. Which names they may use, of which kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.explain_errors import suggestion
from pgvillage.estate.located import Located
from pgvillage.estate.manifest import Job
from pgvillage.estate.manifest.job_command import Check, Command, JobStep
from pgvillage.estate.source_text import DocPath, harmless
from pgvillage.jobs.expression import (
    Kind,
    Name,
    Reference,
    check_types,
    kind_of,
    parse_expression,
    references,
)
from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.pattern import compile_pattern

_OF_SQL: Mapping[str, Kind] = {"rows": Kind.NUMBER, "value": Kind.ANY}
_OF_ALL: Mapping[str, Kind] = {"rc": Kind.NUMBER, "output": Kind.TEXT, "skipped": Kind.FLAG}


def expression_faults(job: Located[Job]) -> Iterator[Diagnostic]:
    spec = job.document.spec
    steps = {step.name: step for step in spec.steps}
    for index, step in enumerate(spec.steps):
        if step.when is not None:
            before = _before(step.name, steps)
            kinds = {**_step_kinds(steps), **_matrix_kinds(step)}
            yield from _faults(job, step.when, ("spec", "steps", index, "when"), kinds, before)
    for index, check in enumerate(spec.checks):
        path: DocPath = ("spec", "checks", index, "expect")
        if check.expect.matches is not None:
            yield from _pattern_faults(job, check.expect.matches, (*path, "matches"))
        if check.expect.that is not None:
            kinds = {**_step_kinds(steps), **_matrix_kinds(check), **_own_kinds(check)}
            yield from _faults(job, check.expect.that, (*path, "that"), kinds, frozenset(steps))


def expression_names(command: Command) -> set[str]:
    """The names of its matrix that its own expression uses; none where it can't be read."""
    text = command.when if isinstance(command, JobStep) else command.expect.that if isinstance(command, Check) else None
    try:
        found = references(parse_expression(text)) if text else []
    except TextFault:
        return set(command.matrix)
    return {each.name[1] for each in found if each.name[0] == "matrix" and len(each.name) == 2}


def _before(step: str, steps: Mapping[str, JobStep]) -> frozenset[str]:
    """Every step that it needs, and what those need."""
    seen: set[str] = set()
    waiting = list(steps[step].needs)
    while waiting:
        name = waiting.pop()
        if name in steps and name not in seen:
            seen.add(name)
            waiting.extend(steps[name].needs)
    return frozenset(seen)


def _kinds_of(command: Command) -> dict[str, Kind]:
    kinds = {**_OF_ALL, **(_OF_SQL if command.is_sql else {})}
    if command.matrix:
        kinds.pop("value", None)  # which of them would it be?
    return kinds


def _step_kinds(steps: Mapping[str, JobStep]) -> dict[Name, Kind]:
    return {("steps", name, key): kind for name, step in steps.items() for key, kind in _kinds_of(step).items()}


def _own_kinds(check: Check) -> dict[Name, Kind]:
    if not check.commands():
        return {}
    kinds = {**_OF_ALL, **(_OF_SQL if check.is_sql else {})}
    return {(key,): kind for key, kind in kinds.items() if key != "skipped"}


def _matrix_kinds(command: Command) -> dict[Name, Kind]:
    found: dict[Name, Kind] = {}
    for name, values in command.matrix.items():
        kinds = {kind_of(value) for value in values}
        found["matrix", name] = kinds.pop() if len(kinds) == 1 else Kind.ANY
    return found


def _faults(
    job: Located[Job], text: str, path: DocPath, kinds: Mapping[Name, Kind], before: frozenset[str]
) -> Iterator[Diagnostic]:
    try:
        term = parse_expression(text)
        for name in references(term):
            _check_name(name, kinds, before)
        check_types(term, kinds)
    except TextFault as fault:
        yield _told(job, fault, text, path)


def _check_name(found: Reference, kinds: Mapping[Name, Kind], before: frozenset[str]) -> None:
    name = found.name
    if name in kinds and (name[0] != "steps" or name[1] in before):
        return
    steps = {known[1] for known in kinds if known[0] == "steps"}
    if name[0] == "steps" and len(name) == 3 and name[1] in steps:
        if name[1] not in before:
            raise TextFault(f"step {name[1]} may not have run yet", found.at, f"write `needs: [{name[1]}]` as well")
        known = sorted(each[2] for each in kinds if each[:2] == name[:2])
        raise TextFault(f"step {name[1]} has no {name[2]}", found.at, suggestion(name[2], known, what="it has"))
    if name[0] == "steps" and len(name) == 3:
        raise TextFault(f"unknown step {name[1]}", found.at, suggestion(name[1], steps, what="known steps"))
    known_names = [".".join(each) for each in kinds if each[0] != "steps" or each[1] in before]
    hint = suggestion(".".join(name), known_names) or "known: steps.NAME.rc, rows, value, output, skipped; matrix.NAME"
    text = ".".join(name)
    raise TextFault(f"unknown name {text[:80]}", found.at, f"{hint} A text stands in quotes.")


def _pattern_faults(job: Located[Job], text: str, path: DocPath) -> Iterator[Diagnostic]:
    try:
        compile_pattern(text)
    except TextFault as fault:
        yield _told(job, fault, text, path)


def _told(job: Located[Job], fault: TextFault, text: str, path: DocPath) -> Diagnostic:
    """The caret is drawn under the expression itself: where it stands in the file depends on its quotes."""
    line, caret = fault.caret(text).split("\n")
    hint = f"{fault.hint}\n    {line}\n    {caret}" if fault.hint else f"here:\n    {line}\n    {caret}"
    return job.fault(harmless(fault.message), *path, hint=hint)
