"""What happens when: systemd's words, a full disk, a wrong clock, SIGSTOP, kill -9, lost and damaged files."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import EstateMaker
from tests.integration.daemon_process import Daemon, serving
from tests.integration.estate_builder import EstateBuilder, cluster, free_policy, user
from tests.servers.postgres import PostgresServer

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture
def estate(pg: PostgresServer, estate_of: EstateMaker) -> EstateBuilder:
    made = estate_of(pg)
    made.documents["all"] = [free_policy(), cluster("c", pg.host), user("app", connectionLimit=5)]
    made.commit()
    return made


def limit(pg: PostgresServer) -> int:
    found: int = pg.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'app'")[0][0]
    return found


def corrects(daemon: Daemon, pg: PostgresServer, why: str) -> None:
    """Drift by hand is undone: the proof that the daemon does its work."""
    pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
    daemon.wait(lambda: limit(pg) == 5, f"a correction {why}")


def applies_nothing(daemon: Daemon) -> None:
    """Full looks that find everything as it should be."""
    daemon.rounds(1)  # an apply is counted before the look that follows it
    before = daemon.metric("apply_total")
    daemon.rounds(2)
    assert daemon.metric("apply_total") == before


@contextmanager
def manager(folder: Path) -> Iterator[Callable[[bytes], None]]:
    """What systemd would hear; the caller says what it waits for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(folder / "notify"))
        found.settimeout(60)

        def hears(words: bytes) -> None:
            while not found.recv(500).startswith(words):
                pass

        yield hears


def test_systemd_is_told_of_each_turn_of_its_life(
    estate: EstateBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    estate.environment |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"}
    with manager(tmp_path) as hears, serving(estate) as daemon:
        hears(b"READY=1")
        host, _, port = daemon.address.rpartition(":")
        socket.create_connection((host, int(port)), 5).close()  # it listens when it says so, at the first try
        for _ in range(3):
            hears(b"WATCHDOG=1")
        daemon.process.send_signal(signal.SIGHUP)
        hears(b"RELOADING=1\nMONOTONIC_USEC=")
        hears(b"READY=1")
        daemon.process.send_signal(signal.SIGTERM)
        hears(b"STOPPING=1")
        assert daemon.process.wait(20) == 0


def test_a_full_disk_costs_history_and_nothing_else(pg: PostgresServer, estate: EstateBuilder) -> None:
    """No file of the daemon may grow any more; root or not, that is refused as a full disk refuses it."""
    with serving(estate) as daemon:
        daemon.wait_for("applied")
        daemon.rounds(1)
        hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
        corrects(daemon, pg, "without room on the disk")
        daemon.wait_for("the state database does not answer: history is lost until it does")
        assert daemon.metric("state_errors_total") >= 1
        assert daemon.get("/healthz")[0] == 200
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        daemon.wait_for("the state database answers again")
        corrects(daemon, pg, "with room again")
        daemon.wait(lambda: "DriftCorrected" in daemon.get("/api/v1/events")[1], "history again")
        assert daemon.stop() == 0
    assert "DriftCorrected" in estate.run("events", "-o", "json").done().out


def test_a_clock_that_jumps_ahead_back_and_home(pg: PostgresServer, estate: EstateBuilder, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    assert FAKETIME, "apt-get install libfaketime"
    estate.environment |= {
        "LD_PRELOAD": str(FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
    }  # fmt: skip
    # Once the first clone ended with EINVAL here, never without libfaketime so far: the next poll tries again.
    with serving(estate, poll=2) as daemon:
        daemon.wait_for("applied")
        for jump in ("+40d", "-40d", "+0"):
            clock.write_text(jump)
            about = time.time() + int(jump.rstrip("d")) * 86_400
            daemon.wait(
                lambda about=about: abs(daemon.metric("last_observed_timestamp_seconds") - about) < 3_600,
                f"looks by a clock at {jump}",
            )
            corrects(daemon, pg, f"by a clock at {jump}")
            assert daemon.get("/healthz")[0] == 200
        applies_nothing(daemon)
        assert daemon.stop() == 0


def test_stopped_awakened_killed_and_begun_without_its_state(pg: PostgresServer, estate: EstateBuilder) -> None:
    with serving(estate, grace=1) as daemon:
        daemon.wait_for("applied")
        daemon.rounds(1)
        daemon.process.send_signal(signal.SIGSTOP)
        pg.sql("ALTER ROLE app CONNECTION LIMIT 9")
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert limit(pg) == 9
        daemon.process.send_signal(signal.SIGCONT)
        daemon.wait(lambda: limit(pg) == 5, "the correction, once it is awake")
        daemon.process.kill()
        daemon.process.wait()
    state = estate.folder / "state"
    for file in state.glob("state.db*"):
        file.unlink()
    with serving(estate) as daemon:
        daemon.rounds(1)
        applies_nothing(daemon)  # what protects the target is in the target
        corrects(daemon, pg, "with a new state database")
        assert daemon.stop() == 0
    assert (state / "state.db").exists()


def test_a_damaged_state_file_is_put_aside(pg: PostgresServer, estate: EstateBuilder) -> None:
    state = estate.folder / "state"
    state.mkdir()
    (state / "state.db").write_bytes(os.urandom(20_000))
    with serving(estate) as daemon:
        daemon.wait_for("applied")
        corrects(daemon, pg, "after a damaged state database")
        [told] = [entry for entry in daemon.log if entry["event"].startswith("the state database is damaged")]
        assert Path(told["aside"]).stat().st_size == 20_000
        assert daemon.stop() == 0


def test_a_repository_that_is_lost_and_comes_back(pg: PostgresServer, estate: EstateBuilder) -> None:
    away = estate.folder / "away"
    with serving(estate) as daemon:
        daemon.wait_for("applied")
        daemon.rounds(1)
        shutil.move(estate.repository, away)
        daemon.wait_for("repository not read")
        corrects(daemon, pg, "by the last commit")
        assert daemon.get("/readyz")[0] == daemon.get("/healthz")[0] == 200
        shutil.move(away, estate.repository)
        estate.documents["all"][2]["spec"]["connectionLimit"] = 7
        estate.commit()
        daemon.wait(lambda: limit(pg) == 7, "the new commit")
        assert daemon.stop() == 0
