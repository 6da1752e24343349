"""Programs of jobs where PgVillage runs: a child that watches over what it begins, so that nothing is left running."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pgvillage.clients.job_output import Output
from pgvillage.core.job_work import ShellWork, Sink, WorkResult
from pgvillage.core.secret import Secret

Hidden = Callable[[str], bool]

_CHILD = Path(__file__).with_name("job_child.py")
_CHUNK = 65_536
_OURS = ("PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "VAULT_TOKEN", "SOPS_AGE_KEY", "PGVILLAGE_TOKEN")
_AFTER = 15.0  # seconds that the watching child has to end everything


async def run_program(work: ShellWork, sink: Sink, hidden: Hidden) -> WorkResult:
    """`hidden` says which variables of our environment hold PgVillage's own secrets: the program does not get them."""
    output = Output(work.keep, work.env.values(), sink)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(_CHILD), env=_bare(hidden),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(_asked(work, hidden))
        late = False
        try:
            async with asyncio.timeout(work.seconds):
                await _read(process.stdout, output)
        except TimeoutError:
            late = True
    finally:
        # Also where the task is cancelled: the child ends all of it once its stdin ends.
        process.stdin.close()
        await asyncio.shield(_ended(process))
    return _judged(work, process.returncode, output, late=late)


async def _read(stream: asyncio.StreamReader, output: Output) -> None:
    while data := await stream.read(_CHUNK):
        output.feed(data)


async def _ended(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_AFTER):
            while await process.stdout.read(_CHUNK):
                pass
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _bare(hidden: Hidden) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OURS and not hidden(name)}


def _asked(work: ShellWork, hidden: Hidden) -> bytes:
    added = {name: value.reveal() if isinstance(value, Secret) else value for name, value in work.env.items()}
    asked = {
        "command": list(work.command) if work.command is not None else None,
        "script": work.script,
        "env": _bare(hidden) | added,
        "folder": work.folder,
    }
    return json.dumps(asked).encode() + b"\n"


def _judged(work: ShellWork, code: int | None, output: Output, *, late: bool) -> WorkResult:
    rc = code if code is not None and code >= 0 else 128 - (code or 0)
    if late:
        error = f"ended after {work.seconds:g} s, with all that it had begun"
    elif rc > 128:
        error = f"ended by signal {rc - 128}, or exit code {rc}"
    else:
        error = f"exit code {rc}" if rc else ""
    text = output.end()
    return WorkResult(rc or (124 if late else 0), output=text, truncated=output.truncated, error=error, uncertain=late)
