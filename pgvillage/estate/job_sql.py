"""The SQL texts of a Job: whether they can be cut into statements and run, and which parameters they use."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pgvillage.estate.located import Located
from pgvillage.estate.manifest import Job
from pgvillage.estate.manifest.job_command import Command, JobStep
from pgvillage.estate.source_text import harmless
from pgvillage.jobs.fault import TextFault
from pgvillage.jobs.statements import Statement, split

LARGEST_FILE = 4 << 20  # bytes


class FileFault(Exception):
    """A Job's file that can't be had, in words."""


@dataclass(frozen=True)
class Script:
    """A text that could be cut, and where it stands."""

    text: str
    key: str  # sql or file
    statements: list[Statement]

    def names(self) -> set[str]:
        return {name for statement in self.statements for name in statement.names}


def read_script(root: Path, command: Command) -> Script | None:
    """The SQL of a command, None where there is none. Raises FileFault, or TextFault with the text in its message."""
    if command.file is not None:
        text, key = _read(root, command.file), "file"
    elif command.sql is not None:
        text, key = command.sql, "sql"
    else:
        return None
    try:
        return Script(text, key, split(text))
    except TextFault as fault:
        raise placed(fault, text, command.file or "") from fault


def scripts_of(root: Path, jobs: Iterable[Located[Job]]) -> dict[str, str]:
    """The text of each SQL file that these jobs name and that can be read; what can't be is a fault of its own."""
    found: dict[str, str] = {}
    for job in jobs:
        for command in (*job.document.spec.steps, *job.document.spec.checks):
            if command.file is not None and command.file not in found:
                with suppress(FileFault):
                    found[command.file] = _read(root, command.file)
    return found


def placed(fault: TextFault, text: str, file: str) -> TextFault:
    """The fault with its line in front: a manifest's places end where the text begins."""
    line = text.count("\n", 0, fault.at) + 1
    column = fault.at - text.rfind("\n", 0, fault.at)
    where = f"{harmless(file[:80])}:{line}:{column}" if file else f"line {line}, column {column}"
    return TextFault(f"{where}: {fault.message}", fault.at, fault.hint)


def faults_of(script: Script, command: Command) -> Iterator[TextFault]:
    """What PostgreSQL would refuse because of how the script is run."""
    if all(statement.empty for statement in script.statements):
        yield TextFault("there is no statement in it")
    if not isinstance(command, JobStep) or command.transaction is False:
        return
    for statement in script.statements:
        if statement.controls_transaction:
            hint = "the step is a transaction of its own; or write `transaction: false`"
            fault = TextFault(f"{statement.words[0].upper()} inside the step's transaction", statement.begins, hint)
        elif statement.alone:
            words = " ".join(statement.words[:2]).upper()
            fault = TextFault(f"{words} can't run in a transaction", statement.begins, "write `transaction: false`")
        else:
            continue
        yield placed(fault, script.text, command.file or "")


def _read(root: Path, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        raise FileFault(f"a file is named by its path inside the estate, found {harmless(name[:80])}")
    here = root
    for part in path.parts:
        here = here / part
        try:
            found = os.lstat(here)
        except OSError as error:
            raise FileFault(f"there is no file {name[:80]} in the estate") from error
        if stat.S_ISLNK(found.st_mode):
            raise FileFault(f"{name[:80]} is or goes through a symbolic link")
    if not stat.S_ISREG(found.st_mode):
        raise FileFault(f"{name[:80]} is not a file")
    if found.st_size > LARGEST_FILE:
        raise FileFault(f"{name[:80]} is larger than {LARGEST_FILE >> 20} MiB")
    try:
        return here.read_bytes().decode().removeprefix("\ufeff")
    except OSError as error:
        raise FileFault(f"{name[:80]} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileFault(f"{name[:80]} is not UTF-8 (byte {error.start})") from error
