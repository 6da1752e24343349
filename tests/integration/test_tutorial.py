"""The tutorial, followed word by word: every command is run, every line it promises must come, in its order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers.postgres import PostgresServer, postgres_server

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


@dataclass
class Command:
    text: str
    promised: list[str] = field(default_factory=list)


def commands() -> Iterator[Command]:
    """The commands of all console blocks; a here-document belongs to the command that opens it."""
    for block in re.findall(r"```console\n(.*?)```", TUTORIAL.read_text(), re.DOTALL):
        current: Command | None = None
        inside = False
        for line in block.splitlines():
            if inside:
                assert current is not None
                current.text += "\n" + line
                inside = line != "EOF"
            elif line.startswith("$ "):
                if current:
                    yield current
                current = Command(line[2:])
                inside = "<<'EOF'" in line
            else:
                assert current is not None
                current.promised.append(line)
        if current:
            yield current


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("tutorial-pg")) as running:
        yield running


def test_every_command_does_what_the_tutorial_says(server: PostgresServer, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pgvillage"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pgvillage "$@"\n')
    program.chmod(0o755)
    found = list(commands())
    assert len(found) > 15
    script = ["set -eu", f"cd {tmp_path}"]
    for number, command in enumerate(found):
        script += [f"echo '@@{number}@@'", command.text.replace("port=5432", f"port={server.port}")]
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(TUTORIAL.parents[1]),
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PGPASSWORD": server.password,
        "GIT_AUTHOR_NAME": "You", "GIT_AUTHOR_EMAIL": "you@example.org",
        "GIT_COMMITTER_NAME": "You", "GIT_COMMITTER_EMAIL": "you@example.org",
    }  # fmt: skip
    done = subprocess.run(
        ["bash"], input="\n".join(script), env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    pieces = re.split(r"@@\d+@@\n", done.stdout)[1:]
    assert len(pieces) == len(found)
    for command, output in zip(found, pieces, strict=True):
        _check(command, output)


def _check(command: Command, output: str) -> None:
    """Each promised line is there, after the one before it; `…` is anything within a line."""
    lines = iter(output.splitlines())
    for promise in command.promised:
        if promise == "…":
            continue
        pattern = ".*".join(re.escape(part) for part in promise.split("…"))
        assert any(re.fullmatch(pattern, line) for line in lines), (
            f"$ {command.text}\nno line {promise!r} in:\n{output}"
        )
