"""Programs in Go and Java around the connections that `pgvillage dsn --snippet` printed: clients that go on running."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "servers"
QUESTION = "SELECT inet_server_port(), pg_is_in_recovery(), current_database()"


@dataclass(frozen=True, slots=True)
class Program:
    """A client that connects anew for every question, in one process: what a driver remembers of hosts, it keeps."""

    process: subprocess.Popen[str]

    def ask(self, name: str) -> tuple[int, bool, str]:
        """Port, whether it is a standby, database. Raises ConnectionError in the driver's words."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            word, _, said = line.rstrip("\n").partition(" ")
            if word == "failed":
                raise ConnectionError(said)
            if word == "answer":
                port, standby, database = said.split(" ", 2)
                return int(port), standby == "true", database
        raise AssertionError(f"{self.process.args} ended: {self.process.wait(20)}")


@contextmanager
def go_program(folder: Path, printed: Mapping[str, str], password: str) -> Iterator[Program]:
    """The printed snippets by name, compiled with pgx as they are; what Go compiles in between is kept in its cache."""
    modules = Path(os.environ.get("PGVILLAGE_TEST_PGX") or Path(sys.prefix) / "pgx")
    if not (modules / "vendor").exists():
        pytest.skip(f"pgx is not in {modules}: scripts/test installs it")
    shutil.copytree(modules, folder)
    cases = "".join(f"printed[{_quoted(n)}] = {_go_function(snippet)}\n" for n, snippet in printed.items())
    head = 'package main\n\nimport (\n"context"\n\n"github.com/jackc/pgx/v5"\n)\n'
    (folder / "printed.go").write_text(f"{head}\nfunc init() {{\n{cases}}}\n")
    own = Path(sys.executable).with_name("go")
    environment = {**os.environ, "GOPROXY": "off", "GOFLAGS": "-mod=vendor -buildvcs=false", "CGO_ENABLED": "0"}
    # without optimisation: Go's own library is compiled too, on a machine that has not done it before
    command = [str(own) if own.exists() else "go", "build", "-gcflags=all=-N -l", "-o", "asks", "."]
    built = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    with _running([str(folder / "asks"), QUESTION], password) as program:
        yield program


def _go_function(snippet: str) -> str:
    return f"func(ctx context.Context) (*pgx.Conn, error) {{\n{snippet}\nreturn connection, err\n}}"


@contextmanager
def java_program(folder: Path, printed: Mapping[str, str], password: str) -> Iterator[Program]:
    """The printed snippets by name, each whole but for one statement more at the end of its block, run from source."""
    jar = Path("/usr/share/java/postgresql.jar")
    if not jar.exists():
        pytest.skip(f"{jar} is missing: scripts/test installs it")
    cases = "".join(f"case {_quoted(n)} -> {{\n{_java_block(snippet)}\n}}\n" for n, snippet in printed.items())
    folder.mkdir()
    source = (SOURCES / "jdbc" / "Asks.java").read_text()
    (folder / "Asks.java").write_text(source.replace("// PRINTED\n", cases), encoding="utf-8")
    # a short-lived compiler needs no second stage of optimisation
    command = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-cp", str(jar)]
    with _running([*command, str(folder / "Asks.java"), QUESTION], password) as program:
        yield program


def _java_block(snippet: str) -> str:
    body, brace, rest = snippet.rpartition("}")
    assert (brace, rest) == ("}", "")
    return f"{body}    ask(connection);\n}}"


def _quoted(name: str) -> str:
    return json.dumps(name)


@contextmanager
def _running(command: list[str], password: str) -> Iterator[Program]:
    environment = {**os.environ, "PGPASSWORD": password, "LC_ALL": "C.UTF-8"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, encoding="utf-8", **pipes) as process:
        try:
            yield Program(process)
        finally:
            process.kill()
