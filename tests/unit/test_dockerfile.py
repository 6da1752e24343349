"""The image's recipe: no root, no secrets, what the daemon needs, and a health check that tells the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
FINAL = TEXT.rpartition("\nFROM ")[2]
HEALTHCHECK = ROOT / "scripts" / "healthcheck"


def lines(word: str) -> list[str]:
    return [line for line in FINAL.splitlines() if line.startswith(f"{word} ")]


def test_it_runs_serve_without_root() -> None:
    assert lines("USER") == ["USER 10001:10001"]
    assert lines("CMD") == ['CMD ["serve"]']
    assert lines("EXPOSE") == ["EXPOSE 8432"]
    assert lines("VOLUME") == ["VOLUME /var/lib/pgvillage"]
    assert "chmod 777" not in TEXT


def test_it_has_the_tools_that_signatures_and_ssh_need() -> None:
    assert {"git", "gpg", "openssh-client", "ca-certificates"} <= set(FINAL.split())


def test_no_secret_can_come_into_a_layer() -> None:
    """Nothing is given at build time, and nothing but the sources is sent to the builder."""
    assert not re.search(r"^(ARG|ADD)\b|--mount=type=secret|(?i:password|token)\s*=", TEXT, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    admitted = {line[1:] for line in ignored if line.startswith("!")}
    assert admitted == {
        "pyproject.toml", "README.md", "LICENSE", "requirements/runtime.lock", "examples", "pgvillage",
        "scripts/healthcheck",
    }  # fmt: skip
    copied = {part for line in TEXT.splitlines() if line.startswith("COPY ") and "--from" not in line
              for part in line.split()[1:-1] if not part.startswith("--")}  # fmt: skip
    assert copied == admitted


def test_nobody_listening_is_not_healthy() -> None:
    done = subprocess.run([sys.executable, HEALTHCHECK, "1"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
