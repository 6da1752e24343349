"""What a Job names: its steps, files of the estate, a time zone."""

from __future__ import annotations

import os
import stat
import zoneinfo
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pgvillage.core.errors import Diagnostic
from pgvillage.estate.explain_errors import suggestion
from pgvillage.estate.located import Located
from pgvillage.estate.manifest import Job
from pgvillage.estate.ownership import Edge, find_circles
from pgvillage.estate.source_text import DocPath, harmless


def check_job(job: Located[Job], root: Path) -> Iterator[Diagnostic]:
    """Every fault of a Job that its shape can't show. Looks at the files it names, and reads none."""
    yield from _time_zone(job)
    yield from _steps(job)
    for key, texts in (("steps", job.document.spec.steps), ("checks", job.document.spec.checks)):
        for index, text in enumerate(texts):
            fault = _file_fault(root, text.file) if text.file is not None else ""
            if fault:
                yield job.fault(fault, "spec", key, index, "file")


def _time_zone(job: Located[Job]) -> Iterator[Diagnostic]:
    name = job.document.spec.schedule.time_zone
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if known:  # without a time zone database nothing can be said
            hint = suggestion(name, known)
            yield job.fault(f"unknown time zone {name}", "spec", "schedule", "timeZone", hint=hint)


def _steps(job: Located[Job]) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    places: dict[Edge, DocPath] = {}
    steps = job.document.spec.steps
    names = {step.name for step in steps}
    for index, step in enumerate(steps):
        if first.setdefault(step.name, index) != index:
            other = job.at("spec", "steps", first[step.name], "name")
            yield job.fault(f"a second step {step.name}; the first one is at {other}", "spec", "steps", index, "name")
        for number, need in enumerate(step.needs):
            path: DocPath = ("spec", "steps", index, "needs", number)
            places.setdefault((step.name, need), path)
            if need not in names:
                yield job.fault(f"unknown step {need}", *path, hint=suggestion(need, names, what="known steps"))
    for circle in find_circles(places):
        words = " needs ".join([circle[0][0], *(need for _, need in circle)])
        yield job.fault(f"steps need each other: {words}", *places[circle[0]])


def _file_fault(root: Path, name: str) -> str:
    """What is wrong with a Job's file, or nothing. A merge request must not reach outside the estate by it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        return f"a file is named by its path inside the estate, found {harmless(name[:80])}"
    here = root
    for part in path.parts:
        here = here / part
        try:
            mode = os.lstat(here).st_mode
        except OSError:
            return f"there is no file {name[:80]} in the estate"
        if stat.S_ISLNK(mode):
            return f"{name[:80]} is or goes through a symbolic link"
    return "" if stat.S_ISREG(mode) else f"{name[:80]} is not a file"
