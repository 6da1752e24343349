"""get, describe, events, history, reconcile, approve: by a daemon's API, by the state database, without either."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn

from pgvillage.cli.app import run
from pgvillage.clients.state.state import State
from pgvillage.core.history import Event
from tests.integration.conftest import EstateMaker
from tests.integration.estate_builder import COMMAND, EstateBuilder, cluster, free_policy, user
from tests.integration.test_api import DIGEST, HOSTILE, NOW, Api, fill, secret, settings_with
from tests.servers import wait_until
from tests.servers.postgres import PostgresServer

ROW = ["shop", "Stalled", "Drifted", "Healthy", "2", "1"]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    found = State.in_file(tmp_path / "state" / "state.db")
    fill(found)
    yield found
    found.close()


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    file = tmp_path / "pgvillage.yaml"
    file.write_text(json.dumps({"repository": {"url": str(tmp_path)}, "state": str(tmp_path / "state")}))
    return ["--settings", str(file)]


@pytest.fixture
def server(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The API by a real uvicorn, with TLS; the token is in the environment and the CA in a file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    listener = socket.create_server(("127.0.0.1", 0))
    app = Api(state, settings_with(monkeypatch)).app
    config = uvicorn.Config(app, log_config=None, lifespan="off", ssl_certfile=str(tmp_path / "server.pem"),
                            timeout_graceful_shutdown=1)  # fmt: skip
    serving = uvicorn.Server(config)
    thread = threading.Thread(target=serving.run, args=([listener],))
    thread.start()
    wait_until(lambda: serving.started, "uvicorn")
    monkeypatch.setenv("PGVILLAGE_TOKEN", secret("all"))
    monkeypatch.setenv("PGVILLAGE_SERVER", f"https://127.0.0.1:{listener.getsockname()[1]}")
    yield str(tmp_path / "ca.pem")
    serving.should_exit = True
    thread.join(20)
    listener.close()


class Shell:
    """Runs commands here and keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *common: str) -> None:
        self._capsys, self.common = capsys, common

    def __call__(self, *arguments: str, code: int = 0) -> str:
        self._capsys.readouterr()
        found = run([arguments[0], *self.common, *arguments[1:]])
        out, self.err = self._capsys.readouterr()
        assert found == code, self.err
        assert "planted" not in out + self.err
        return out


@pytest.fixture(params=["local", "server"])
def shell(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], settings: list[str], state: State
) -> Shell:
    if request.param == "local":
        return Shell(capsys, *settings)
    return Shell(capsys, "--ca", request.getfixturevalue("server"))


def test_get_is_the_same_from_both(shell: Shell, state: State) -> None:
    lines = shell("get", "targets").splitlines()
    assert lines[0].split() == ["NAME", "READY", "SYNC", "HEALTH", "CHANGES", "DRIFT", "OBSERVED", "REVISION", "NOTE"]
    assert len(lines) == 4
    (found,) = [line for line in lines if line.startswith("shop")]
    assert found.split()[:6] == [*ROW[:2], "Unknown" if "Unknown" in found else "Drifted", *ROW[3:]]
    assert found.endswith("blocked: drop")
    assert any(HOSTILE in line for line in lines)
    assert [row["name"] for row in json.loads(shell("get", "targets", "-o", "json", "-l", "team=shop"))["targets"]] == [
        "shop"
    ]
    assert [row["name"] for row in json.loads(shell("get", "targets", "-t", "old", "-o", "json"))["targets"]] == ["old"]
    assert shell("get", "targets", "-l", "team=none") == "no targets\n"
    assert "shop/role/etl" in shell("get", "drifts")
    assert len(shell("get", "runs", "--limit", "2").splitlines()) == 3
    assert len(shell("get", "plans", "-t", "shop").splitlines()) == 3
    assert "expected KEY=VALUE" in _refused(shell, "get", "targets", "-l", "x")


def _refused(shell: Shell, *arguments: str, code: int = 64) -> str:
    shell(*arguments, code=code)
    return shell.err


def test_describe(shell: Shell) -> None:
    found = shell("describe", "shop")
    for words in ("blocked by   drop", f"pgvillage approve shop {DIGEST[:12]}", "drifts", "runs", "events",
                  "labels       env=prod, team=shop"):  # fmt: skip
        assert words in found, found
    assert json.loads(shell("describe", "shop", "-o", "json"))["plan"]["digest"] == DIGEST
    assert "no target 'none'" in _refused(shell, "describe", "none")
    assert "no target 'shopp'; did you mean shop?" in _refused(shell, "describe", "shopp")
    assert "Unknown" in shell("describe", "old")


def test_events_and_history(shell: Shell) -> None:
    lines = shell("events", "-t", "shop").splitlines()
    assert [line.split()[2:] for line in lines[1:]] == [["shop", "DriftFound", f"<b>{n}</b>"] for n in (1, 3)]
    assert [row["id"] for row in json.loads(shell("events", "-o", "json", "--limit", "2"))["events"]] == [4, 5]
    assert "running" in shell("history", "-t", "shop")
    assert "go with `pgvillage history export`" in _refused(shell, "history", "--since", "2026-01-01")


def test_approve(shell: Shell, state: State) -> None:
    assert "is approved until" in shell("approve", "shop", DIGEST[:12], "--comment", "seen")
    (found,) = state.decisions.approvals("shop", datetime(2000, 1, 1, tzinfo=UTC))
    assert (found.digest, found.comment) == (DIGEST, "seen")
    assert "@" in found.by or found.by == "token:all"
    assert [entry.action for entry in state.decisions.audits()] == ["approve"]
    assert "stands at aaaaaaaaaaaa by now, not at bbbbbbbbbbbb" in _refused(shell, "approve", "shop", "b" * 12)
    assert "12 to 64" in _refused(shell, "approve", "shop", "abc")
    assert "no target 'none'" in _refused(shell, "approve", "none", "b" * 12)
    assert "has no plan" in _refused(shell, "approve", "old", "b" * 12)


def test_reconcile_asks_the_daemon(server: str, capsys: pytest.CaptureFixture[str], state: State) -> None:
    shell = Shell(capsys, "--ca", server)
    assert "shop: asked to look now" in shell("reconcile", "shop")
    assert [each.verb for each in state.decisions.take_requests(["shop"])] == ["reconcile"]
    assert "no target 'none'" in _refused(shell, "reconcile", "none")
    assert "shop: suspended, said to the daemon" in shell("suspend", "shop", "--reason", "work", "--for", "2000d")
    assert state.decisions.suspensions()["shop"].by == "token:all"
    assert json.loads(shell("resume", "shop", "-o", "json"))[0]["suspension"] is None
    assert state.decisions.suspensions() == {}
    assert "by the token" in _refused(shell, "suspend", "shop", "--reason", "x", "--by", "me")
    assert "reads the state database itself" in _refused(shell, "history", "export")


def test_servers_that_are_not_asked(
    server: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(capsys)
    assert "certificate is not trusted" in _refused(shell, "get", "targets", code=1)
    for url in ("http://db.example", "ftp://127.0.0.1", "https://planted:planted@db.example", "https://", "x"):
        assert "expected an https:// URL" in _refused(shell, "get", "targets", "--server", url)
    file = tmp_path / "token"
    file.write_text("planted-wrong-token-000000\n")
    trusted = Shell(capsys, "--ca", server)
    assert "this token is not known (PGVILLAGE_TOKEN, or --token-file)" in _refused(
        trusted, "get", "targets", "--token-file", str(file), code=1
    )
    file.write_text(secret("reader") + "\n")
    assert "shop" in trusted("get", "targets", "--token-file", str(file))
    assert "this needs a token with the scope reconcile" in _refused(
        trusted, "reconcile", "shop", "--token-file", str(file), code=1
    )
    assert "can't be read" in _refused(trusted, "get", "targets", "--token-file", str(tmp_path / "none"))
    monkeypatch.delenv("PGVILLAGE_SERVER")
    assert "go with --server" in _refused(trusted, "get", "targets")
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    assert "can't be reached" in _refused(shell, "get", "targets", "--server", f"http://127.0.0.1:{port}", code=1)


def test_export(settings: list[str], capsys: pytest.CaptureFixture[str], state: State) -> None:
    shell = Shell(capsys, *settings)
    state.events.add(Event(NOW, "shop", "X", "=cmd()\n'\"<script>"))
    rows = [json.loads(line) for line in shell("history", "export").splitlines()]
    assert {row["table"] for row in rows} == {"plans", "runs", "drifts", "events"}
    assert len(json.loads(shell("history", "export", "-o", "json"))) == len(rows)
    table = list(csv.reader(io.StringIO(shell("history", "export", "-o", "csv", "--table", "events"))))
    assert (table[0][:4], len(table)) == (["id", "at", "target", "reason"], 7)
    assert table[-1][4] == "'=cmd()\n'\"<script>"
    assert shell("history", "export", "--since", "2026-11-21", "--table", "events") == ""
    assert "name it with --table" in _refused(shell, "history", "export", "-o", "csv")
    assert "expected a date" in _refused(shell, "history", "export", "--since", "soon")


def _watched(arguments: list[str], **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, **more)


def test_events_are_followed_as_lines(settings: list[str], state: State) -> None:
    process = _watched(["events", *settings, "--watch", "-t", "shop"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(2)]
        state.events.add(Event(datetime.now(UTC), "shop", "Applied", "new"))
        assert process.stdout.readline().endswith("shop  Applied: new\n")
        assert "<b>1</b>" in first[0]
        assert "\x1b" not in "".join(first)
    finally:
        process.terminate()
        process.communicate()


def test_a_terminal_is_drawn_anew(settings: list[str], state: State) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    environment.pop("NO_COLOR", None)
    process = _watched(["get", "targets", *settings, "--watch"], stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while shown.count(b"\x1b[2J") < 2:
            shown += os.read(ours, 65_536)
    finally:
        process.terminate()
        process.communicate()
        os.close(ours)
    assert b"\x1b[3" in shown  # colours


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    made = estate_of(pg)
    made.documents["all"] = [free_policy(), cluster("c", pg.host), user("app", connectionLimit=5)]
    made.commit()
    return made


def test_without_daemon_and_state(
    estate: EstateBuilder, pg: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(capsys, "--settings", str(estate.settings_file))
    (row,) = json.loads(shell("get", "targets", "-o", "json"))["targets"]
    assert (row["name"], row["sync"], row["ready"], row["labels"]) == ("c", "Drifted", "Ready", {"env": "test"})
    assert "this is a plan made now" in shell.err
    assert "+ c/role/app" in shell("describe", "c")
    for arguments in (["get", "runs"], ["events"], ["history"], ["history", "export"], ["approve", "c", "a" * 12]):
        assert "no history here" in _refused(shell, *arguments)
    assert "no target 'd' in the estate; there are c" in _refused(shell, "get", "targets", "-t", "d")
    shell("reconcile", "c")
    assert pg.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'app'") == [(5,)]
    pg.sql("ALTER ROLE app SUPERUSER")
    assert "c/role/app" in shell("get", "drifts")
    assert not (estate.folder / "state" / "state.db").exists()


def test_help_imports_no_library() -> None:
    code = (
        "import sys, pgvillage.cli.app; "
        "sys.exit(sum(m in sys.modules for m in ('sqlalchemy', 'alembic', 'starlette', 'httpx2', 'psycopg')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
