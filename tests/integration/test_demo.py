"""`pgvillage demo` as a newcomer runs it: the whole story, and nothing left of it but its folder."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.integration.estate_builder import COMMAND, EXIT_ERROR, ROOT, Ran


def demo(home: Path, *arguments: str) -> Ran:
    """In a home of its own, so that what is written outside the demo's folder is seen."""
    for name in ("home", "tmp", "here"):
        (home / name).mkdir(exist_ok=True)
    places = {"HOME": str(home / "home"), "TMPDIR": str(home / "tmp"), "PYTHONPATH": str(ROOT)}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "XDG_"))}
    done = subprocess.run(
        [*COMMAND, "demo", *arguments], check=False, cwd=home / "here", capture_output=True, text=True, timeout=120,
        env={**kept, **places},
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def running_in(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if str(folder) in words and int(process.name) != os.getpid():
            found.append(words)
    return found


def test_the_story_from_beginning_to_end(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "demo"
    out = demo(tmp_path, "--folder", str(folder)).done().out
    assert re.findall(r"^.*?([1-8])\. ", out, re.MULTILINE)[:8] == list("12345678"), out
    report = out[out.index("6. ") : out.index("7. ")]
    for words in ("superuser", "DELETE", "orders_app", "orders_rw", "max_connections", "will be corrected"):
        assert words in report, report
    after = out[out.index("8. ") :]
    assert after.count("no changes") >= 2, after
    assert running_in(folder) == []
    assert [path for name in ("home", "tmp", "here") for path in (tmp_path / name).iterdir()] == []


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    ran = demo(tmp_path, "--folder", str(folder)).done(EXIT_ERROR)
    assert f"{folder} is not empty" in ran.err
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]
