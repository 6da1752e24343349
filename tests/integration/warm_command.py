"""The command line in a process that has everything imported: for tests that start, kill and start it very often."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from pgvillage.cli.app import run
from tests.integration.estate_builder import EstateBuilder, Ran

_CONTEXT = multiprocessing.get_context("forkserver")
# What the command line imports when first used is named too.
_CONTEXT.set_forkserver_preload(
    [
        "tests.integration.warm_command", "psycopg", "psycopg_binary", "git", "yaml", "ldap3", "rich.console",
        "pgvillage.wiring", "pgvillage.cli.apply", "pgvillage.usecases.apply", "pgvillage.usecases.outcome",
        "pgvillage.report.text", "pgvillage.clients.pg_write", "pgvillage.clients.pg_read", "pgvillage.clients.git",
    ]
)  # fmt: skip


def command(arguments: list[str], output: str) -> None:
    with Path(output).open("w", buffering=1) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream
        code = 99
        try:
            code = run(arguments)
        finally:
            stream.flush()
            if code == 99:
                import traceback

                traceback.print_exc()
            os._exit(code)


def start_warm(estate: EstateBuilder, *arguments: str) -> ForkServerProcess:
    """A process of its own, ready in some hundredths of a second; its words are in `warm_words`."""
    whole = [arguments[0], "--settings", str(estate.settings_file), *arguments[1:]]
    process = _CONTEXT.Process(target=command, args=(whole, str(estate.folder / "output")), daemon=True)
    process.start()
    return process


def warm_words(estate: EstateBuilder) -> str:
    return (estate.folder / "output").read_text()


def run_here(estate: EstateBuilder, *arguments: str) -> Ran:
    """The command line inside the test's own process."""
    whole = [arguments[0], "--settings", str(estate.settings_file), *arguments[1:]]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(whole)
    return Ran(code, out.getvalue(), err.getvalue())
