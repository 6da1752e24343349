"""Programs of jobs on this machine: whatever they do, the result is right and nothing is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pgvillage.clients.job_shell import run_program
from pgvillage.core.job_work import ShellWork, WorkResult
from pgvillage.core.secret import Secret
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import cluster, document, free_policy
from tests.servers import wait_until
from tests.servers.postgres import PostgresServer

SLEEP = "sleep 98765"


def sleepers(mark: str) -> int:
    """Processes that have this mark in their environment."""
    count = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                count += f"MARK={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
    return count


def work(script: str, mark: str = "", **more: Any) -> ShellWork:
    return ShellWork(None, script, None, "k", **{"env": {"MARK": mark}, "seconds": 30, **more})


def run(what: ShellWork) -> tuple[WorkResult, str]:
    said: list[str] = []
    result = asyncio.run(run_program(what, said.append, lambda name: name == "HIDDEN"))
    return result, "".join(said)


def test_exit_codes_output_and_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HIDDEN", "planted")
    monkeypatch.setenv("PGPASSWORD", "planted")
    monkeypatch.setenv("SEEN", "yes")
    env = {"OWN": "it's", "TOKEN": Secret("s3cret\nline")}
    result, said = run(
        work(
            'echo "$SEEN $OWN [$HIDDEN$PGPASSWORD] $TOKEN"; pwd; echo wrong >&2; exit 3', env=env, folder=str(tmp_path)
        )
    )
    assert (result.rc, result.error) == (3, "exit code 3")
    assert result.output == said == f"yes it's [] (secret)\n{tmp_path}\nwrong\n"
    result, _ = run(ShellWork(("printf", "%s", "a b;$HOME"), None, None, "k"))
    assert (result.rc, result.output, result.error) == (0, "a b;$HOME", "")
    result, _ = run(ShellWork(("no such program",), None, None, "k"))
    assert (result.rc, result.output) == (127, "no such program: No such file or directory\n")
    result, _ = run(work("kill -9 $$"))
    assert (result.rc, result.error) == (137, "ended by signal 9, or exit code 137")


def test_secrets_binary_and_size() -> None:
    secret = Secret("0123456789abcdef")
    script = "head -c 16380 /dev/zero | tr '\\0' x; printf $TOKEN; printf '\\001\\377\\033[31m'"
    result, _ = run(work(script, env={"TOKEN": secret}))
    assert secret.reveal() not in result.output
    assert "(secret)" in result.output
    assert "\x1b" not in result.output
    result, said = run(work("head -c 100000000 /dev/urandom; echo end", keep=10_000))
    assert (result.rc, result.truncated) == (0, True)
    assert len(result.output.encode()) <= 10_000
    assert result.output == said


@pytest.mark.parametrize(
    "script",
    [
        f"{SLEEP}",
        f"{SLEEP} & {SLEEP} & wait",
        f"trap '' TERM; {SLEEP} & {SLEEP}",
        f"setsid sh -c 'trap \"\" TERM; {SLEEP} & {SLEEP}' & wait",
        f"(setsid {SLEEP} &) ; {SLEEP}",
    ],
    ids=["plain", "forks", "ignores", "own session", "twice forked"],
)
def test_a_time_limit_ends_all_of_it(script: str, tmp_path: Path) -> None:
    mark = f"limit-{tmp_path}"
    result, _ = run(work(f"echo begun; {script}", mark, seconds=1))
    assert result.error == "ended after 1 s, with all that it had begun"
    assert result.uncertain
    assert result.output == "begun\n"
    assert sleepers(mark) == 0


def test_what_stays_behind_is_ended(tmp_path: Path) -> None:
    mark = f"behind-{tmp_path}"
    result, _ = run(work(f"setsid {SLEEP} >/dev/null 2>&1 & echo done", mark))
    assert (result.rc, result.output) == (0, "done\n")
    assert sleepers(mark) == 0


def test_cancelling_ends_it(tmp_path: Path) -> None:
    mark = f"cancel-{tmp_path}"

    async def body() -> None:
        task = asyncio.create_task(run_program(work(f"{SLEEP} & {SLEEP}", mark), lambda _: None, lambda _: False))
        while sleepers(mark) < 3:
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())
    assert sleepers(mark) == 0


def test_nothing_outlives_a_killed_pgvillage(tmp_path: Path) -> None:
    mark = f"killed-{tmp_path}"
    program = (
        "import asyncio; from pgvillage.clients.job_shell import run_program; "
        "from pgvillage.core.job_work import ShellWork; "
        f"work = ShellWork(None, 'setsid {SLEEP} & {SLEEP}', None, 'k', env={{'MARK': {mark!r}}}); "
        "asyncio.run(run_program(work, print, lambda _: False))"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: sleepers(mark) >= 3, "the program", seconds=30)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    begun = time.monotonic()
    wait_until(lambda: sleepers(mark) == 0, "the end of all of it", seconds=30)
    assert time.monotonic() - begun < 30


def test_sql_a_program_and_a_call_in_one_job(pg: PostgresServer, estate_of: EstateMaker, tmp_path: Path) -> None:
    with called() as (url, bodies):
        allowed = url.removeprefix("http://")
        estate = estate_of(
            pg, jobs={"superuser": ["*"], "localShell": True, "http": [allowed]},
            secrets={"hook": {"env": "HOOK"}},
        )  # fmt: skip
        estate.environment["HOOK"] = "planted-in-the-hook"
        steps = [
            {"name": "count", "sql": "SELECT 42 AS n"},
            {"name": "write", "needs": ["count"], "when": "steps.count.value == '42'", "shell": {
                "on": "local", "script": 'echo "$PGV_JOB $PGV_CLUSTER [$HOOK] $MINE"',
                "env": {"MINE": {"secret": "hook"}},
            }},
            {"name": "tell", "needs": ["write"], "http": {"method": "POST", "url": f"{url}/x", "body": "done"}},
            {"name": "far", "needs": ["tell"], "shell": {"script": "true"}},
        ]  # fmt: skip
        job = document("Job", "mixed", clusters={"names": ["c"]}, databases=["postgres"], role="postgres", steps=steps)
        estate.documents = {"a": [free_policy(), cluster("c", pg.host, databases=[{"name": "postgres"}]), job]}
        estate.commit()
        ran = estate.run("job run", "mixed", "--now").done(1)
    assert "write | mixed c [] (secret)" in ran.text
    assert bodies == [b"done"]
    assert "this version runs no programs on hosts" in ran.text
    assert "planted-in-the-hook" not in ran.text + estate.run("job history", "-o", "json").text


@contextmanager
def called() -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
