"""The unit file as systemd reads it, and what the daemon tells systemd."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from pgvillage.daemon.systemd import notify, reloading, watchdog_pause

UNIT = Path(__file__).parents[2] / "examples" / "systemd" / "pgvillage.service"
MOST_EXPOSURE = 15  # tenths; systemd calls up to 2.0 fine, and an unhardened service has 9.6


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    found.bind(str(tmp_path / "notify"))
    found.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return found


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/pgvillage/bin/pgvillage", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_leaves_little_to_break_into() -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--json=short", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    open_doors = {entry["json_field"] for entry in json.loads(done.stdout) if entry["set"] is False}
    assert not open_doors & {"NoNewPrivileges", "ProtectSystem", "PrivateTmp", "CapabilityBoundingSet_CAP_SYS_ADMIN"}


def test_the_manager_is_told(manager: socket.socket) -> None:
    with manager:
        assert notify("READY=1", "STATUS=loops run")
        assert manager.recv(200) == b"READY=1\nSTATUS=loops run"
        assert reloading()
        assert manager.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_without_a_manager_nobody_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("limit", "process", "pause"),
    [("", "", None), ("0", "", None), ("120000000", "", 40.0), ("120000000", "ours", 40.0), ("9", "1", None)],
)
def test_signs_of_life_are_for_who_is_watched(
    monkeypatch: pytest.MonkeyPatch, limit: str, process: str, pause: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if process == "ours" else process)
    assert watchdog_pause() == pause
