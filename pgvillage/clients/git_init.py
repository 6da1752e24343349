"""Making a repository of a folder that is none yet."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pgvillage.core.errors import PgVillageError


def repository_around(folder: Path) -> Path | None:
    """The work tree that the folder is in already."""
    places = (folder.absolute(), *folder.absolute().parents)
    return next((place for place in places if (place / ".git").exists()), None)


def start_repository(folder: Path) -> None:
    """`git init`, and nothing committed. Raises PgVillageError."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        command = ["git", "init", "--quiet", "--initial-branch=main", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    except OSError as error:
        raise PgVillageError(f"git can't be started ({error.strerror}): apt-get install git") from None
    if done.returncode:
        raise PgVillageError(f"git init {folder}: {done.stderr.strip()}")
